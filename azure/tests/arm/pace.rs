//! How often an operation is asked for its end: quickly seen when it is short, within Azure's bucket (45, and
//! 15 more per minute) when it is long, whatever the answers are.

use std::time::Duration;

use azure_emulator::Action;
use serde_json::Value;
use tokio::time::Instant;

use crate::world::{World, answer, disk, premium, within};

#[tokio::test(start_paused = true)]
async fn a_long_operation_is_polled_within_azures_bucket() {
    // A refused poll without a Retry-After waits for the window of its policy: a minute.
    let storms = [
        (None, 100),
        (Some(answer(503, Value::Null, &[])), 100),
        (Some(answer(429, Value::Null, &[])), 9),
        (Some(answer(200, Value::Null, &[])), 100),
        (Some(Action::LoseAnswer), 100),
    ];
    for (storm, least) in storms {
        let world = World::slow(Duration::from_mins(10));
        if let Some(storm) = &storm {
            world.script_many("GET", "perations/", 10_000, storm.clone());
        }
        let begun = Instant::now();
        let _ends_late = world.arm.create_disk(&disk("a"), &premium(8), within(600)).await;
        let polls: Vec<_> = world.seen().into_iter().filter(crate::world::Seen::is_poll).collect();
        assert!(polls.len() > least, "{storm:?}: only {} polls in ten minutes", polls.len());
        for (count, poll) in polls.iter().enumerate() {
            // What the bucket holds at the start, and has been given since.
            let allowed = 45 + (poll.at - begun).as_secs() / 4;
            assert!((count as u64) < allowed, "{storm:?}: poll {count} after {:?}", poll.at - begun);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_operation_is_seen_to_end_at_once() {
    for millis in [0, 1, 500, 2000, 8000] {
        let world = World::slow(Duration::from_millis(millis));
        let begun = Instant::now();
        world.arm.create_disk(&disk("a"), &premium(8), within(60)).await.unwrap();
        let late = begun.elapsed().saturating_sub(Duration::from_millis(millis));
        assert!(late <= Duration::from_millis(310), "{millis} ms: seen {late:?} after its end");
    }
}
