//! What an image holds: a sorted tree of paths, each with what is there. Times, owners and the order in which the
//! files were found leave no trace in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What is at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder and its mode.
    Folder(u32),
    /// A file of the machine, and the mode that it gets.
    Copy(PathBuf, u32),
    /// A file of these bytes, readable by all.
    Text(String),
    /// A symbolic link to this.
    Link(String),
}

/// The root of an image; paths have no leading slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// Puts `entry` at `path`, with the folders above it; what was there is replaced.
    #[must_use]
    pub fn with(mut self, path: &str, entry: Entry) -> Self {
        self.put(path, entry);
        self
    }

    /// As [`Tree::with`].
    pub fn put(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            if let Some(above) = path.get(..at) {
                self.entries.entry(above.to_owned()).or_insert(Entry::Folder(0o755));
            }
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// As [`Tree::put`], but what is there stays.
    pub fn put_if_free(&mut self, path: &str, entry: Entry) {
        if self.get(path).is_none() {
            self.put(path, entry);
        }
    }

    /// What is at `path`.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.trim_matches('/'))
    }

    /// Everything, each folder before what it holds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Changes whenever the image would, without a read of the files: by their size and time of change.
    pub fn fingerprint(&self) -> io::Result<String> {
        let mut lines = Vec::new();
        for (path, entry) in self.iter() {
            let state = match entry {
                Entry::Copy(file, _) => changed(file)?,
                _ => String::new(),
            };
            lines.push(format!("{path} {entry:?} {state}\n"));
        }
        Ok(lines.concat())
    }
}

fn changed(file: &Path) -> io::Result<String> {
    let facts = fs::metadata(file)?;
    Ok(format!("{} {}.{:09}", facts.len(), facts.ctime(), facts.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_they_hold() {
        let tree = Tree::default()
            .with("/usr/sbin/b", Entry::Link("a".to_owned()))
            .with("usr/sbin/a", Entry::Text(String::new()))
            .with("tmp", Entry::Folder(0o1777));
        let paths: Vec<_> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["tmp", "usr", "usr/sbin", "usr/sbin/a", "usr/sbin/b"]);
    }

    #[test]
    fn a_folder_keeps_its_mode_when_something_is_put_into_it() {
        let tree =
            Tree::default().with("tmp", Entry::Folder(0o1777)).with("tmp/a", Entry::Text(String::new()));
        assert_eq!(tree.get("tmp"), Some(&Entry::Folder(0o1777)));
    }

    #[test]
    fn a_changed_file_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        fs::write(&file, "one").unwrap();
        let tree = Tree::default().with("program", Entry::Copy(file.clone(), 0o755));
        let before = tree.fingerprint().unwrap();
        assert_eq!(tree.fingerprint().unwrap(), before);
        fs::write(&file, "longer").unwrap();
        assert_ne!(tree.fingerprint().unwrap(), before);
    }
}
