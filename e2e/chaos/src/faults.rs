//! What the script does to Azure's answers and operations: a fault of any kind, drawn from the generator.

use azure_emulator::{Action, Ending, Fault, Leaves};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::rules::{Rules, Trouble};

/// What a fault is about: method and a part of the path.
const READS: [(&str, &str); 4] = [
    ("GET", "/virtualMachines/"),
    ("GET", "/disks/"),
    ("GET", "perations/"),
    ("GET", "/virtualMachineScaleSets"),
];
const WRITES: [(&str, &str); 5] = [
    ("POST", "/attachDetachDataDisks"),
    ("PUT", "/virtualMachines/"),
    ("PUT", "/disks/"),
    ("DELETE", "/disks/"),
    ("POST", "/virtualMachines/"),
];

/// A fault, and what to call it; none if the rules do not allow it.
pub(crate) fn draw(rng: &mut Rng, rules: &Rules) -> Option<(&'static str, Fault)> {
    let (name, trouble, mut action) = action(rng);
    if let Action::EndOperation { settled, .. } = &mut action {
        *settled = *settled && rules.allow(Trouble::QuietEnds);
    }
    let (method, path) = match name {
        "delta refused" => WRITES[0],
        "stale read" => READS[rng.usize(0..2)],
        "hung" | "late" | "preempted" | "half done" | "failed" | "nothing done" => {
            WRITES[usize::from(rng.u8(0..4) == 0)]
        }
        _ if rng.bool() => READS[rng.usize(0..READS.len())],
        // An update of disks is what most of it is about.
        _ if rng.bool() => WRITES[rng.usize(0..2)],
        _ => WRITES[rng.usize(0..WRITES.len())],
    };
    let times = if rng.u8(0..4) == 0 { rng.u64(2..6) } else { 1 };
    let fault = Fault::on(method, path, action).nth(rng.u64(1..4)).times(times);
    (rules.allow(Trouble::Faults) && rules.allow(trouble)).then_some((name, fault))
}

fn action(rng: &mut Rng) -> (&'static str, Trouble, Action) {
    use Trouble::{BadEnds, DeltaRefusals, EmptyEnds, Faults, Hanging, LostAnswers, StaleReads, Throttling};
    let conflict = "The request failed due to conflict with a concurrent request.";
    match rng.u8(0..23) {
        0 | 1 => ("429", Throttling, throttled(rng)),
        2 | 3 => ("409", Faults, refused(409, "Conflict", conflict)),
        4 => ("500", Faults, refused(500, "InternalServerError", "an internal error")),
        5 => ("503", Faults, refused(503, "ServiceUnavailable", "try later")),
        6 | 7 => ("answer lost", LostAnswers, Action::LoseAnswer),
        8 => ("request lost", LostAnswers, Action::LoseRequest),
        9..=12 => ("preempted", BadEnds, ends(rng, Ending::Preempted)),
        13 => ("preempted", BadEnds, ends(rng, Ending::Canceled)),
        14 => ("preempted", BadEnds, ends(rng, Ending::PreemptedAsFailed)),
        15 => {
            let message = "An internal execution error occurred.".into();
            ("failed", BadEnds, ends(rng, Ending::Failed { code: "InternalExecutionError".into(), message }))
        }
        16 => ("half done", BadEnds, half_done(rng)),
        17 => ("hung", Hanging, Action::HangOperation { ms: Some(rng.u64(5_000..600_000)) }),
        18 => ("late", Hanging, Action::DelayOperation { ms: rng.u64(1_000..300_000) }),
        19 => ("delta refused", DeltaRefusals, not_authorized()),
        20 => {
            let (ending, leaves) = (Ending::Succeeded, Leaves::Nothing);
            ("nothing done", EmptyEnds, Action::EndOperation { ending, leaves, settled: true })
        }
        _ => {
            // What the driver takes for granted: no cache of Azure's is older.
            let ms = rng.u64(0..10_000);
            ("stale read", StaleReads, Action::StaleRead { ms, changes: 0 })
        }
    }
}

fn ends(rng: &mut Rng, ending: Ending) -> Action {
    let leaves = match rng.u8(0..6) {
        0 | 1 => Leaves::Wanted,
        2 => Leaves::Part(rng.usize(0..3)),
        3 => Leaves::Everything,
        _ => Leaves::Nothing,
    };
    Action::EndOperation { ending, leaves, settled: rng.bool() }
}

fn half_done(rng: &mut Rng) -> Action {
    let (code, message) = (String::new(), String::new());
    let (ending, leaves) = (Ending::Failed { code, message }, Leaves::Part(1));
    Action::EndOperation { ending, leaves, settled: rng.bool() }
}

fn refused(status: u16, code: &str, message: &str) -> Action {
    let body = json!({ "error": { "code": code, "message": message } });
    Action::Answer { status, body, headers: vec![] }
}

fn throttled(rng: &mut Rng) -> Action {
    let body: Value = json!({ "error": {
        "code": "OperationNotAllowed", "message": "The server rejected the request because too many requests have been received.",
        "details": [{ "code": "TooManyRequests", "target": "HighCostGet3Min" }],
    }});
    let headers = match rng.u8(0..3) {
        0 => vec![],
        _ => vec![("retry-after".to_owned(), rng.u8(1..30).to_string())],
    };
    Action::Answer { status: 429, body, headers }
}

/// The identity has no right to the delta call.
fn not_authorized() -> Action {
    let message = "The client does not have authorization to perform action \
        'Microsoft.Compute/virtualMachines/attachDetachDataDisks/action' over scope.";
    refused(403, "AuthorizationFailed", message)
}
