//! The writer: a shell script in a pod that appends records to a file on a volume, and tells each to this program only
//! after an fsync of the file. What was told must be there whatever breaks; [`super::records`] judges.
//!
//! It tells by TCP, so that what counts as told is what arrived outside of the node: nothing on the node has to survive.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::objects::FOLDER;
use crate::Failure;

/// The file with the records, as its pod sees it.
pub fn file() -> String {
    format!("{FOLDER}/records")
}

/// The script of a writer that tells `witness`. It ends at the first write that fails, and its pod starts it again.
pub fn script(file: &str, witness: SocketAddr) -> String {
    // What fills a record makes it long enough to be torn.
    let (fill, ip, port) = ("=".repeat(160), witness.ip(), witness.port());
    format!(
        r#"
file={file}
name=$(cat /proc/sys/kernel/random/uuid)
touch $file
sync $file
append() {{
    line="$1 $(printf '%s' "$1" | sha256sum | cut -d ' ' -f 1)"
    printf '%s\n' "$line" | dd of=$file oflag=append conv=notrunc,fsync bs=4k 2>/dev/null || exit 1
    printf '%s\n' "$line"
}}
write() {{
    # The last line may be torn: it gets an end, or it would swallow the next one.
    [ -z "$(tail -c 1 $file | tr -d '\n')" ] || echo >> $file
    last=$(grep -a -E '^record [0-9]+ [0-9a-f-]{{36}} =+ [0-9a-f]{{64}}$' $file | tail -n 1 | cut -d ' ' -f 2)
    number=${{last:-0}}
    append "start $number $name"
    while true; do
        number=$((number + 1))
        append "record $number $name {fill}"
        # Often enough to meet every moment, and no processor kept busy.
        sleep 0.2
    done
}}
write | nc {ip} {port}
"#
    )
}

/// Hears what writers tell. Dropped, it hears no more.
pub struct Witness {
    told: watch::Receiver<Vec<String>>,
    address: SocketAddr,
    listener: AbortHandle,
}

impl Witness {
    /// Begins to listen at a free port of `address`.
    pub async fn listen(address: &str) -> Result<Witness, Failure> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, told) = watch::channel(Vec::new());
        let listener = tokio::spawn(accept(listener, sender)).abort_handle();
        Ok(Witness { told, address, listener })
    }

    /// Where a writer reaches it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that was told so far.
    pub fn told(&self) -> Vec<String> {
        self.told.borrow().clone()
    }

    /// Waits until `more` lines were told since now.
    pub async fn hears(&self, more: usize, limit: Duration) -> Result<(), Failure> {
        let mut told = self.told.clone();
        let before = told.borrow_and_update().len();
        let enough = told.wait_for(|told| told.len() >= before + more);
        match tokio::time::timeout(limit, enough).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("the witness of the writer ended".into()),
            Err(_) => {
                let heard = self.told.borrow().len() - before;
                Err(format!("the writer told {heard} lines in {limit:?}, not {more}").into())
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, told: watch::Sender<Vec<String>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(hear(stream, told.clone()));
    }
}

/// Takes whole lines only: the end of a line that was cut off was not told.
async fn hear(stream: TcpStream, told: watch::Sender<Vec<String>>) {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line).await.is_ok_and(|length| length > 0) && line.ends_with('\n') {
        line.pop();
        told.send_modify(|told| told.push(std::mem::take(&mut line)));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncWriteExt as _;
    use tokio::process::{Child, Command};

    use super::super::records::{Written, verify};
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn only_whole_lines_were_told() {
        let witness = Witness::listen("127.0.0.1").await.unwrap();
        let mut stream = TcpStream::connect(witness.address()).await.unwrap();
        stream.write_all(b"one\ntwo\nthr").await.unwrap();
        drop(stream);
        witness.told.clone().wait_for(|told| told.len() == 2).await.unwrap();
        // A second writer is heard as well: the first one's rest is not its beginning.
        let mut stream = TcpStream::connect(witness.address()).await.unwrap();
        let more = witness.hears(1, LIMIT);
        let tell = async { stream.write_all(b"four\n").await };
        let (heard, _) = tokio::join!(more, tell);
        heard.unwrap();
        assert_eq!(witness.told(), ["one", "two", "four"]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_failure() {
        let witness = Witness::listen("127.0.0.1").await.unwrap();
        let failure = witness.hears(3, LIMIT).await.unwrap_err().to_string();
        assert_eq!(failure, "the writer told 0 lines in 60s, not 3");
    }

    /// Starts the script on this machine; `None` where it lacks a program.
    fn start(file: &str, witness: &Witness) -> Option<Child> {
        let has = |name| std::env::split_paths(&std::env::var_os("PATH")?).find(|at| at.join(name).exists());
        has("nc")?;
        let mut command = Command::new("sh");
        command.args(["-c", &script(file, witness.address())]).process_group(0).stdin(Stdio::null());
        Some(command.spawn().unwrap())
    }

    async fn kill(mut child: Child) {
        let group = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
        nix::sys::signal::killpg(group, nix::sys::signal::SIGKILL).unwrap();
        child.wait().await.unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_writer_told_is_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records");
        let witness = Witness::listen("127.0.0.1").await.unwrap();
        for _ in 0..2 {
            let Some(writer) = start(file.to_str().unwrap(), &witness) else {
                println!("skipped: there is no nc here, which the writer tells by");
                return;
            };
            witness.hears(8, LIMIT).await.unwrap();
            kill(writer).await;
            // As a crash would leave it.
            let mut torn = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
            std::io::Write::write_all(&mut torn, b"record 9").unwrap();
        }
        let Written { records, starts, .. } =
            verify(&std::fs::read(&file).unwrap(), &witness.told()).unwrap();
        assert!(records >= 14 && starts == 2, "{records} records, {starts} starts");
    }
}
