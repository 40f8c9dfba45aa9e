//! The cases of the suite as its JUnit report tells them. What a run left out by its own filter stands there too, as
//! skipped without a message.

use crate::Failure;

/// The first words of every case about a driver from outside; of none other, for ginkgo looks for them anywhere.
pub const EXTERNAL: &str = "External Storage";

/// One case of the suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its full name.
    pub name: String,
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub seconds: f64,
    /// What it said on the way, for a failed case.
    pub output: String,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It ran and was content.
    Passed,
    /// It did not end well; with the first words of why.
    Failed(String),
    /// It looked at the driver or the cluster and went; with its words.
    Skipped(String),
    /// The run's filter left it out.
    LeftOut,
}

/// The cases about our driver in a JUnit report of ginkgo.
pub fn read(junit: &str) -> Result<Vec<Case>, Failure> {
    let document = roxmltree::Document::parse(junit)?;
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    Ok(cases.filter_map(case).collect())
}

/// What failed that is no case: the suite's own preparation and end.
pub fn broken_setup(junit: &str) -> Result<Vec<String>, Failure> {
    let document = roxmltree::Document::parse(junit)?;
    let nodes = document.descendants().filter(|node| node.has_tag_name("testcase") && name(*node).is_none());
    let failed =
        nodes.filter(|node| !matches!(node.attribute("status"), Some("passed" | "skipped" | "pending")));
    Ok(failed.map(|node| node.attribute("name").unwrap_or("without a name").to_owned()).collect())
}

fn name<'a>(node: roxmltree::Node<'a, '_>) -> Option<&'a str> {
    node.attribute("name")?.strip_prefix("[It] ")?.strip_prefix(EXTERNAL).map(str::trim_start)
}

fn case(node: roxmltree::Node<'_, '_>) -> Option<Case> {
    let name = name(node)?;
    let child = |tag: &str| node.children().find(|child| child.has_tag_name(tag));
    let message = |tag: &str| child(tag).and_then(|child| child.attribute("message")).unwrap_or_default();
    let end = match node.attribute("status") {
        Some("passed") => End::Passed,
        Some("skipped" | "pending") => match message("skipped").split_once(" - ") {
            Some((_, why)) => End::Skipped(why.to_owned()),
            None => End::LeftOut,
        },
        status => {
            let why = [message("failure"), message("error"), status.unwrap_or("no status")];
            End::Failed(why.into_iter().find(|words| !words.is_empty()).unwrap_or_default().to_owned())
        }
    };
    let text = |tag: &str| child(tag).and_then(|child| child.text()).unwrap_or_default();
    let output = match end {
        End::Failed(_) => [text("failure"), text("error"), text("system-err")].join("\n"),
        _ => String::new(),
    };
    let seconds = node.attribute("time").and_then(|time| time.parse().ok()).unwrap_or_default();
    Some(Case { name: name.to_owned(), end, seconds, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0"?><testsuites><testsuite name="e2e">
        <testcase name="[SynchronizedBeforeSuite]" status="passed" time="0.1"/>
        <testcase name="[AfterSuite]" status="failed" time="0.1"><failure message="late"/></testcase>
        <testcase name="[It] [sig-network] DNS resolves" status="passed" time="1"/>
        <testcase name="[It] External Storage [d] stores" status="passed" time="1.5"/>
        <testcase name="[It] External Storage [d] grows" status="timedout" time="9">
            <failure message="too slow" type="timedout">at line 3</failure><system-err>&gt; Enter</system-err></testcase>
        <testcase name="[It] External Storage [d] breaks" status="panicked" time="9"><error message="nil"/></testcase>
        <testcase name="[It] External Storage [d] asks" status="skipped" time="0">
            <skipped message="skipped - Driver &quot;d&quot; can't"/></testcase>
        <testcase name="[It] External Storage [d] is not wanted" status="skipped" time="0">
            <skipped message="skipped"/></testcase>
    </testsuite></testsuites>"#;

    #[test]
    fn each_end_is_read() {
        let ends: Vec<(String, End)> =
            read(REPORT).unwrap().into_iter().map(|case| (case.name, case.end)).collect();
        let wanted = [
            ("[d] stores", End::Passed),
            ("[d] grows", End::Failed("too slow".to_owned())),
            ("[d] breaks", End::Failed("nil".to_owned())),
            ("[d] asks", End::Skipped("Driver \"d\" can't".to_owned())),
            ("[d] is not wanted", End::LeftOut),
        ];
        assert_eq!(ends, wanted.map(|(name, end)| (name.to_owned(), end)));
    }

    #[test]
    fn a_failed_case_keeps_what_it_said() {
        let cases = read(REPORT).unwrap();
        assert_eq!(cases[1].output, "at line 3\n\n> Enter");
        assert_eq!(cases[0].output, "");
    }

    #[test]
    fn a_failure_outside_the_cases_is_told() {
        assert_eq!(broken_setup(REPORT).unwrap(), ["[AfterSuite]"]);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        assert!(read("<testsuites>").is_err());
    }
}
