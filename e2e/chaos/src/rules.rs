//! What the script may do. An invariant is never weakened; where the driver is not there yet, a kind of trouble is off
//! in `OFF`, with the reason, until it is.

use std::str::FromStr;

/// What is off, and why.
const OFF: &[(Trouble, &str)] = &[(
    Trouble::RudeDeletions,
    "a disk that a VM lists and does not hold is deleted after a restart, and its entry stays",
)];

/// A kind of trouble that can be left out, to see whether a failure needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// GETs of VMs and disks are answered from the past.
    StaleReads,
    /// The delta call is refused with 403, so that the full list is written.
    DeltaRefusals,
    /// A second controller works beside the first, and callers go from one to the other.
    SecondController,
    /// A controller is killed.
    Kills,
    /// Callers hang up.
    HangUps,
    /// Two nodes ask for one unshared disk at the same time.
    AskingTwice,
    /// A volume is deleted while somebody has it.
    RudeDeletions,
    /// A volume is wanted again where its detach has not been answered OK.
    ChangesOfMind,
    /// VMs are deleted.
    VmDeletions,
    /// VMs are switched off and on.
    Power,
    /// A second writer changes the VMs.
    SecondWriter,
    /// Scripted faults of any kind.
    Faults,
    /// Answers are lost after the request was carried out, or before.
    LostAnswers,
    /// Operations end badly.
    BadEnds,
    /// A VM says that all is well after an operation that ended badly.
    QuietEnds,
    /// Azure says that an update of a VM went well, and did nothing.
    EmptyEnds,
    /// Operations hang, or end late.
    Hanging,
    /// Azure's buckets are real, and it answers 429.
    Throttling,
}

const ALL: [(&str, Trouble); 18] = [
    ("stale-reads", Trouble::StaleReads),
    ("delta-refusals", Trouble::DeltaRefusals),
    ("second-controller", Trouble::SecondController),
    ("kills", Trouble::Kills),
    ("hang-ups", Trouble::HangUps),
    ("asking-twice", Trouble::AskingTwice),
    ("rude-deletions", Trouble::RudeDeletions),
    ("changes-of-mind", Trouble::ChangesOfMind),
    ("vm-deletions", Trouble::VmDeletions),
    ("power", Trouble::Power),
    ("second-writer", Trouble::SecondWriter),
    ("faults", Trouble::Faults),
    ("lost-answers", Trouble::LostAnswers),
    ("bad-ends", Trouble::BadEnds),
    ("quiet-ends", Trouble::QuietEnds),
    ("empty-ends", Trouble::EmptyEnds),
    ("hanging", Trouble::Hanging),
    ("throttling", Trouble::Throttling),
];

impl FromStr for Trouble {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, trouble)| *trouble).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            format!("'{text}' is none of {}", names.join(", "))
        })
    }
}

/// What the script of a run may do: everything, but what is off here, and what the run leaves out.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Left out.
    pub without: Vec<Trouble>,
    /// Brought in although it is off.
    pub with: Vec<Trouble>,
}

impl Rules {
    /// Whether the script may do so.
    pub fn allow(&self, trouble: Trouble) -> bool {
        let is_off = OFF.iter().any(|(off, _)| *off == trouble) && !self.with.contains(&trouble);
        !is_off && !self.without.contains(&trouble)
    }

    /// What is off in every run, and why.
    pub fn off() -> &'static [(Trouble, &'static str)] {
        OFF
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_allowed() {
        let kills: Vec<Trouble> = vec!["kills".parse().unwrap()];
        assert!(Rules::default().allow(Trouble::Kills));
        assert!(!Rules { without: kills.clone(), with: vec![] }.allow(Trouble::Kills));
        assert!(!Rules { without: kills.clone(), with: kills }.allow(Trouble::Kills));
        for (off, _) in OFF {
            assert!(!Rules::default().allow(*off));
            assert!(Rules { without: vec![], with: vec![*off] }.allow(*off));
        }
        assert!("nonsense".parse::<Trouble>().is_err());
        assert_eq!(ALL.iter().map(|(name, _)| name.parse()).collect::<Vec<_>>(), ALL.map(|(_, one)| Ok(one)));
    }
}
