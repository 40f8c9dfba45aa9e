//! Whatever asks for turns, and whenever: what is sent stays within the bucket, and takes what Azure sustains.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// What Azure holds at most, and gives back each second, as the source has it.
const BUCKETS: [(Verb, f64, f64); 3] =
    [(Verb::Read, 250.0, 25.0), (Verb::Write, 200.0, 10.0), (Verb::Delete, 200.0, 10.0)];

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Requests on a clock that jumps from one to the next: operations that poll again 0.3 s after each poll, and calls.
struct Run {
    turns: Turns,
    start: Instant,
    /// When, who, and whether its slot has come.
    next: BinaryHeap<Reverse<(Duration, usize, bool)>>,
    operations: usize,
    sent: Vec<(Duration, Purpose)>,
}

impl Run {
    fn of(verb: Verb, operations: usize, calls: &[(u64, usize)]) -> Run {
        let start = Instant::now();
        let (turns, sent) = (Turns::full(verb, start), Vec::new());
        let mut next: BinaryHeap<_> =
            (0..operations).map(|who| Reverse((Duration::ZERO, who, false))).collect();
        for (at, count) in calls {
            let at = Duration::from_millis(*at);
            next.extend((0..*count).map(|_| Reverse((at, operations, false))));
        }
        Run { turns, start, next, operations, sent }
    }

    fn until(mut self, end: Duration) -> Vec<(Duration, Purpose)> {
        while let Some(Reverse((at, who, is_waiting))) = self.next.pop().filter(|next| next.0.0 < end) {
            let purpose = if who < self.operations { Purpose::Poll } else { Purpose::Call };
            let now = self.start + at;
            let wait = if is_waiting {
                self.turns.again(purpose, now)
            } else {
                self.turns.turn(purpose, now, self.start + Duration::from_hours(10))
            };
            if let Some(wait) = wait {
                self.next.push(Reverse((at + wait, who, true)));
                continue;
            }
            self.sent.push((at, purpose));
            if purpose == Purpose::Poll {
                self.next.push(Reverse((at + Duration::from_millis(300), who, false)));
            }
        }
        self.sent
    }
}

/// That what was sent stays within a bucket, also if a second's tokens come back at its end.
fn check(sent: &[(Duration, Purpose)], size: f64, refill: f64) -> Result<(), TestCaseError> {
    let mut level = size;
    let mut last = 0;
    for (at, _) in sent {
        let second = u32::try_from(at.as_secs()).unwrap();
        level = (level + f64::from(second - last) * refill).min(size);
        last = second;
        level -= 1.0;
        prop_assert!(level >= -0.01, "more than Azure takes after {at:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_azure_says_slows_polls_down_and_then_calls() {
    let now = Instant::now();
    let late = now + Duration::from_mins(1);
    let mut turns = Turns::full(Verb::Read, now);
    assert_eq!(turns.turn(Purpose::Poll, now, late), None);
    turns.told(75, now);
    assert_eq!(turns.turn(Purpose::Poll, now, late), Some(Duration::from_millis(40)));
    turns.told(3000, now);
    assert_eq!(turns.turn(Purpose::Poll, now, late), Some(Duration::from_millis(80)), "nothing came back");
    assert_eq!(turns.turn(Purpose::Call, now, late), None, "calls have the reserve");
    turns.told(25, now);
    let wait = turns.turn(Purpose::Call, now, late).unwrap();
    assert_eq!(wait, Duration::from_millis(40));
    assert_eq!(turns.again(Purpose::Call, now + wait), None);
}

#[tokio::test(start_paused = true)]
async fn a_slot_after_the_deadline_is_told_and_not_taken() {
    let now = Instant::now();
    let mut turns = Turns::full(Verb::Write, now);
    turns.told(10, now);
    let waits: Vec<_> = (0..5)
        .map(|_| turns.turn(Purpose::Call, now, now + Duration::from_millis(250)).unwrap().as_millis())
        .collect();
    assert_eq!(waits, [100, 200, 300, 300, 300]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Operations that are polled while calls come in floods.
    #[test]
    fn requests_stay_within_the_bucket_and_nobody_starves(
        operations in 0..300_usize, floods in prop::collection::vec((0..60_000_u64, 1..500_usize), 0..5),
    ) {
        let sent = Run::of(Verb::Read, operations, &floods).until(Duration::from_mins(3));
        check(&sent, 250.0, 25.0)?;
        let polls = sent.iter().filter(|(at, purpose)| *purpose == Purpose::Poll && at.as_secs() < 120).count();
        prop_assert!(operations < 20 || number(polls) >= SHARE * 120.0, "{polls} polls in two minutes");
        let calls = || sent.iter().filter(|(_, purpose)| *purpose == Purpose::Call);
        let wanted: usize = floods.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(calls().count(), wanted);
        // At worst all came with the last flood.
        let last = calls().map(|(at, _)| at.as_secs_f64()).fold(0.0, f64::max);
        prop_assert!(last <= 60.0 + number(wanted) / 20.0 + 1.0, "{wanted} calls until {last}");
    }

    /// Operations alone.
    #[test]
    fn polls_take_what_azure_gives_back(operations in 1..300_usize, seconds in 30..200_u64) {
        let sent = Run::of(Verb::Read, operations, &[]).until(Duration::from_secs(seconds));
        check(&sent, 250.0, 25.0)?;
        let wanted = (number(operations) / 0.3).min(25.0) * Duration::from_secs(seconds).as_secs_f64();
        prop_assert!(number(sent.len()) >= wanted.floor() - 1.0, "{} of {wanted}", sent.len());
    }

    /// Calls alone, of each kind.
    #[test]
    fn calls_take_what_azure_gives_back(which in 0..3_usize, count in 1..2000_usize) {
        let (verb, size, refill) = BUCKETS[which];
        let sent = Run::of(verb, 0, &[(0, count)]).until(Duration::from_hours(1));
        check(&sent, size, refill)?;
        let last = sent.iter().map(|(at, _)| at.as_secs_f64()).fold(0.0, f64::max);
        let sustained = if verb == Verb::Read { refill - SHARE } else { refill };
        prop_assert!(last <= (number(count) - size + refill).max(0.0) / sustained + 0.2, "{count} until {last}");
    }
}
