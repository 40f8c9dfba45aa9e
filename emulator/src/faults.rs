//! Scripted misfortune: what happens to the n-th ARM request that matches.
//!
//! A script is not part of the saved model: a restarted emulator is a well-behaved one. Matches are counted from the
//! moment the fault is scripted; only ARM requests (`/subscriptions/…`) count, polls included.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::fate::{Ending, Leaves};

/// A fault: which requests, and what happens to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this method; all if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Only paths (with query) that contain this, whatever its case; all if absent.
    #[serde(default)]
    pub path: Option<String>,
    /// The first match it happens to, counted from 1.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many matches in a row it happens to.
    #[serde(default = "one")]
    pub count: u64,
    /// What happens.
    pub action: Action,
    /// Matches seen so far.
    #[serde(default)]
    pub seen: u64,
}

fn one() -> u64 {
    1
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The request is carried out and saved, then the connection closes without an answer.
    LoseAnswer,
    /// The connection closes before the request is looked at.
    LoseRequest,
    /// This answer instead of the real one; the request is not carried out.
    Answer {
        /// HTTP status.
        status: u16,
        /// Body as JSON; a text is sent as it is, as `text/html`, the way a proxy would answer.
        #[serde(default)]
        body: Value,
        /// Further headers, such as `retry-after`.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// The operation that the request starts ends badly.
    FailOperation {
        /// Ends as `Canceled` instead of `Failed`.
        #[serde(default)]
        canceled: bool,
        /// Azure's code; may be empty.
        #[serde(default)]
        code: String,
        /// Azure's words.
        #[serde(default)]
        message: String,
    },
    /// The operation that the request starts ends badly, and leaves the model as told.
    EndOperation {
        /// How.
        ending: Ending,
        /// What is found afterwards.
        #[serde(default)]
        leaves: Leaves,
        /// A VM says `Succeeded` afterwards, as if nothing had been, instead of `Failed`.
        #[serde(default)]
        settled: bool,
    },
    /// The operation that the request starts ends so long after its accept, whatever was drawn; never, if `ms` is absent.
    HangOperation {
        /// Milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// The operation that the request starts ends so much later than drawn.
    DelayOperation {
        /// Milliseconds.
        ms: u64,
    },
    /// A GET is answered from the past: as it would have been `ms` ago, and before the last `changes` changes of that very
    /// answer. Nothing older than the scripting of the first such fault is remembered. Writes, and polls of operations,
    /// are what they are.
    StaleRead {
        /// Milliseconds.
        #[serde(default)]
        ms: u64,
        /// How many changes are not seen yet.
        #[serde(default)]
        changes: usize,
    },
    /// This VM (id or name) is gone before the request is looked at.
    DeleteVm {
        /// ARM id or machine name.
        vm: String,
    },
    /// This process gets SIGKILL, and its connection closes.
    Kill {
        /// Process id, greater than 1.
        pid: u32,
        /// When.
        moment: Moment,
    },
}

/// When a caller dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the request is looked at.
    Before,
    /// After the request was carried out and saved, before its answer.
    After,
}

impl Fault {
    /// A fault for the next request of `method` (empty: any) whose path contains `path`.
    pub fn on(method: &str, path: &str, action: Action) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { method: some(method), path: some(path), nth: 1, count: 1, action, seen: 0 }
    }

    /// Not the first match but the `nth`.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    /// So many matches in a row.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// `target`: that of the call, in lower case.
    fn matches(&self, call: &Call, target: &str) -> bool {
        let is_method = |method: &String| call.method.as_str().eq_ignore_ascii_case(method);
        self.method.as_ref().is_none_or(is_method)
            && self.path.as_ref().is_none_or(|part| target.contains(&part.to_lowercase()))
    }
}

/// The scripted faults.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) faults: Vec<Fault>,
}

impl Script {
    /// Counts `call` and tells what happens to it, in the order of the script.
    pub(crate) fn judge(&mut self, call: &Call) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.faults.is_empty() {
            return actions;
        }
        let target = call.target.to_lowercase();
        for fault in self.faults.iter_mut().filter(|fault| fault.matches(call, &target)) {
            fault.seen += 1;
            if (fault.nth..fault.nth.saturating_add(fault.count)).contains(&fault.seen) {
                actions.push(fault.action.clone());
            }
        }
        self.faults.retain(|fault| fault.seen.saturating_add(1) < fault.nth.saturating_add(fault.count));
        actions
    }
}

/// Ends a process at once. False if there is none, or it is not ours to end.
pub(crate) fn kill(pid: u32) -> bool {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    // 0 and negative numbers mean groups of processes, 1 is the machine itself.
    match i32::try_from(pid) {
        Ok(pid) if pid > 1 => kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok(),
        _ => false,
    }
}
