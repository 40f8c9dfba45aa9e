//! What a csi-sanity run proved, read from its own JUnit report: a run that skipped too much, or did
//! nothing, is a failure even if the tool says otherwise.

/// One case of a JUnit report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its full name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and held.
    Passed,
    /// It ran and did not hold.
    Failed,
    /// It did not run.
    Skipped,
    /// csi-sanity itself has it switched off.
    Pending,
}

/// The cases of a JUnit report as Ginkgo writes it: one `<testcase name=… status=…>` each.
///
/// # Errors
/// A text in which a case has no name or a status that is not known.
pub fn parse(xml: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for element in xml.split("<testcase ").skip(1) {
        let tag = element.split('>').next().unwrap_or_default();
        let name = attribute(tag, "name").ok_or_else(|| format!("a case without a name: {tag}"))?;
        let status = attribute(tag, "status").ok_or_else(|| format!("{name} has no status"))?;
        let outcome = match status.as_str() {
            "passed" => Outcome::Passed,
            "failed" | "panicked" | "interrupted" | "aborted" | "timedout" => Outcome::Failed,
            "skipped" => Outcome::Skipped,
            "pending" => Outcome::Pending,
            other => return Err(format!("{name} has the unknown status {other}")),
        };
        // Ginkgo reports its own set-up as cases in square brackets; only "[It] …" ones are tests.
        if let Some(name) = name.strip_prefix("[It] ") {
            cases.push(Case { name: name.to_owned(), outcome });
        }
    }
    Ok(cases)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, after) = tag.split_once(&format!("{name}=\""))?;
    let (value, _) = after.split_once('"')?;
    let plain =
        [("&quot;", "\""), ("&#34;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&amp;", "&")];
    Some(plain.iter().fold(value.to_owned(), |text, (coded, sign)| text.replace(coded, sign)))
}

/// The cases that this version does not offer, by name: group snapshots (6), snapshot topology (1), volume
/// health of the controller (3) and of the node (3).
const ABSENT: [&str; 13] = [
    "GroupController Service [GroupController Server] GroupControllerGetCapabilities should return appropriate capabilities",
    "GroupController Service [GroupController VolumeGroupSnapshots] CreateVolumeGroupSnapshot should fail when no name is provided",
    "GroupController Service [GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot should fail when no volume id is provided",
    "GroupController Service [GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot should succeed when an invalid volume id is used",
    "GroupController Service [GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot should fail when an invalid volume id is used",
    "GroupController Service [GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot should fail when no volume id is provided",
    "CreateSnapshot [Controller Server] should succeed when creating a snapshot with accessibility requirements",
    "ControllerGetVolumeHealth [Controller Server] should fail when no volume id is provided",
    "ControllerGetVolumeHealth [Controller Server] should return health for a valid volume",
    "ControllerListVolumeHealth [Controller Server] should return appropriate response",
    "Node Service NodeGetStorageHealth should return appropriate response",
    "Node Service NodeGetVolumeHealth should fail when no volume id is provided",
    "Node Service NodeGetVolumeHealth should return health for a valid volume",
];

/// How many cases csi-sanity 5.6.0 runs when nothing is skipped.
const RUN: usize = 102;

/// What is wrong with a run, one line each; empty if nothing is.
pub fn complaints(cases: &[Case]) -> Vec<String> {
    let mut complaints = Vec::new();
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    if count(Outcome::Passed) < RUN - ABSENT.len() {
        complaints.push(format!("only {} cases ran and passed", count(Outcome::Passed)));
    }
    for case in cases {
        match case.outcome {
            Outcome::Failed => complaints.push(format!("failed: {}", case.name)),
            Outcome::Skipped if !ABSENT.contains(&case.name.as_str()) => {
                complaints.push(format!("skipped, but must run: {}", case.name));
            }
            Outcome::Skipped | Outcome::Passed | Outcome::Pending => {}
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(outcomes: &[(&str, Outcome)]) -> Vec<Case> {
        let mut cases: Vec<Case> = (0..RUN - ABSENT.len())
            .map(|n| Case { name: format!("case {n}"), outcome: Outcome::Passed })
            .collect();
        cases.extend(
            outcomes.iter().map(|(name, outcome)| Case { name: (*name).to_owned(), outcome: *outcome }),
        );
        cases
    }

    #[test]
    fn a_report_is_read_case_by_case() {
        let xml = r#"<testsuites><testsuite name="s">
            <testcase name="[SynchronizedBeforeSuite]" status="passed" time="0"></testcase>
            <testcase name="[It] Node should &#34;work&#34; &amp; end" classname="c" status="passed" time="1">
            </testcase><testcase name="[It] Group" status="skipped"><skipped message="x"></skipped></testcase>
            </testsuite></testsuites>"#;
        let expected = [("Node should \"work\" & end", Outcome::Passed), ("Group", Outcome::Skipped)];
        let expected: Vec<Case> =
            expected.map(|(name, outcome)| Case { name: name.to_owned(), outcome }).to_vec();
        assert_eq!(parse(xml).unwrap(), expected);
        assert!(parse(r#"<testcase name="[It] x" status="odd">"#).is_err());
    }

    #[test]
    fn a_good_run_has_no_complaint() {
        let good = cases(&[(ABSENT[3], Outcome::Skipped), ("ListVolumes pagination", Outcome::Pending)]);
        assert_eq!(complaints(&good), Vec::<String>::new());
    }

    #[test]
    fn a_bad_run_is_noticed() {
        let failed = cases(&[("Node should work", Outcome::Failed)]);
        assert_eq!(complaints(&failed), ["failed: Node should work"]);
        let skipped = cases(&[("Node Service should work", Outcome::Skipped)]);
        assert_eq!(complaints(&skipped), ["skipped, but must run: Node Service should work"]);
        let dry: Vec<Case> = cases(&[]).into_iter().take(3).collect();
        assert_eq!(complaints(&dry), ["only 3 cases ran and passed"]);
    }
}
