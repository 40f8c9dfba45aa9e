//! What a run of tests leaves behind: a line on the terminal for each step, a JUnit file for CI, and for a step that
//! failed the logs of its time.
//!
//! The report owns the list of cases. A step that fails ends its test, never the tests after it: [`Report::step`]
//! answers the failure, so that `?` leaves the test, and keeps it, so that [`Report::verdict`] knows.

#![expect(clippy::print_stdout, reason = "the steps are told to a person")]

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::evidence::Mark;
use super::junit::{self, Case, Outcome};
use crate::Failure;
use crate::place::Place;

/// The cases of one suite.
pub struct Report {
    place: Place,
    suite: String,
    test: String,
    cases: Vec<Case>,
    start: Instant,
}

impl Report {
    /// An empty report of `suite`.
    pub fn new(place: &Place, suite: &str) -> Report {
        Report {
            place: place.clone(),
            suite: suite.to_owned(),
            test: suite.to_owned(),
            cases: Vec::new(),
            start: Instant::now(),
        }
    }

    /// What follows belongs to `test`.
    pub fn begin(&mut self, test: &str) {
        test.clone_into(&mut self.test);
        println!("\n{test}");
    }

    /// Carries a step out, tells it and its time, and keeps how it ended. The logs since it began are kept if it failed.
    pub async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (mark, before) = (Mark::now(&self.place), Instant::now());
        let done = work.await;
        let took = before.elapsed();
        match done {
            Ok(value) => {
                self.add(name, took, Outcome::Passed);
                Ok(value)
            }
            Err(failure) => {
                self.add(name, took, Outcome::Failed(failure.to_string()));
                let folder = self.folder().join(slug(&format!("{} {name}", self.test)));
                match mark.collect(&self.place, &folder, took).await {
                    Ok(()) => self.note(&format!("the logs of this step are in {}", folder.display())),
                    Err(missing) => self.note(&format!("the logs of this step were not kept: {missing}")),
                }
                Err(format!("{}: {name}: {failure}", self.test).into())
            }
        }
    }

    /// Adds a case whose outcome is known already, and tells it.
    pub fn add(&mut self, name: &str, took: Duration, outcome: Outcome) {
        let since = self.start.elapsed().as_secs_f64();
        let (word, why) = match &outcome {
            Outcome::Passed => ("", ""),
            Outcome::Failed(why) => ("FAILED: ", why.as_str()),
            Outcome::Skipped(why) => ("skipped: ", why.as_str()),
        };
        println!("{since:8.2} s  {word}{name}  ({:.0} ms)", took.as_secs_f64() * 1000.0);
        if !why.is_empty() {
            self.note(why);
        }
        self.cases.push(Case { test: self.test.clone(), name: name.to_owned(), took, outcome });
    }

    /// Tells a fact that belongs to the step before.
    pub fn note(&self, text: &str) {
        for line in text.lines() {
            println!("            {line}");
        }
    }

    /// The cases so far.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Where reports are, and one folder for each step that failed.
    pub fn folder(&self) -> PathBuf {
        self.place.reports()
    }

    /// Writes the report as JUnit XML and answers where it is.
    pub fn write(&self) -> Result<PathBuf, Failure> {
        let path = self.folder().join(format!("{}.xml", slug(&self.suite)));
        std::fs::create_dir_all(self.folder())?;
        std::fs::write(&path, junit::render(&self.suite, &self.cases))?;
        Ok(path)
    }

    /// A failure that names every case that failed, or that there was none.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.cases.is_empty() {
            return Err(format!("{}: nothing was run", self.suite).into());
        }
        let failed: Vec<_> = self.cases.iter().filter_map(complaint).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
    }
}

fn complaint(case: &Case) -> Option<String> {
    let Outcome::Failed(why) = &case.outcome else { return None };
    Some(format!("{}: {}: {why}", case.test, case.name))
}

/// `text` as the name of a file.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(folder: &std::path::Path) -> Report {
        let [checkout, tools, state, built] = ["", "tools", "state", "built"].map(|name| folder.join(name));
        Report::new(&Place { checkout, tools, state, built }, "Story & failures")
    }

    #[test]
    fn a_name_of_a_step_becomes_a_name_of_a_file() {
        assert_eq!(slug("Pod: \"a\" moved (n1 → n2)"), "pod-a-moved-n1-n2");
        assert_eq!(slug("…"), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_step_is_kept_with_the_logs_of_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = report(folder.path());
        let log = report.place.log("kubelet");
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(&log, "before\n").unwrap();
        report.begin("kubelet killed");
        assert_eq!(report.step("it runs", async { Ok(1) }).await.unwrap(), 1);
        let failure = report.step("it ends", async {
            std::fs::write(&log, "before\nduring\n")?;
            Err::<(), _>("no".into())
        });
        assert_eq!(failure.await.unwrap_err().to_string(), "kubelet killed: it ends: no");
        let kept = report.folder().join("kubelet-killed-it-ends").join("kubelet.log");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "during\n");
        assert_eq!(report.verdict().unwrap_err().to_string(), "kubelet killed: it ends: no");
        let xml = std::fs::read_to_string(report.write().unwrap()).unwrap();
        assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    }

    #[test]
    fn a_report_without_cases_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            report(folder.path()).verdict().unwrap_err().to_string(),
            "Story & failures: nothing was run"
        );
    }
}
