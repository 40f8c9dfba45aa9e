//! The model on disk: one JSON file, replaced as a whole, so that a kill at any moment leaves the last saved model.
//!
//! What must survive is the end of this process, and for that the kernel having it is enough: waiting for the medium at each
//! change made a write take several times as long. Only [`Store::flush`] waits, at the end.
//!
//! Owner of `DIR/model.json`; a lock on `DIR/lock` keeps a second emulator out, and is gone with its process.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::world::World;

/// Why a saved model can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another emulator runs on the directory.
    #[error("{0} is in use by another emulator")]
    InUse(PathBuf),
    /// The saved model is not one, or of another version.
    #[error("{path} is not a saved model: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// A state directory, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// Takes the directory, creating it if need be.
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let path = directory.join("lock");
        let file = File::create(&path).map_err(at(&path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| StoreError::InUse(directory.to_owned()))?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    /// The saved model, or an empty one.
    pub(crate) fn load(&self) -> Result<World, StoreError> {
        let path = self.model();
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| StoreError::Unreadable { path, source })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(World::default()),
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// Replaces the saved model. On return the kernel has it.
    pub(crate) fn save(&self, world: &World) -> Result<(), StoreError> {
        let (path, next) = (self.model(), self.directory.join("model.json.next"));
        let bytes = serde_json::to_vec(world)
            .map_err(|source| StoreError::Unreadable { path: path.clone(), source })?;
        let mut file = File::create(&next).map_err(at(&next))?;
        file.write_all(&bytes).map_err(at(&next))?;
        fs::rename(&next, &path).map_err(at(&path))
    }

    /// Waits until what was saved is on the medium.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        for path in [&self.model(), &self.directory] {
            File::open(path).and_then(|file| file.sync_all()).map_err(at(path))?;
        }
        Ok(())
    }

    /// Unique ids of the disk images that are there.
    pub(crate) fn images(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.join("disks")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(".img").map(str::to_owned)).collect()
    }

    fn model(&self) -> PathBuf {
        self.directory.join("model.json")
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}
