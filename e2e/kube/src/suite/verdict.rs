//! What a run of the suite comes to: the numbers, the lists with reasons, and what speaks against it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cases::{Case, End},
    definition::FileSystem,
    selection::Exclusion,
    skips,
};

/// So many different cases on a file system must pass, whichever of the two it is.
pub const LEAST_ON_FILE_SYSTEMS: usize = 90;

/// So many different cases with a raw volume must pass.
pub const LEAST_ON_BLOCK: usize = 10;

/// The numbers of one run, its lists, and what speaks against it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Cases that passed.
    pub passed: usize,
    /// Names of the cases that failed, with the first words of why.
    pub failed: BTreeMap<String, String>,
    /// Names of what passed on ext4 and on xfs; the same case may be in both.
    pub on_file_systems: BTreeMap<&'static str, BTreeSet<String>>,
    /// Names of what passed with raw volumes.
    pub on_block: BTreeSet<String>,
    /// Reason → names that the table leaves out.
    pub excluded: BTreeMap<String, BTreeSet<String>>,
    /// Reason → names that the suite skipped itself.
    pub skipped: BTreeMap<String, BTreeSet<String>>,
    /// What must not be.
    pub objections: Vec<String>,
}

/// Judges the `cases` of a run that was told to leave out `exclusions`.
pub fn judge(cases: &[Case], exclusions: &[Exclusion]) -> Verdict {
    let mut verdict = Verdict::default();
    for case in cases {
        verdict.add(case, exclusions.iter().find(|row| row.covers(&case.name)));
    }
    for (name, why) in &verdict.failed {
        verdict.objections.push(format!("failed: {name}: {why}"));
    }
    let distinct = verdict.distinct_on_file_systems();
    for (what, found, least) in [
        ("on ext4 or xfs", distinct, LEAST_ON_FILE_SYSTEMS),
        ("with a raw volume", verdict.on_block.len(), LEAST_ON_BLOCK),
    ] {
        if found < least {
            verdict.objections.push(format!("only {found} different cases passed {what}, {least} must"));
        }
    }
    verdict
}

impl Verdict {
    fn add(&mut self, case: &Case, exclusion: Option<&Exclusion>) {
        let name = case.name.clone();
        match (&case.end, exclusion) {
            (End::LeftOut, Some(row)) => put(&mut self.excluded, row.reason, name),
            (End::LeftOut, None) => self.objections.push(format!("did not run, and no one says why: {name}")),
            (_, Some(_)) => self.objections.push(format!("ran although it is left out: {name}")),
            (End::Skipped(message), None) => match skips::reason(message) {
                Some(reason) => put(&mut self.skipped, reason, name),
                None => self
                    .objections
                    .push(format!("skipped itself for a reason we don't know: {name}: {message}")),
            },
            (End::Failed(why), None) => {
                let first = why.lines().next().unwrap_or_default().to_owned();
                self.failed.insert(name, first);
            }
            (End::Passed, None) => self.pass(&name),
        }
    }

    fn pass(&mut self, name: &str) {
        self.passed += 1;
        let plain = without_set(name);
        if name.contains("(block volmode)") {
            self.on_block.insert(plain);
        } else if let Some(file_system) = file_system(name) {
            self.on_file_systems.entry(file_system).or_default().insert(plain);
        }
    }

    /// How many different cases passed on either file system: one that passed on both counts once.
    pub fn distinct_on_file_systems(&self) -> usize {
        self.on_file_systems.values().flatten().collect::<BTreeSet<_>>().len()
    }

    /// The run for a reader: one line of numbers, then the lists.
    pub fn lines(&self) -> Vec<String> {
        let on = |file_system: &str| self.on_file_systems.get(file_system).map_or(0, BTreeSet::len);
        let distinct = self.distinct_on_file_systems() + self.on_block.len();
        let count =
            |list: &BTreeMap<String, BTreeSet<String>>| list.values().map(BTreeSet::len).sum::<usize>();
        let mut lines = vec![format!(
            "{} passed, {} failed; {distinct} distinct: {} on ext4 or xfs (ext4 {}, xfs {}), {} block; \
             {} skipped by the suite, {} excluded",
            self.passed,
            self.failed.len(),
            self.distinct_on_file_systems(),
            on("ext4"),
            on("xfs"),
            self.on_block.len(),
            count(&self.skipped),
            count(&self.excluded),
        )];
        for (title, list) in [("excluded", &self.excluded), ("skipped by the suite itself", &self.skipped)] {
            for (reason, names) in list {
                lines.push(format!("{title} ({}): {reason}", names.len()));
                lines.extend(names.iter().map(|name| format!("    {name}")));
            }
        }
        lines
    }
}

