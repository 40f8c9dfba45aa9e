//! Whether a volume lost what its writer was told is safe. Pure: the file that the writer appended to and the lines that it
//! told the outside world after each sync go in, what is wrong comes out.
//!
//! Each line ends with the SHA-256 of the rest. A writer that starts says so in the file and draws a name; its records
//! carry it, so a record that was lost and written again by the next start is not taken for the first.
//!
//! ```text
//! start LAST NAME SUM            LAST: the number of the last whole record that it found
//! record NUMBER NAME FILL SUM    NUMBER: one more than the record before
//! ```
//! A line that a crash tore is allowed where a crash leaves it, before a start or at the end; never if it was told.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What is on the volume.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// Records, whole and in order.
    pub records: u64,
    /// How often a writer started.
    pub starts: u64,
    /// Lines that a crash tore, which nobody was told.
    pub torn: u64,
}

/// Something that must not be.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The records between these two, both excluded, are not there.
    Missing(u64, u64),
    /// This record stands where one with a higher number must.
    Again(u64),
    /// This line is not whole, and no crash explains it.
    Torn(u64),
    /// A writer started after this record and had not seen all before.
    Forgotten(u64),
    /// This was told as synced and is not there.
    Lost(String),
}

#[derive(PartialEq, Eq)]
enum Line {
    Start(u64),
    Record(u64),
    Torn,
}

/// The checksum at the end of a line whose rest is `text`.
pub fn checksum(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut sum, byte| {
        // Writing to a string can't fail.
        _ = write!(sum, "{byte:02x}");
        sum
    })
}

/// Reads `file` against what was `told`.
pub fn verify(file: &[u8], told: &[String]) -> Result<Written, Vec<Fault>> {
    let mut lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    // What follows the last line end: nothing, or a line that is being written.
    let rest = lines.pop().unwrap_or_default();
    let mut written = Written { records: 0, starts: 0, torn: u64::from(!rest.is_empty()) };
    let (mut last, mut faults) = (0, Vec::new());
    let mut there = BTreeSet::new();
    let parsed: Vec<_> = lines.iter().map(|line| whole(line).unwrap_or(Line::Torn)).collect();
    for (at, line) in parsed.iter().enumerate() {
        match line {
            Line::Start(seen) => {
                written.starts += 1;
                if *seen != last {
                    faults.push(Fault::Forgotten(*seen));
                }
            }
            Line::Record(number) => {
                written.records += 1;
                if *number <= last {
                    faults.push(Fault::Again(*number));
                } else if *number > last + 1 {
                    faults.push(Fault::Missing(last, *number));
                }
                last = last.max(*number);
            }
            Line::Torn => {
                written.torn += 1;
                let next = parsed[at + 1..].iter().find(|next| **next != Line::Torn);
                if matches!(next, Some(Line::Record(_))) {
                    faults.push(Fault::Torn(at as u64 + 1));
                }
            }
        }
        there.insert(lines[at]);
    }
    faults.extend(told.iter().filter(|line| !there.contains(line.as_bytes())).cloned().map(Fault::Lost));
    if faults.is_empty() { Ok(written) } else { Err(faults) }
}

fn whole(line: &[u8]) -> Option<Line> {
    let (text, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    let mut words = text.split(' ');
    let (kind, number) = (words.next()?, words.next()?.parse().ok()?);
    match kind {
        _ if checksum(text) != sum => None,
        "start" => Some(Line::Start(number)),
        "record" => Some(Line::Record(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        format!("{text} {}", checksum(text))
    }

    fn start(last: u64, name: &str) -> String {
        line(&format!("start {last} {name}"))
    }

    fn record(number: u64, name: &str) -> String {
        line(&format!("record {number} {name} xxxx"))
    }

    /// `told` names lines of the file by their place, and `file` is joined with line ends.
    #[track_caller]
    fn check(file: &[String], told: &[String], expected: Result<(u64, u64, u64), Vec<Fault>>) {
        let found = verify(format!("{}\n", file.join("\n")).as_bytes(), told);
        let expected = expected.map(|(records, starts, torn)| Written { records, starts, torn });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_whole_file_is_whole() {
        let file = [start(0, "a"), record(1, "a"), record(2, "a"), start(2, "b"), record(3, "b")];
        check(&file, &file, Ok((3, 2, 0)));
        check(&file, &[], Ok((3, 2, 0)));
    }

    #[test]
    fn a_told_record_that_is_gone_is_lost() {
        let told = [record(1, "a"), record(2, "a")];
        check(&[start(0, "a"), record(1, "a")], &told, Err(vec![Fault::Lost(record(2, "a"))]));
    }

    #[test]
    fn a_lost_record_is_not_replaced_by_the_next_start() {
        let file = [start(0, "a"), record(1, "a"), start(1, "b"), record(2, "b")];
        check(&file, &[record(2, "a")], Err(vec![Fault::Lost(record(2, "a"))]));
    }

    #[test]
    fn gaps_and_repetitions_are_found() {
        check(
            &[start(0, "a"), record(1, "a"), record(4, "a"), record(3, "a")],
            &[],
            Err(vec![Fault::Missing(1, 4), Fault::Again(3)]),
        );
        check(&[start(0, "a"), record(1, "a"), record(1, "a")], &[], Err(vec![Fault::Again(1)]));
    }

    #[test]
    fn a_start_that_saw_less_than_there_is_is_found() {
        check(
            &[start(0, "a"), record(1, "a"), record(2, "a"), start(1, "b")],
            &[],
            Err(vec![Fault::Forgotten(1)]),
        );
    }

    #[test]
    fn a_torn_line_is_allowed_where_a_crash_leaves_it() {
        let torn = record(2, "a")[..9].to_owned();
        check(
            &[start(0, "a"), record(1, "a"), torn.clone(), start(1, "b"), record(2, "b")],
            &[],
            Ok((2, 2, 1)),
        );
        check(&[start(0, "a"), record(1, "a"), torn.clone()], &[], Ok((1, 1, 1)));
        check(&[start(0, "a"), torn.clone(), record(1, "a"), record(2, "a")], &[], Err(vec![Fault::Torn(2)]));
        check(&[start(0, "a"), torn], &[record(2, "a")], Err(vec![Fault::Lost(record(2, "a"))]));
    }

    #[test]
    fn a_line_that_is_being_written_is_no_fault() {
        let file = format!("{}\n{}", record(1, "a"), &record(2, "a")[..70]);
        assert_eq!(verify(file.as_bytes(), &[]), Ok(Written { records: 1, starts: 0, torn: 1 }));
    }

    #[test]
    fn zeros_and_flipped_bytes_are_torn() {
        let mut flipped = record(1, "a").into_bytes();
        flipped[12] ^= 1;
        for bad in [flipped, vec![0; 300], vec![0xff; 4]] {
            let file = [&bad[..], b"\n", record(1, "a").as_bytes(), b"\n"].concat();
            assert_eq!(verify(&file, &[]), Err(vec![Fault::Torn(1)]), "{bad:?}");
        }
    }
}
