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

/// `scripts/mutants` plants these and demands that lives break; a patch that fits no more would plant nothing.
#[test]
fn every_planted_bug_fits_the_driver_as_it_is() {
    let chaos = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = chaos.join("../..");
    let patches = std::fs::read_dir(chaos.join("mutants")).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for patch in patches.inspect(|_| count += 1) {
        // Not by git: it passes over what lies outside of a work tree of its own.
        let mut command = std::process::Command::new("patch");
        command.args(["--dry-run", "--force", "--fuzz=0", "--strip=1", "--input"]).arg(&patch);
        let output = command.current_dir(&workspace).output().unwrap();
        assert!(output.status.success(), "{patch:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(count, 5);
}
