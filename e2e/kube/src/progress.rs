//! What the start of a cluster says of itself: lines in a file, so that whoever waits may go away and come back.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use crate::Failure;
use crate::place::Place;

const FAILED: &str = "failed: ";
const READY: &str = "ready";

/// What is known after reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    Going,
    /// Everything is up.
    Ready,
    /// It will not come up, and why.
    Failed(String),
}

fn path(place: &Place) -> PathBuf {
    place.state.join("progress")
}

/// Adds a line.
pub(crate) fn say(place: &Place, line: &str) -> Result<(), Failure> {
    let mut file = File::options().create(true).append(true).open(path(place))?;
    Ok(file.write_all(format!("{line}\n").as_bytes())?)
}

/// Everything is up.
pub(crate) fn ready(place: &Place) -> Result<(), Failure> {
    say(place, READY)
}

/// It will not come up.
pub(crate) fn failed(place: &Place, why: &str) -> Result<(), Failure> {
    say(place, &format!("{FAILED}{}", why.replace('\n', " ")))
}

/// What the last start said is of no use to this one.
pub(crate) fn forget(place: &Place) {
    // Mostly there is none.
    let _ = fs::remove_file(path(place));
}

/// The lines after the first `read`, and how it stands.
pub(crate) fn look(place: &Place, read: usize) -> (Vec<String>, Progress) {
    let text = fs::read_to_string(path(place)).unwrap_or_default();
    // A line without its end is still being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut lines: Vec<String> = whole.lines().skip(read).map(str::to_owned).collect();
    let progress = match lines.last() {
        Some(line) if line == READY => Progress::Ready,
        Some(line) => {
            line.strip_prefix(FAILED).map_or(Progress::Going, |why| Progress::Failed(why.to_owned()))
        }
        None => Progress::Going,
    };
    if progress != Progress::Going {
        lines.pop();
    }
    (lines, progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_once_and_the_end_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        let place = Place { checkout: at.clone(), tools: at.clone(), state: at.clone(), built: at };
        assert_eq!(look(&place, 0), (Vec::new(), Progress::Going));
        say(&place, "one").unwrap();
        assert_eq!(look(&place, 0), (vec!["one".to_owned()], Progress::Going));
        failed(&place, "a\nb").unwrap();
        assert_eq!(look(&place, 1), (Vec::new(), Progress::Failed("a b".to_owned())));
        forget(&place);
        ready(&place).unwrap();
        assert_eq!(look(&place, 0), (Vec::new(), Progress::Ready));
    }
}
