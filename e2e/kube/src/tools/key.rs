//! The name of a folder of tools: a digest of all that they are built from. The same sources find the same folder
//! from any checkout; a changed one builds beside it.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::Failure;
use crate::images::archive::hex;

use super::debian;

/// Raised whenever this program builds something else from the same sources.
const LAYOUT: u32 = 2;

/// The files of the checkout that decide what is built.
const SOURCES: [&str; 3] = ["e2e/kube/go.mod", "e2e/kube/go.sum", "e2e/kube/pause/main.go"];

/// The name of the folder for this checkout and this version of Go.
pub(super) fn folder(checkout: &Path, go: &str) -> Result<String, Failure> {
    let mut parts = vec![
        format!("layout {LAYOUT}"),
        go.to_owned(),
        debian::PACKAGES.join(" "),
        std::env::consts::ARCH.to_owned(),
    ];
    for source in SOURCES {
        let path = checkout.join(source);
        parts.push(fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(digest(&parts))
}

fn digest(parts: &[String]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // With its length: no two lists run together into the same bytes.
        digest.update(format!("{} ", part.len()));
        digest.update(part);
    }
    let hex = hex(&digest.finalize());
    format!("{}{}", super::PREFIX, hex.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let path = folder.path().join(source);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        }
        folder
    }

    #[test]
    fn every_source_and_go_itself_change_the_folder() {
        let checkout = checkout();
        let mut seen = vec![folder(checkout.path(), "go1.26.8").unwrap()];
        assert_eq!(seen, [folder(checkout.path(), "go1.26.8").unwrap()]);
        seen.push(folder(checkout.path(), "go1.26.9").unwrap());
        for source in SOURCES {
            fs::write(checkout.path().join(source), "changed").unwrap();
            seen.push(folder(checkout.path(), "go1.26.8").unwrap());
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_missing_source_is_named() {
        let folder = folder(Path::new("/nowhere"), "go1.26.8").unwrap_err().to_string();
        assert!(folder.starts_with("/nowhere/e2e/kube/go.mod: "), "{folder}");
    }

    #[test]
    fn parts_do_not_run_together() {
        let parts = |parts: &[&str]| digest(&parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>());
        assert_ne!(parts(&["ab", "c"]), parts(&["a", "bc"]));
    }
}
