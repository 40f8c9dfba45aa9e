//! The tests that need a cluster. They run inside its namespaces, where kubectl, the emulator's control endpoint and
//! every process of every node are in reach, and they see the driver from outside only.
//!
//! A test is a row of named steps in a [`report::Report`]; each has a Kubernetes namespace of its own, so that what it
//! leaves goes with it.

pub mod azure;
pub mod containers;
pub mod evidence;
pub mod failures;
pub mod holdings;
pub mod junit;
pub mod kernel;
pub mod kubernetes;
pub mod machines;
pub mod objects;
pub mod records;
pub mod report;
pub mod run;
pub mod story;
pub mod wait;
pub mod world;
pub mod writer;

use std::path::PathBuf;

/// Which tests to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The life of a volume, step by step, with times.
    Story,
    /// What breaks: kubelets, pods, machines, the API server.
    Failures,
    /// Kubernetes' own storage suite.
    Suite,
    /// How long a pod waits for its volume.
    Ready,
    /// Permissions that were granted and never used. It reads the audit log of all that ran before.
    Audit,
}

impl Part {
    /// All of them, in the order in which they run.
    pub const ALL: [Part; 5] = [Part::Story, Part::Failures, Part::Suite, Part::Ready, Part::Audit];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self);
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What to run, and how often.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The parts to run; all of them where none is named.
    #[arg(value_enum)]
    pub parts: Vec<Part>,
    /// How often, one round after the other.
    #[arg(long, default_value_t = 1)]
    pub rounds: u32,
    /// Only the tests of the parts whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// Folders with what API servers of other clusters logged of the same test; the audit reads them, too.
    #[arg(long = "audit", hide = true, value_name = "FOLDER")]
    pub audits: Vec<PathBuf>,
}

/// A test on two clusters: some parts here, some beside them at the same time, and some when both are done.
#[derive(Clone, Debug)]
pub struct Split {
    /// First, in the first cluster.
    pub here: Options,
    /// Meanwhile, in the second.
    pub beside: Options,
    /// Then, in the first cluster, alone on the machine; or nothing.
    pub last: Option<Options>,
}

impl Options {
    /// The words of the command line that mean this.
    pub fn words(&self) -> Vec<String> {
        let parts = self.parts.iter().map(ToString::to_string);
        let only = self.only.iter().map(|only| format!("--only={only}"));
        let audits = self.audits.iter().map(|folder| format!("--audit={}", folder.display()));
        parts.chain([format!("--rounds={}", self.rounds)]).chain(only).chain(audits).collect()
    }

    /// How to go about it on two clusters, where that is faster: story and failures are waited for most of their time,
    /// and the suite can have the processors meanwhile. What measures, and what judges all that was before, comes last.
    pub fn split(&self) -> Option<Split> {
        let these = |parts: &[Part]| {
            let parts: Vec<_> = self.chosen().into_iter().filter(|part| parts.contains(part)).collect();
            (!parts.is_empty()).then(|| Options { parts, ..self.clone() })
        };
        let (here, beside) = (these(&[Part::Suite])?, these(&[Part::Story, Part::Failures])?);
        Some(Split { here, beside, last: these(&[Part::Ready, Part::Audit]) })
    }

    /// The parts to run, each once, in their order.
    pub fn chosen(&self) -> Vec<Part> {
        let is_chosen = |part: &Part| self.parts.is_empty() || self.parts.contains(part);
        Part::ALL.into_iter().filter(is_chosen).collect()
    }

    /// Whether the test called `name` is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(parts: &[Part]) -> Options {
        Options { parts: parts.to_vec(), rounds: 1, only: None, audits: Vec::new() }
    }

    #[test]
    fn what_waits_runs_beside_what_works_and_before_what_measures() {
        use Part::{Audit, Failures, Ready, Story, Suite};
        type Parts = (&'static [Part], &'static [Part]);
        let rows: &[(&[Part], Option<Parts>)] = &[
            (&[], Some((&[Story, Failures], &[Ready, Audit]))),
            (&[Suite, Story], Some((&[Story], &[]))),
            (&[Failures, Suite, Audit], Some((&[Failures], &[Audit]))),
            (&[Suite, Ready], None),
            (&[Failures, Story], None),
        ];
        for (parts, wanted) in rows {
            let split = options(parts).split();
            assert_eq!(split.is_some(), wanted.is_some(), "{parts:?}");
            if let (Some(split), Some((beside, last))) = (split, wanted) {
                assert_eq!(split.here.parts, [Suite]);
                assert_eq!(split.beside.parts, *beside);
                assert_eq!(split.last.map(|last| last.parts).unwrap_or_default(), *last);
            }
        }
    }

    #[test]
    fn parts_run_once_and_in_their_order() {
        assert_eq!(options(&[]).chosen(), Part::ALL);
        assert_eq!(options(&[Part::Audit, Part::Story, Part::Audit]).chosen(), [Part::Story, Part::Audit]);
    }

    #[test]
    fn a_part_of_the_name_chooses_a_test() {
        let options = |only: Option<&str>| Options { only: only.map(str::to_owned), ..options(&[]) };
        assert!(options(None).wants("kubelet-killed"));
        assert!(options(Some("kubelet")).wants("kubelet-killed"));
        assert!(!options(Some("vm")).wants("kubelet-killed"));
    }
}
