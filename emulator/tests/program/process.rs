//! A running emulator and the smallest HTTP client: one request, one connection.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use azure_emulator::SUBSCRIPTION;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// The program; killed if the test leaves it running.
pub(crate) struct Program {
    child: Child,
    address: String,
    /// Where the further listeners are, in the order of their lines.
    pub(crate) further: Vec<String>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn poll_path(&self) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix("azure-asyncoperation: ")).unwrap();
        line[line.find("/subscriptions").unwrap()..].to_owned()
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azure-emulator"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    pub(crate) fn start(state: &Path, more: &[&str]) -> Self {
        let mut arguments = vec!["--state", state.to_str().unwrap(), "--vm", "node-a:Standard_D2s_v5"];
        arguments.extend(more);
        let mut child = command(&arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("'{line}', {errors}");
        };
        let further = more.iter().filter(|flag| matches!(**flag, "--tls" | "--metadata"));
        let further = further.map(|_| {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            line.trim().rsplit_once("://").unwrap().1.to_owned()
        });
        Self { address: address.to_owned(), further: further.collect(), child }
    }

    /// `None`: the connection was closed without an answer.
    pub(crate) fn send(&self, method: &str, target: &str, body: &Value) -> Option<Reply> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        exchange(&mut stream, &self.address, &format!("{method} {target}"), "", &body)
    }

    pub(crate) fn arm(&self, method: &str, path: &str, body: &Value) -> Option<Reply> {
        self.send(method, &format!("{}?api-version=2025-04-01", id(path)), body)
    }

    pub(crate) fn get(&self, target: &str) -> Value {
        let reply = self.send("GET", target, &Value::Null).unwrap();
        assert_eq!(reply.status, 200, "{target}: {}", reply.body);
        reply.body
    }

    pub(crate) fn script(&self, fault: &Value) {
        assert_eq!(self.send("POST", "/_emulator/faults", fault).unwrap().status, 204);
    }

    pub(crate) fn advance(&self, ms: u64) {
        let skip = json!({ "advance_ms": ms });
        assert_eq!(self.send("PUT", "/_emulator/clock", &skip).unwrap().status, 204);
    }

    pub(crate) fn create(&self, name: &str, gib: u64) -> Option<Reply> {
        let properties = json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": gib });
        self.arm("PUT", &format!("disks/{name}"), &json!({ "properties": properties }))
    }

    pub(crate) fn attach(&self, disk: &str, lun: u8) -> Reply {
        let body = json!({ "dataDisksToAttach": [{ "diskId": id(&format!("disks/{disk}")), "lun": lun }] });
        self.arm("POST", "virtualMachines/node-a/attachDetachDataDisks", &body).unwrap()
    }

    /// The operation that this answer began has ended, and well; its own words where it did not.
    pub(crate) fn ends_well(&self, accepted: &Reply) {
        let head = accepted.head.lines().filter_map(|line| line.split_once(": "));
        let mut polls = head.filter(|(name, _)| name.eq_ignore_ascii_case("azure-asyncoperation"));
        let (_, poll) = polls.next().expect(&accepted.head);
        let target = poll.strip_prefix(&format!("http://{}", self.address)).unwrap_or(poll);
        let ended = self.get(target);
        assert_eq!(ended["status"], "Succeeded", "{ended}");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(mut self) -> ExitStatus {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request, with further header lines of the caller's, over any stream; `None` if it ends without an answer.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    host: &str,
    line: &str,
    headers: &str,
    body: &str,
) -> Option<Reply> {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer t\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset instead of an end is no answer as well.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) })
}

/// The ARM id of a path below the provider.
pub(crate) fn id(path: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/{path}")
}