fn put(list: &mut BTreeMap<String, BTreeSet<String>>, reason: &str, name: String) {
    list.entry(reason.to_owned()).or_default().insert(name);
}

/// The file system of a case: the one that it names, else that of its set.
fn file_system(name: &str) -> Option<&'static str> {
    let by_set = FileSystem::ALL.map(|set| (set.tag(), set));
    let named = [("(ext4)", FileSystem::Ext4), ("(xfs)", FileSystem::Xfs)];
    let found = named.into_iter().chain(by_set).find(|(words, _)| name.contains(words));
    found.map(|(_, file_system)| match file_system {
        FileSystem::Ext4 => "ext4",
        FileSystem::Xfs => "xfs",
    })
}

/// The name without the words that tell the sets apart.
fn without_set(name: &str) -> String {
    FileSystem::ALL.iter().fold(name.to_owned(), |name, set| name.replace(&format!("{} ", set.tag()), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT_OUT: Exclusion = Exclusion { set: None, parts: &["[Disruptive]"], reason: "no ssh" };

    fn case(name: &str, end: End) -> Case {
        Case { name: name.to_owned(), end, seconds: 1.0, output: String::new() }
    }

    /// What is said against a run of one case, besides that it is too small.
    fn check(name: &str, end: End, objection: Option<&str>) {
        let verdict = judge(&[case(name, end)], &[LEFT_OUT]);
        let said: Vec<_> = verdict.objections.iter().filter(|line| !line.starts_with("only ")).collect();
        assert_eq!(said.len(), usize::from(objection.is_some()), "{said:?}");
        assert!(objection.is_none_or(|words| said[0].starts_with(words)), "{said:?}");
    }

    #[test]
    fn what_is_silently_missing_speaks_against_the_run() {
        check("stores", End::Passed, None);
        check("stores", End::Failed("no".to_owned()), Some("failed: stores: no"));
        check("stores", End::LeftOut, Some("did not run"));
        check("[Disruptive] kill", End::LeftOut, None);
        check("[Disruptive] kill", End::Passed, Some("ran although"));
        check("stores", End::Skipped("Distro debian doesn't support ntfs -- skipping".to_owned()), None);
        check(
            "stores",
            End::Skipped("moon phase".to_owned()),
            Some("skipped itself for a reason we don't know"),
        );
    }

    #[test]
    fn a_case_on_both_file_systems_counts_once() {
        let [ext4, xfs] = FileSystem::ALL.map(FileSystem::tag);
        let passed = [
            format!("{ext4} (default fs) stores"),
            format!("{xfs} (default fs) stores"),
            format!("{ext4} PV (xfs) stores"),
            format!("{ext4} PV (block volmode) stores"),
        ];
        let cases = passed.map(|name| case(&name, End::Passed));
        let verdict = judge(&cases, &[]);
        assert_eq!((verdict.passed, verdict.distinct_on_file_systems(), verdict.on_block.len()), (4, 2, 1));
        assert!(
            verdict.lines()[0]
                .starts_with("4 passed, 0 failed; 3 distinct: 2 on ext4 or xfs (ext4 1, xfs 2), 1 block")
        );
    }

    #[test]
    fn too_few_cases_speak_against_the_run() {
        assert_eq!(judge(&[], &[]).objections.len(), 2);
        let many: Vec<Case> = (0..LEAST_ON_FILE_SYSTEMS)
            .map(|n| case(&format!("PV (ext4) {n}"), End::Passed))
            .chain((0..LEAST_ON_BLOCK).map(|n| case(&format!("(block volmode) {n}"), End::Passed)))
            .collect();
        assert_eq!(judge(&many, &[]).objections, [""; 0]);
    }

    #[test]
    fn what_did_not_run_is_listed_under_its_reason() {
        let cases = [
            case("[Disruptive] a", End::LeftOut),
            case("b", End::Skipped("Distro debian doesn't support ntfs -- skipping".to_owned())),
        ];
        let lines = judge(&cases, &[LEFT_OUT]).lines();
        assert_eq!(lines[1..3], ["excluded (1): no ssh", "    [Disruptive] a"]);
        assert!(
            lines[3].starts_with("skipped by the suite itself (1): ") && lines[4] == "    b",
            "{lines:?}"
        );
    }
}
