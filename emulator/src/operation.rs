//! Long-running operations: accepted now, ended later, polled in between.
//!
//! How an operation ends is drawn when it is accepted and saved with it, so that a crash of the emulator cannot
//! change the outcome. State machine: `Running` → `Succeeded | Failed | Canceled`, never back. A newer write on the
//! same VM cancels the older one (`OperationPreempted`).

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::clock::Millis;
use crate::fate::{Change, Leaves};
use crate::world::Key;

/// The part of Azure that runs it: decides poll URL and poll body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Provider {
    Disk,
    Compute,
    Network,
    Group,
}

/// What happens to the model when the operation ends well.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// The disk was inserted at accept; it becomes usable.
    CreateDisk(Key),
    /// The accepted body is merged into the disk.
    ChangeDisk(Key, Value),
    DeleteDisk(Key),
    CreateSnapshot(Key),
    ChangeSnapshot(Key, Value),
    DeleteSnapshot(Key),
    /// The VM's goal is carried out, as it stands then.
    ApplyVm(Key),
    DeleteVm(Key),
    /// The set gets as many instances as its capacity says.
    ApplySet(Key),
    DeleteSet(Key),
    ApplyCompanion(Key),
    DeleteCompanion(Key),
    ApplyNetwork(Key),
    DeleteNetwork(Key),
    /// Name of the group in lower case.
    DeleteGroup(String),
}

/// Where the operation stands, or how it will end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Running,
    Succeeded,
    Failed { code: String, message: String },
    Canceled { code: String, message: String },
}

impl Stage {
    /// The end of what a newer write on the same VM replaced.
    pub(crate) fn preempted() -> Self {
        Self::Canceled {
            code: "OperationPreempted".to_owned(),
            message: "Operation execution has been preempted by a more recent operation.".to_owned(),
        }
    }
}

/// An accepted long-running operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) provider: Provider,
    pub(crate) location: String,
    pub(crate) subscription: String,
    pub(crate) api_version: String,
    pub(crate) order: u64,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    /// Model time at which it was accepted.
    #[serde(default)]
    pub(crate) accepted: Millis,
    /// Model time at which it ends.
    pub(crate) due: Millis,
    pub(crate) stage: Stage,
    /// How it will end, if nothing preempts it.
    pub(crate) drawn: Stage,
    /// What it leaves behind, and whether a VM hides it, if it does not succeed as it was drawn.
    #[serde(default)]
    pub(crate) leaves: Leaves,
    #[serde(default)]
    pub(crate) is_settled: bool,
    /// Of a VM: what it may take back.
    #[serde(default)]
    pub(crate) change: Change,
    pub(crate) effect: Effect,
    /// The resource as it was when the operation ended; DiskRP shows it in the poll body.
    pub(crate) output: Option<Value>,
}

impl Operation {
    pub(crate) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    /// The poll URL; `monitor` asks for the `Location` flavour.
    pub(crate) fn url(&self, base: &str, monitor: bool) -> String {
        let Self { id, subscription, location, api_version, .. } = self;
        let (namespace, kind) = match self.provider {
            Provider::Disk => ("Microsoft.Compute", "DiskOperations"),
            Provider::Compute => ("Microsoft.Compute", "operations"),
            Provider::Network => ("Microsoft.Network", "operations"),
            Provider::Group => {
                let token = token(id);
                return format!(
                    "{base}/subscriptions/{subscription}/operationresults/{token}?api-version={api_version}&t=1&c=c&s=s&h=h"
                );
            }
        };
        let suffix = if monitor { "&monitor=true" } else { "" };
        format!(
            "{base}/subscriptions/{subscription}/providers/{namespace}/locations/{location}/{kind}/{id}?p={id}{suffix}&api-version={api_version}&t=1&c=c&s=s&h=h"
        )
    }

    /// Puts the poll URLs on the answer that accepts the operation.
    pub(crate) fn announce(&self, call: &Call, answer: Answer) -> Answer {
        let with_location = answer.status == StatusCode::ACCEPTED;
        let answer = match self.provider {
            Provider::Group => return answer.with("location", self.url(&call.base, false)),
            Provider::Disk => answer,
            Provider::Compute | Provider::Network => answer.with("azure-asyncnotification", "Enabled"),
        };
        let answer = answer.with("azure-asyncoperation", self.url(&call.base, false));
        if with_location { answer.with("location", self.url(&call.base, true)) } else { answer }
    }

    /// What polling `Azure-AsyncOperation` shows. Always with HTTP 200.
    pub(crate) fn poll(&self) -> Value {
        let status = match &self.stage {
            Stage::Running => "InProgress",
            Stage::Succeeded => "Succeeded",
            Stage::Failed { .. } => "Failed",
            Stage::Canceled { .. } => "Canceled",
        };
        let mut body = json!({ "status": status });
        if self.provider != Provider::Network {
            body["startTime"] = json!(self.started);
            body["name"] = json!(self.id);
            if let Some(ended) = &self.ended {
                body["endTime"] = json!(ended);
            }
        }
        match &self.stage {
            Stage::Failed { code, message } | Stage::Canceled { code, message } if !code.is_empty() => {
                body["error"] = json!({ "code": code, "message": message });
            }
            _ => {}
        }
        if let (Stage::Succeeded, Provider::Disk, Some(output)) = (&self.stage, self.provider, &self.output) {
            body["properties"] = json!({ "output": output });
        }
        body
    }
}

/// The opaque token of a group operation's URL.
fn token(id: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{{\"jobId\":\"{id}\"}}"))
}

/// The operation guid inside a group operation's token.
pub(crate) fn id_of_token(token: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).ok()?;
    let job: Value = serde_json::from_slice(&bytes).ok()?;
    Some(job["jobId"].as_str()?.to_owned())
}
