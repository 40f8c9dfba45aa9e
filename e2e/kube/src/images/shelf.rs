//! The images that are made once, with the tools: those of Kubernetes, of the sidecars and of its storage suite,
//! under the names that these ask for. A name that is missing here costs a pod its whole patience, since there is
//! no registry to ask.

use std::path::Path;

use crate::Failure;
use crate::tools::programs::version;

use super::archive::{Image, save};
use super::busybox;
use super::tree::{Entry, Tree};

/// What the program of an image stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// Nothing: the program is static.
    Empty,
    /// A shell and all that busybox can.
    Busybox,
    /// That, with the machine's own bash and a few programs.
    Real,
}

/// Which version an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// The one that Kubernetes and its suite name.
    Fixed(&'static str),
    /// That of a module in `go.mod`.
    Of(&'static str),
}

struct Row {
    name: &'static str,
    tag: Tag,
    base: Base,
    /// A program of the tools, put at `/<program>`.
    program: Option<&'static str>,
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
}

const fn suite(name: &'static str, tag: &'static str, base: Base, command: &'static [&'static str]) -> Row {
    Row { name, tag: Tag::Fixed(tag), base, program: None, entrypoint: &[], command }
}

const fn sidecar(
    name: &'static str,
    module: &'static str,
    program: &'static str,
    entrypoint: &'static [&'static str],
) -> Row {
    Row { name, tag: Tag::Of(module), base: Base::Empty, program: Some(program), entrypoint, command: &[] }
}

/// nginx serves its folder until it is told to end; nobody asks it for more.
const SERVE: &[&str] = &["httpd", "-f", "-p", "80", "-h", "/usr/share/nginx/html"];
const SNAPSHOTTER: &str = "github.com/kubernetes-csi/external-snapshotter/v8";

/// All of them, below `registry.k8s.io/`.
const ROWS: [Row; 11] = [
    Row {
        name: "pause",
        tag: Tag::Fixed("3.10.2"),
        base: Base::Empty,
        program: Some("pause"),
        entrypoint: &["/pause"],
        command: &[],
    },
    suite("e2e-test-images/busybox", "1.37.0-1", Base::Busybox, &["sh"]),
    Row {
        name: "e2e-test-images/agnhost",
        tag: Tag::Fixed("2.63.0"),
        base: Base::Busybox,
        program: Some("agnhost"),
        entrypoint: &["/agnhost"],
        command: &["pause"],
    },
    suite("e2e-test-images/nginx", "1.15-4", Base::Busybox, SERVE),
    suite("e2e-test-images/nginx", "1.27-0", Base::Busybox, SERVE),
    suite("e2e-test-images/glibc-dns-testing", "2.0.0", Base::Real, &["/bin/bash"]),
    sidecar(
        "sig-storage/csi-provisioner",
        "github.com/kubernetes-csi/external-provisioner/v6",
        "csi-provisioner",
        &["/csi-provisioner"],
    ),
    sidecar(
        "sig-storage/csi-attacher",
        "github.com/kubernetes-csi/external-attacher/v4",
        "csi-attacher",
        &["/csi-attacher"],
    ),
    sidecar(
        "sig-storage/csi-resizer",
        "github.com/kubernetes-csi/external-resizer/v2",
        "csi-resizer",
        &["/csi-resizer"],
    ),
    sidecar("sig-storage/csi-snapshotter", SNAPSHOTTER, "csi-snapshotter", &["/csi-snapshotter"]),
    sidecar("sig-storage/snapshot-controller", SNAPSHOTTER, "snapshot-controller", &["/snapshot-controller"]),
];

/// The full names of all images, with the versions of `go_mod`.
pub fn references(go_mod: &str) -> Result<Vec<String>, Failure> {
    ROWS.iter().map(|row| reference(row, go_mod)).collect()
}

/// Writes every image into `tools/images`, from the programs and packages that are in `tools`.
pub fn fill(tools: &Path, go_mod: &str) -> Result<(), Failure> {
    let busybox =
        busybox::root(&tools.join("debian/bin/busybox"))?.with("usr/share/nginx/html", Entry::Folder(0o755));
    let real = busybox::with_real_programs(&busybox)?;
    for row in &ROWS {
        let mut root = match row.base {
            Base::Empty => Tree::default(),
            Base::Busybox => busybox.clone(),
            Base::Real => real.clone(),
        };
        if let Some(program) = row.program {
            root.put(program, Entry::Copy(tools.join("bin").join(program), 0o755));
        }
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let reference = reference(row, go_mod)?;
        let archive = tools.join("images").join(file_name(&reference));
        let image = Image { reference, root, entrypoint: owned(row.entrypoint), command: owned(row.command) };
        save(&image, &archive)?;
    }
    Ok(())
}

fn reference(row: &Row, go_mod: &str) -> Result<String, Failure> {
    let tag = match row.tag {
        Tag::Fixed(tag) => tag,
        Tag::Of(module) => version(go_mod, module)?,
    };
    Ok(format!("registry.k8s.io/{}:{tag}", row.name))
}

/// `agnhost-2.63.0.tar` of `registry.k8s.io/e2e-test-images/agnhost:2.63.0`.
fn file_name(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    format!("{}.tar", name.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const GO_MOD: &str = include_str!("../../go.mod");

    #[test]
    fn no_name_and_no_file_is_there_twice() {
        let references = references(GO_MOD).unwrap();
        assert_eq!(references.iter().collect::<BTreeSet<_>>().len(), references.len());
        assert_eq!(
            references.iter().map(|one| file_name(one)).collect::<BTreeSet<_>>().len(),
            references.len()
        );
    }

    #[test]
    fn a_sidecar_has_the_version_that_is_built() {
        let references = references(GO_MOD).unwrap();
        let provisioner = references.iter().find(|one| one.contains("csi-provisioner")).unwrap();
        assert_eq!(provisioner, "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0");
    }
}
