//! Roots of images that have a shell: Debian's static busybox under all its names, and the same with a few of the
//! machine's own programs where busybox is not enough.

use std::io;
use std::path::Path;

use crate::Failure;
use crate::tools::run::run_now;

use super::closure::{self, base};
use super::tree::{Entry, Tree};

/// What the suite's multi-volume cases start with options that busybox does not know. Its `sh` would also prefer
/// its own `dd`, so this root has bash for it.
const REAL: [&str; 5] = ["bash", "dd", "sha256sum", "stat", "sync"];

/// A root with `program`, which is busybox, under all its names.
pub(super) fn root(program: &Path) -> Result<Tree, Failure> {
    Ok(named(program, &run_now(program, &["--list"])?))
}

fn named(program: &Path, names: &str) -> Tree {
    let mut tree = base()
        .with("etc/passwd", Entry::Text(PASSWD.to_owned()))
        .with("etc/group", Entry::Text(GROUP.to_owned()))
        .with("root", Entry::Folder(0o700))
        .with("var", Entry::Folder(0o755))
        .with("mnt", Entry::Folder(0o755))
        .with("usr/bin/busybox", Entry::Copy(program.to_owned(), 0o755));
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        tree.put_if_free(&format!("usr/bin/{name}"), Entry::Link("busybox".to_owned()));
    }
    tree
}

/// `busybox` with the machine's programs over it.
pub(super) fn with_real_programs(busybox: &Tree) -> Result<Tree, Failure> {
    let mut tree = busybox.clone();
    for name in REAL {
        let program = closure::find(name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{name} is not on this machine"))
        })?;
        closure::add(&mut tree, &program)?;
    }
    Ok(tree.with("usr/bin/sh", Entry::Link("bash".to_owned())))
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_the_one_program() {
        let tree = named(Path::new("/b/busybox"), "[\nbusybox\nsh\n\n");
        assert_eq!(tree.get("usr/bin/sh"), Some(&Entry::Link("busybox".to_owned())));
        assert_eq!(tree.get("usr/bin/["), Some(&Entry::Link("busybox".to_owned())));
        assert_eq!(tree.get("usr/bin/busybox"), Some(&Entry::Copy("/b/busybox".into(), 0o755)));
        assert_eq!(tree.get("bin"), Some(&Entry::Link("/usr/bin".to_owned())));
    }

    #[test]
    fn the_machines_own_shell_takes_the_place_of_busybox() {
        let tree = with_real_programs(&named(Path::new("/b/busybox"), "sh\ndd\nls\n")).unwrap();
        assert_eq!(tree.get("bin/sh"), None, "below a link");
        assert_eq!(tree.get("usr/bin/sh"), Some(&Entry::Link("bash".to_owned())));
        assert!(matches!(tree.get("usr/bin/dd"), Some(Entry::Copy(_, 0o755))));
        assert_eq!(tree.get("usr/bin/ls"), Some(&Entry::Link("busybox".to_owned())));
    }
}
