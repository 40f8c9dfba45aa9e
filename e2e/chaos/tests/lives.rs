//! Some worlds are lived in every run of the tests; `make test` lives thousands of them with the optimised program.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

use chaos::counts::Counts;
use chaos::rules::Rules;
use chaos::{STEPS, live};

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in 0..8 {
        let (one, other) = (
            live(seed, STEPS, &Rules::default(), false).unwrap(),
            live(seed, STEPS, &Rules::default(), false).unwrap(),
        );
        assert_eq!(one.trace.hash(), other.trace.hash(), "seed {seed}");
        assert_eq!(one.steps, other.steps);
        let told = live(seed, STEPS, &Rules::default(), true).unwrap();
        assert_eq!(one.trace.hash(), told.trace.hash(), "seed {seed}, told");
        assert_ne!(one.trace.hash(), live(seed + 100, STEPS, &Rules::default(), false).unwrap().trace.hash());
    }
}

#[test]
fn much_happens_in_a_few_lives() {
    let mut counts = Counts::default();
    (0..20).for_each(|seed| counts.merge(&live(seed, STEPS, &Rules::default(), false).unwrap().counts));
    for what in ["create Ok", "publish Ok", "unpublish Ok", "delete Ok", "publish Unavailable", "answer lost"]
    {
        assert!(counts.of(what) > 10, "{what}:\n{counts}");
    }
    for what in ["restart", "swap", "foreign act", "power", "VM deleted", "late", "hung", "stale read"] {
        assert!(counts.of(what) > 0, "{what}:\n{counts}");
    }
}
