//! Some worlds are lived in every run of the tests; `make test` lives thousands of them with the optimised program.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

use chaos::counts::Counts;
use chaos::rules::{Rules, Trouble};
use chaos::{Life, Script};

fn life(seed: u64) -> Life {
    Script::of(seed).live(false).unwrap()
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in 0..8 {
        let (one, other) = (life(seed), life(seed));
        assert_eq!(one.trace.hash(), other.trace.hash(), "seed {seed}");
        assert_eq!(one.steps, other.steps);
        let told = Script::of(seed).live(true).unwrap();
        assert_eq!(one.trace.hash(), told.trace.hash(), "seed {seed}, told");
        assert_ne!(one.trace.hash(), life(seed + 100).trace.hash());
    }
}

#[test]
fn much_happens_in_a_few_lives() {
    let mut counts = Counts::default();
    (0..20).for_each(|seed| counts.merge(&life(seed).counts));
    for what in ["create Ok", "publish Ok", "unpublish Ok", "delete Ok", "publish Unavailable", "answer lost"]
    {
        assert!(counts.of(what) > 10, "{what}:\n{counts}");
    }
    for (what, trouble) in [
        ("restart", Trouble::Kills),
        ("swap", Trouble::SecondController),
        ("foreign act", Trouble::SecondWriter),
        ("power", Trouble::Power),
        ("VM deleted", Trouble::VmDeletions),
        ("late", Trouble::Hanging),
        ("hung", Trouble::Hanging),
        ("stale read", Trouble::StaleReads),
    ] {
        assert_eq!(counts.of(what) > 0, Rules::default().allow(trouble), "{what}:\n{counts}");
    }
}
