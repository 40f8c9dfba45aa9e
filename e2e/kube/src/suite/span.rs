//! When a case ran, and what the components logged meanwhile. Many cases run at once, so the logs of one are found by the
//! time in each line. No year is told by klog, and a run does not cross the turn of one.

/// A moment of the year, in milliseconds since its first day; months count 31 days, for the order only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// From the first to the last moment that the output of a case tells. Ginkgo writes each as `@ 11/21/26 12:08:36.123`.
pub fn of_case(output: &str) -> Option<(Moment, Moment)> {
    let mut moments = output.split("@ ").skip(1).filter_map(|behind| {
        let (date, rest) = behind.split_once(' ')?;
        let (month, day) = date.split_once('/')?;
        moment(month, day.split('/').next()?, rest)
    });
    let first = moments.next()?;
    Some(moments.fold((first, first), |(start, end), moment| (start.min(moment), end.max(moment))))
}

/// The lines between two moments; a line without a time belongs to the one before.
pub fn within(log: &str, (start, end): (Moment, Moment)) -> String {
    let mut is_inside = false;
    let mut found = String::new();
    for line in log.lines() {
        if let Some(at) = of_line(line) {
            is_inside = (start..=end).contains(&at);
        }
        if is_inside {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

/// The time in a line: klog's `I1121 12:08:36.123456`, or that of RFC 3339, in UTC both, near its start.
fn of_line(line: &str) -> Option<Moment> {
    let klog = || {
        let date = line.strip_prefix(['I', 'W', 'E', 'F'])?;
        moment(date.get(..2)?, date.get(2..4)?, date.get(4..)?.trim_start())
    };
    let rfc3339 = || {
        line.match_indices('T').take(24).find_map(|(at, _)| {
            let mut date = line.get(at.checked_sub(10)?..at)?.splitn(3, '-');
            let (_, month, day) = (date.next()?, date.next()?, date.next()?);
            moment(month, day, line.get(at + 1..)?)
        })
    };
    klog().or_else(rfc3339)
}

/// `clock` begins with `12:08:36.123`; what follows is no matter.
fn moment(month: &str, day: &str, clock: &str) -> Option<Moment> {
    let number = |text: &str| text.parse::<u64>().ok();
    let seconds =
        number(clock.get(..2)?)? * 3600 + number(clock.get(3..5)?)? * 60 + number(clock.get(6..8)?)?;
    let digits = clock.get(8..).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default().bytes();
    let digits = digits.take_while(u8::is_ascii_digit).chain(std::iter::repeat(b'0')).take(3);
    let parts = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let days = number(month)? * 31 + number(day)?;
    clock.get(2..3).filter(|colon| *colon == ":")?;
    Some(Moment((days * 86_400 + seconds) * 1000 + parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_found_however_it_is_written() {
        let wanted = moment("11", "21", "12:08:36.123");
        assert!(wanted.is_some());
        let rows = [
            ("I1121 12:08:36.123456   77 file.go:1] words", wanted),
            (r#"{"timestamp":"2026-11-21T12:08:36.123456Z","level":"INFO"}"#, wanted),
            ("[pod/csi-1/driver] 2026-11-21T12:08:36.123456789Z line", wanted),
            ("time=\"2026-11-21T12:08:36.123Z\" level=info", wanted),
            ("Error: no time here", None),
            ("goroutine 1 [running]:", None),
            ("", None),
        ];
        for (line, wanted) in rows {
            assert_eq!(of_line(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_part_of_a_second_is_read_whatever_its_length() {
        let parts = |clock| moment("01", "01", clock).unwrap().0 % 1000;
        assert_eq!(["00:00:00", "00:00:00.5 x", "00:00:00.0625Z"].map(parts), [0, 500, 62]);
        assert_eq!(moment("01", "01", "00-00-00"), None);
    }

    #[test]
    fn a_case_keeps_the_lines_of_its_time() {
        let output = "> Enter x @ 11/21/26 12:00:01.5\nsome@ one\n< Exit x @ 11/21/26 12:00:03.000 (1.5s)";
        let log =
            "I1121 12:00:01.000000 before\nI1121 12:00:02.000000 in\n  more\nI1121 12:00:04.000000 after\n";
        let span = of_case(output).unwrap();
        assert_eq!(within(log, span), "I1121 12:00:02.000000 in\n  more\n");
        assert_eq!(of_case("no time"), None);
    }
}
