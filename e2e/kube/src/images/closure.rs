//! Programs of this machine with every library that they load, laid out for an image without a package manager.
//!
//! The machine's own loader is asked (`ldd`): it knows its search paths better than a copy of its rules would.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::tools::run::run_now;

use super::tree::{Entry, Tree};

/// Where the machine's programs are.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// An image has one folder for programs and one for libraries; the older names lead there.
const MERGED: [(&str, &str); 5] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/bin"),
    ("usr/sbin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

/// An empty root with those links, and a folder for what is temporary.
pub(super) fn base() -> Tree {
    let tree = Tree::default()
        .with("tmp", Entry::Folder(0o1777))
        .with("usr/bin", Entry::Folder(0o755))
        .with("usr/lib", Entry::Folder(0o755))
        .with("usr/lib64", Entry::Folder(0o755));
    MERGED.iter().fold(tree, |tree, (old, new)| tree.with(old, Entry::Link(format!("/{new}"))))
}

/// A program of the machine by its name.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Puts `program` into `tree` under its name, with its libraries and its loader.
pub(super) fn add(tree: &mut Tree, program: &Path) -> Result<(), Failure> {
    let file = fs::canonicalize(program).map_err(|error| format!("{}: {error}", program.display()))?;
    if is_script(&file)? {
        return Err(format!("{} is a script: an image without a shell can't start it", file.display()).into());
    }
    let (name, real) = (in_programs(program), in_programs(&file));
    if name != real {
        let target = real.rsplit('/').next().unwrap_or_default().to_owned();
        tree.put(&name, Entry::Link(target));
    }
    tree.put(&real, Entry::Copy(file.clone(), 0o755));
    add_libraries(tree, &file)
}

/// Puts the libraries of `file`, and its loader, into `tree`.
pub(super) fn add_libraries(tree: &mut Tree, file: &Path) -> Result<(), Failure> {
    if is_static(file)? {
        return Ok(());
    }
    let answer = run_now(Path::new("ldd"), &[&file.display().to_string()])?;
    for library in libraries(&answer).map_err(|missing| format!("{} needs {missing}", file.display()))? {
        let from = fs::canonicalize(&library).map_err(|error| format!("{library}: {error}"))?;
        tree.put(&merged(&library), Entry::Copy(from, 0o755));
    }
    Ok(())
}

/// The libraries in the answer of `ldd`, or the name of one that it did not find.
fn libraries(answer: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for line in answer.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place.starts_with("not found") {
            return Err(name.to_owned());
        }
        // Without a path: a piece of the kernel, or "statically linked".
        if place.starts_with('/') {
            found.push(place.split(" (").next().unwrap_or(place).to_owned());
        }
    }
    Ok(found)
}

fn in_programs(path: &Path) -> String {
    format!("usr/bin/{}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Where the image has what the machine has at `path`.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let inside = |old: &str| Some(path.strip_prefix(old)?.strip_prefix('/')?.to_owned());
    MERGED
        .iter()
        .find_map(|(old, new)| Some(format!("{new}/{}", inside(old)?)))
        .unwrap_or_else(|| path.to_owned())
}

fn is_script(file: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    File::open(file)?.take(2).read_to_end(&mut start)?;
    Ok(start == b"#!")
}

/// Nothing is loaded at run time where no program header asks for a loader.
fn is_static(file: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    File::open(file)?.take(64 * 1024).read_to_end(&mut start)?;
    Ok(!asks_for_a_loader(&start))
}

/// Whether the `start` of a 64-bit little-endian ELF file has a header of type PT_INTERP.
fn asks_for_a_loader(start: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = start.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let headers = || {
        let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        Some((0..count).any(|index| number(first.saturating_add(index * size), 4) == Some(3)))
    };
    start.starts_with(b"\x7fELF") && headers().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loader_says_is_read() {
        #[track_caller]
        fn check(answer: &str, expected: Result<&[&str], &str>) {
            let expected = expected.map(<[_]>::to_vec).map_err(str::to_owned);
            assert_eq!(libraries(answer), expected.map(|list| list.iter().map(|&one| one.into()).collect()));
        }
        check(
            "\tlinux-vdso.so.1 (0x00007f98)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f98)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f98)\n",
            Ok(&["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]),
        );
        check("\tstatically linked\n", Ok(&[]));
        check(
            "\tlibseccomp.so.2 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n",
            Err("libseccomp.so.2"),
        );
    }

    #[test]
    fn the_older_folders_lead_to_the_one() {
        #[track_caller]
        fn check(path: &str, expected: &str) {
            assert_eq!(merged(path), expected);
        }
        check("/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6");
        check("/lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2");
        check("/usr/lib/libc.so.6", "usr/lib/libc.so.6");
        check("/usr/sbin/mke2fs", "usr/bin/mke2fs");
        check("/opt/a", "opt/a");
    }

    #[test]
    fn a_program_brings_its_c_library_and_its_loader() {
        let mut tree = base();
        add(&mut tree, &find("ls").unwrap()).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_owned()).collect();
        let has = |start: &str, name: &str| {
            paths
                .iter()
                .any(|path| path.starts_with(start) && path.rsplit('/').next().unwrap().starts_with(name))
        };
        assert!(has("usr/bin/", "ls"), "{paths:?}");
        assert!(has("usr/lib/", "libc.so."), "{paths:?}");
        assert!(has("usr/lib", "ld-linux"), "{paths:?}");
    }

    #[test]
    fn what_is_static_brings_nothing() {
        let program = find("ls").unwrap();
        assert!(!is_static(&program).unwrap());
        let mut start = fs::read(program).unwrap();
        start[56..58].fill(0); // no program headers
        assert!(!asks_for_a_loader(&start));
        assert!(!asks_for_a_loader(b"\x7fELF"));
    }

    #[test]
    fn a_script_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("mkfs.odd");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let refusal = add(&mut base(), &script).unwrap_err().to_string();
        assert!(
            refusal.ends_with("mkfs.odd is a script: an image without a shell can't start it"),
            "{refusal}"
        );
    }
}
