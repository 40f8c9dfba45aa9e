//! Runs a program: the arguments are a list, the environment is empty but for `PATH`, the output is bounded.
//!
//! A tool that writes is never killed by us (`patience: None`), nor by our end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::fs::{MemfdFlags, SealFlags};
use tokio::time::Instant;

use super::{Output, Tool};

/// Held while a child starts. Between fork and exec a child has copies of all our descriptors, and with them
/// every exclusive claim on a device that was open at that moment. One start at a time means: a claim that
/// was dropped before a tool is run is gone when that tool opens the device. The scope is the process,
/// because that is what is copied.
static STARTING: Mutex<()> = Mutex::new(());

/// How much of the output is kept.
const KEPT: usize = 16 * 1024;

pub(super) fn run(tool: &Tool, search_path: &OsStr) -> io::Result<Output> {
    let mut command = Command::new(find(tool.name, search_path)?);
    command.args(&tool.arguments).env_clear().env("PATH", search_path).current_dir("/").stdin(Stdio::null());
    let (code, said) = match tool.patience {
        None => run_to_the_end(command)?,
        Some(patience) => run_for(command, tool.name, patience)?,
    };
    Ok(Output { code, text: String::from_utf8_lossy(&said).into_owned() })
}

/// For what writes to a disk. Its output goes into memory of the kernel, not into a pipe: if the driver is
/// killed, a tool that says something must not die of a broken pipe in the middle of its work. The memory
/// has a fixed size; what does not fit is lost.
fn run_to_the_end(mut command: Command) -> io::Result<(Option<i32>, Vec<u8>)> {
    let memory = rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, KEPT as u64)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::GROW | SealFlags::SHRINK)?;
    let output = File::from(memory);
    command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    let code = start(&mut command)?.wait()?.code();
    let mut said = vec![0; KEPT];
    output.read_exact_at(&mut said, 0)?;
    let length = said.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    said.truncate(length);
    Ok((code, said))
}

/// For what only reads: it is killed when its time is up.
fn run_for(mut command: Command, name: &str, patience: Duration) -> io::Result<(Option<i32>, Vec<u8>)> {
    let (mut reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = start(&mut command)?;
    drop(command); // our ends of the pipe: the end of file must come when the tool ends
    let ends = Instant::now() + patience;
    let mut kept = Vec::new();
    let mut piece = [0_u8; 4096];
    loop {
        if !readable(&reader, ends)? {
            child.kill()?;
            // One that hangs in the kernel dies when the disk answers; nobody waits for that here.
            drop(std::thread::spawn(move || child.wait()));
            let what = format!("{name} did not end within {} s and was killed", patience.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        let count = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(piece.get(..count.min(room)).unwrap_or_default());
    }
    Ok((child.wait()?.code(), kept))
}

fn start(command: &mut Command) -> io::Result<Child> {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// `Command` would search the driver's own `PATH`, not the one that it was told.
fn find(name: &str, search_path: &OsStr) -> io::Result<std::path::PathBuf> {
    let mut folders = std::env::split_paths(search_path);
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} is not in the PATH")))
}

/// Waits for output or its end; false when the time is up.
fn readable(pipe: &impl AsFd, ends: Instant) -> io::Result<bool> {
    loop {
        let left = ends.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut polled, timeout) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, patience: Option<Duration>) -> io::Result<Output> {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        run(&Tool { name: "sh", arguments, patience }, OsStr::new("/usr/bin:/bin"))
    }

    const LIMITS: [Option<Duration>; 2] = [None, Some(Duration::from_mins(1))];

    #[test]
    fn a_tool_is_told_nothing_but_its_arguments_and_the_path() {
        for limit in LIMITS {
            let output = sh("env | grep -v -e ^PWD -e ^SHLVL -e ^_ ; pwd >&2; exit 3", limit).unwrap();
            assert_eq!((output.code, output.text.as_str()), (Some(3), "PATH=/usr/bin:/bin\n/\n"));
        }
    }

    #[test]
    fn a_chatty_tool_ends_and_its_output_is_cut() {
        for limit in LIMITS {
            let output = sh("head -c 1000000 /dev/zero | tr '\\0' x; echo done >&2; exit 4", limit).unwrap();
            assert_eq!((output.code, output.text.len()), (Some(4), KEPT));
        }
    }

    #[test]
    fn only_a_tool_with_a_limit_is_killed() {
        let error = sh("exec sleep 1000", Some(Duration::from_millis(20))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(sh("kill -9 $$", None).unwrap().code, None);
    }

    #[test]
    fn a_missing_tool_is_named() {
        let tool = Tool { name: "no-such-tool", arguments: Vec::new(), patience: None };
        let error = run(&tool, OsStr::new("/usr/bin")).unwrap_err();
        assert!(error.to_string().contains("no-such-tool"), "{error}");
    }
}
