//! The unix sockets of the driver: claimed at start, removed at the end.
//!
//! **Invariants:** nobody but the owner can ever connect (the mode is set before the socket has a name);
//! a socket that somebody answers on is never taken away, and a file that is no socket never deleted.
//! Two drivers that start at once are kept apart by a lock on the directory, held only while looking,
//! removing and binding.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Why the socket could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process answers there.
    #[error("{0} is in use: another process listens on it; stop it first or serve elsewhere")]
    Live(PathBuf),
    /// Something else bears the name.
    #[error("{0} exists and is not a socket: it is left alone; remove it or serve elsewhere")]
    NotASocket(PathBuf),
    /// Another process is about to claim a socket in the same directory.
    #[error("another process is just claiming a socket in {0}; try again")]
    Contended(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The name of a listening socket, taken away when this is dropped.
#[derive(Debug)]
pub struct Claimed {
    path: PathBuf,
    /// Device and inode: whether the name still means our socket.
    identity: (u64, u64),
    /// The socket itself: while it is open somebody answers at the name, and its inode isn't given to another.
    _socket: OwnedFd,
}

/// Listens on `path` and answers for its name.
pub async fn claim(path: &Path) -> Result<(UnixListener, Claimed), ClaimError> {
    let refused = |action| move |source| ClaimError::Refused { action, path: path.to_owned(), source };
    let _lock = lock_directory(path)?;
    make_way(path).await?;

    let socket = UnixSocket::new_stream().map_err(refused("create a socket for"))?;
    // The name is born with the mode of the nameless socket (less the umask), so there is no moment at
    // which somebody else could connect.
    let owned = socket.as_fd().try_clone_to_owned().map_err(refused("prepare"))?;
    File::from(owned).set_permissions(Permissions::from_mode(0o600)).map_err(refused("prepare"))?;
    socket.bind(path).map_err(refused("bind"))?;
    let identity = identity(path).map_err(refused("look at"))?;
    let held = socket.as_fd().try_clone_to_owned().map_err(refused("hold"))?;
    let claimed = Claimed { path: path.to_owned(), identity, _socket: held };
    let listener = socket.listen(BACKLOG).map_err(refused("listen on"))?;
    Ok((listener, claimed))
}

/// Removes a socket that nobody answers on.
///
/// # Errors
/// As [`claim`], if the name cannot be freed.
pub async fn make_way(path: &Path) -> Result<(), ClaimError> {
    let refused = |action| move |source| ClaimError::Refused { action, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ClaimError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    // Does not wait: a full backlog is an error of its own, and also means that somebody lives there.
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(refused("probe")(error)),
        _ => return Err(ClaimError::Live(path.to_owned())),
    }
    fs::remove_file(path).map_err(refused("remove the stale socket"))
}

/// Held until the returned file is dropped. File systems that can't lock go without.
fn lock_directory(path: &Path) -> Result<Option<File>, ClaimError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let refused =
        |source| ClaimError::Refused { action: "open the directory", path: parent.to_owned(), source };
    let directory = File::open(parent).map_err(refused)?;
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(fs::TryLockError::WouldBlock) => Err(ClaimError::Contended(parent.to_owned())),
        Err(fs::TryLockError::Error(_)) => Ok(None),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for Claimed {
    /// Only if the name still is ours: somebody may have removed it by hand, and a successor taken it.
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nothing can be done about a failure; the next start replaces a stale socket.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_owner_may_connect_and_the_name_goes_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        let (listener, claimed) = claim(&path).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        UnixStream::connect(&path).await.unwrap();
        drop((listener, claimed));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "stale");
        let (_listener, _claimed) = claim(&path).await.unwrap();
        let before = identity(&path).unwrap();
        assert!(matches!(claim(&path).await, Err(ClaimError::Live(_))));
        assert_eq!(identity(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn a_live_socket_with_a_full_backlog_is_live() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let _listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        assert!(matches!(claim(&path).await, Err(ClaimError::Live(_))));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &directory.path().to_owned()] {
            assert!(matches!(claim(path).await, Err(ClaimError::NotASocket(_))), "{path:?}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        let missing = directory.path().join("none/csi.sock");
        assert!(claim(&missing).await.unwrap_err().to_string().contains("none"));
    }

    #[tokio::test]
    async fn a_name_is_ours_until_it_is_gone_and_a_successor_keeps_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        let (listener, claimed) = claim(&path).await.unwrap();
        drop(listener); // the server is done; the name is still held
        assert!(matches!(claim(&path).await, Err(ClaimError::Live(_))));
        fs::remove_file(&path).unwrap();
        let (_successor, _name) = claim(&path).await.unwrap();
        drop(claimed);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_lock_held_by_another_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let held = File::open(directory.path()).unwrap();
        held.lock().unwrap();
        let result = claim(&directory.path().join("csi.sock")).await;
        assert!(matches!(result, Err(ClaimError::Contended(_))));
    }
}
