//! A report as JUnit XML, which every CI can show. Pure: cases in, text out.

use std::fmt::Write as _;
use std::time::Duration;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should, and why.
    Failed(String),
    /// It was not run, and why.
    Skipped(String),
}

/// One case of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The test that it belongs to.
    pub test: String,
    /// What it shows.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// The report of `suite` as JUnit XML.
pub fn render(suite: &str, cases: &[Case]) -> String {
    let count = |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let took: Duration = cases.iter().map(|case| case.took).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string can't fail.
    _ = writeln!(
        xml,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{:.3}\">",
        escaped(suite),
        cases.len(),
        took.as_secs_f64()
    );
    for case in cases {
        let head = format!(
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&case.test),
            escaped(&case.name),
            case.took.as_secs_f64()
        );
        _ = match &case.outcome {
            Outcome::Passed => writeln!(xml, "{head}/>"),
            Outcome::Failed(why) => {
                writeln!(xml, "{head}><failure message=\"{}\"/></testcase>", escaped(why))
            }
            Outcome::Skipped(why) => {
                writeln!(xml, "{head}><skipped message=\"{}\"/></testcase>", escaped(why))
            }
        };
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// `text` as it may stand in an attribute: XML 1.0 has no way to write most control characters at all.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push(' '),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(outcome: Outcome) -> Case {
        Case { test: "story".into(), name: "a & b".into(), took: Duration::from_millis(1500), outcome }
    }

    #[track_caller]
    fn check(cases: &[Case], expected: &str) {
        let xml = render("k8s", cases);
        let body: Vec<_> = xml.lines().skip(1).map(str::trim).collect();
        assert_eq!(body.join("\n"), expected);
    }

    #[test]
    fn an_empty_report_is_still_a_report() {
        check(
            &[],
            "<testsuite name=\"k8s\" tests=\"0\" failures=\"0\" skipped=\"0\" time=\"0.000\">\n</testsuite>",
        );
    }

    #[test]
    fn every_outcome_is_told_and_counted() {
        check(
            &[
                case(Outcome::Passed),
                case(Outcome::Failed("<1>\n\"2\"\u{1b}[0m".into())),
                case(Outcome::Skipped("no kernel".into())),
            ],
            "<testsuite name=\"k8s\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"4.500\">\n\
             <testcase classname=\"story\" name=\"a &amp; b\" time=\"1.500\"/>\n\
             <testcase classname=\"story\" name=\"a &amp; b\" time=\"1.500\">\
             <failure message=\"&lt;1&gt;&#10;&quot;2&quot;\u{fffd}[0m\"/></testcase>\n\
             <testcase classname=\"story\" name=\"a &amp; b\" time=\"1.500\">\
             <skipped message=\"no kernel\"/></testcase>\n</testsuite>",
        );
    }
}
