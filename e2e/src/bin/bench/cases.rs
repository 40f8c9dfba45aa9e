//! The cases that are measured by the clock on the wall, as data. Pure.
//!
//! A case is three lists of moves; those of a list begin at the same moment. Only the second list is measured,
//! with Azure as slow as the case says; the others put the world in place, at once.

use serde_json::{Value, json};

/// How slow Azure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing takes time.
    Instant,
    /// Every operation takes so many milliseconds, and answers none.
    Fixed(u64),
    /// As the real service, from this seed.
    Realistic(u64),
}

impl Pace {
    /// As the table says it.
    pub(crate) fn name(self) -> String {
        match self {
            Pace::Instant => "instant".to_owned(),
            Pace::Fixed(ms) if ms % 1000 == 0 => format!("{} s", ms / 1000),
            Pace::Fixed(ms) => format!("0.{:03}", ms % 1000).trim_end_matches('0').to_owned() + " s",
            Pace::Realistic(seed) => format!("realistic:{seed}"),
        }
    }

    /// As the emulator's control endpoint takes it.
    pub(crate) fn durations(self) -> Value {
        let (operation, seed) = match self {
            Pace::Instant => (0, None),
            Pace::Fixed(ms) => (ms, None),
            Pace::Realistic(seed) => (0, Some(seed)),
        };
        json!({"accept_ms": 0, "operation_ms": operation, "disk_ms": operation, "copy_ms": 0, "realistic": seed})
    }
}

/// What is asked for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Publish,
    Unpublish,
}

/// One call: both numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) verb: Verb,
    pub(crate) vm: usize,
    pub(crate) disk: usize,
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) pace: Pace,
    /// How often.
    pub(crate) rounds: usize,
    pub(crate) before: Vec<Move>,
    pub(crate) measured: Vec<Move>,
    pub(crate) after: Vec<Move>,
    /// Updates that each VM needs for it.
    pub(crate) needed: usize,
    /// Whether the driver's memory is looked at, so that it begins as a new process.
    pub(crate) weighs: bool,
    /// What is wanted of the figures, in words.
    pub(crate) wanted: &'static str,
}

/// VMs and disks that the cases need.
pub(crate) const VMS: usize = 40;
pub(crate) const DISKS: usize = VMS * EACH;
const EACH: usize = 8;
/// How many come at once to one VM.
const BURST: usize = 16;
const ROUNDS: usize = 9;
/// With seconds in each, fewer must do.
const SLOW_ROUNDS: usize = 3;

/// The same verb for disks `0 .. vms × each`.
fn moves(verb: Verb, vms: usize, each: usize) -> Vec<Move> {
    (0..vms * each).map(|disk| Move { verb, vm: disk / each, disk }).collect()
}

/// Every case, in the order of the table; what is drawn is drawn from `seed`.
pub(crate) fn all(seed: u64) -> Vec<Case> {
    let paces = [Pace::Instant, Pace::Fixed(100), Pace::Realistic(seed)];
    let mut cases = Vec::new();
    for pace in paces {
        let wanted = match pace {
            Pace::Instant => "attach ≤ 10 ms above",
            Pace::Fixed(_) => "attach ≤ 0.4 s",
            Pace::Realistic(_) => "",
        };
        let rounds = if matches!(pace, Pace::Realistic(_)) { SLOW_ROUNDS } else { ROUNDS };
        cases.extend(pair("1", pace, rounds, (1, 1), [wanted, ""]));
    }
    for pace in &paces[1..] {
        cases.extend(pair("16, one VM", *pace, 1, (1, BURST), ["1 update, ≤ 1.2 × floor", ""]));
    }
    for pace in &paces[1..] {
        let wanted = "≤ 41 updates, ≤ 1.15 × floor, per disk ≤ 0.5 of VMs and ≤ 1 of disks";
        let mut pair = pair("40 VMs × 8", *pace, 1, (VMS, EACH), [wanted, ""]);
        pair[0].weighs = true;
        cases.extend(pair);
    }
    for pace in paces {
        cases.push(exchange(pace));
    }
    cases.push(Case {
        name: "detach of a detached disk".to_owned(),
        pace: Pace::Instant,
        rounds: ROUNDS,
        before: Vec::new(),
        measured: moves(Verb::Unpublish, 1, 1),
        after: Vec::new(),
        needed: 0,
        weighs: false,
        wanted: "1 read, no write",
    });
    cases
}

/// Attaches to `vms` as many disks `each`, and detaches them in a case of its own.
fn pair(
    what: &str,
    pace: Pace,
    rounds: usize,
    (vms, each): (usize, usize),
    wanted: [&'static str; 2],
) -> [Case; 2] {
    let (publish, unpublish) = (moves(Verb::Publish, vms, each), moves(Verb::Unpublish, vms, each));
    let attach = Case {
        name: format!("attach {what}"),
        pace,
        rounds,
        before: Vec::new(),
        measured: publish.clone(),
        after: unpublish.clone(),
        needed: 1,
        weighs: false,
        wanted: wanted[0],
    };
    let detach = Case {
        name: format!("detach {what}"),
        before: publish,
        measured: unpublish,
        after: Vec::new(),
        wanted: wanted[1],
        ..attach.clone()
    };
    [attach, detach]
}

/// One disk comes while another leaves.
fn exchange(pace: Pace) -> Case {
    let [first, second] = [0, 1];
    let call = |verb, disk| Move { verb, vm: 0, disk };
    Case {
        name: "attach + detach together".to_owned(),
        pace,
        rounds: 1,
        before: vec![call(Verb::Publish, first)],
        measured: vec![call(Verb::Publish, second), call(Verb::Unpublish, first)],
        after: vec![call(Verb::Unpublish, second)],
        needed: 1,
        weighs: false,
        wanted: "1 update",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_leaves_the_world_as_it_was() {
        for case in all(1) {
            let mut attached = BTreeSet::new();
            for step in case.before.iter().chain(&case.measured).chain(&case.after) {
                assert!(step.vm < VMS && step.disk < DISKS, "{}", case.name);
                let pair = (step.vm, step.disk);
                match step.verb {
                    Verb::Publish => assert!(attached.insert(pair), "{}: {pair:?} twice", case.name),
                    Verb::Unpublish if case.needed == 0 => {}
                    Verb::Unpublish => {
                        let was_attached = attached.remove(&pair);
                        assert!(was_attached, "{}: {pair:?} is not there", case.name);
                    }
                }
            }
            assert!(attached.is_empty() && !case.measured.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn a_pace_is_said_and_sent_as_it_is() {
        for (pace, name, operation, seed) in [
            (Pace::Instant, "instant", 0, None),
            (Pace::Fixed(100), "0.1 s", 100, None),
            (Pace::Fixed(6000), "6 s", 6000, None),
            (Pace::Realistic(7), "realistic:7", 0, Some(7)),
        ] {
            assert_eq!(pace.name(), name);
            let sent = pace.durations();
            assert_eq!((&sent["operation_ms"], &sent["realistic"]), (&json!(operation), &json!(seed)));
        }
    }
}
