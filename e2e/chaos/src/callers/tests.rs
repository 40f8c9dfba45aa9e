//! The callers keep the sidecars' manners, whatever they are answered: a breach that they provoke by bad manners would
//! be no bug of the driver's.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::judge::call;

const POLITE: Manners = Manners { vms: 3, asks_twice: false, is_rude: false, changes_mind: false };

/// Lives `rounds` rounds with answers by chance; what was asked and answered, in order.
fn lived(seed: u64, shares: usize, manners: Manners, rounds: usize) -> Vec<(Verb, Option<bool>)> {
    let mut rng = Rng::with_seed(seed);
    let mut volume = Volume::new(1, shares);
    let (mut open, mut lived) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        if let Some(verb) = volume.next(&mut rng, manners) {
            open.push(verb);
            lived.push((verb, None));
        }
        if !open.is_empty() && rng.bool() {
            let verb = open.swap_remove(rng.usize(0..open.len()));
            let is_ok = rng.bool();
            let refused = Answer::Refused(Code::Unavailable, String::new());
            let answer = if is_ok { Answer::Done(0) } else { refused };
            volume.learn(&call(1, verb, 0, Duration::ZERO), &answer);
            lived.push((verb, Some(is_ok)));
        }
    }
    lived
}

/// Each rule of the sidecars, held against what was asked and answered.
fn check(lived: &[(Verb, Option<bool>)], most: usize) {
    let (mut open, mut leaving, mut there) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (verb, answer) in lived {
        let name = format!("{verb:?}");
        match (verb, answer) {
            (_, None) => assert!(open.insert(name), "{verb:?} is asked twice at once: {lived:?}"),
            (_, Some(_)) => assert!(open.remove(&name)),
        }
        match (verb, answer) {
            (Verb::Publish(vm), None) => {
                assert!(!leaving.contains(vm), "{verb:?} before the unpublish was OK: {lived:?}");
                there.insert(*vm);
            }
            (Verb::Unpublish(vm), None) => {
                leaving.insert(*vm);
            }
            (Verb::Unpublish(vm), Some(true)) => {
                leaving.remove(vm);
                there.remove(vm);
            }
            (Verb::Delete, None) => assert!(there.is_empty(), "deleted while somebody has it: {lived:?}"),
            _ => {}
        }
        assert!(there.len() <= most, "on {there:?}: {lived:?}");
    }
}

#[test]
fn callers_have_manners() {
    let mut verbs = BTreeSet::new();
    for seed in 0..200 {
        for (shares, most) in [(1, 1), (2, 3)] {
            let lived = lived(seed, shares, POLITE, 100);
            check(&lived, most);
            verbs.extend(lived.iter().map(|(verb, _)| format!("{verb:?}")));
        }
    }
    assert_eq!(verbs.len(), 2 + 3 + 3, "{verbs:?}");
}

#[test]
fn two_nodes_ask_for_one_disk_only_where_that_is_wanted() {
    let manners = Manners { asks_twice: true, ..POLITE };
    let is_twice = |seed| {
        let lived = lived(seed, 1, manners, 100);
        check(&lived, 2);
        std::panic::catch_unwind(|| check(&lived, 1)).is_err()
    };
    assert!((0..20).any(is_twice));
}

#[test]
fn on_the_way_to_nothing_everything_ends() {
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let mut volume = Volume::new(1, 2);
        for _ in 0..rng.usize(1..30) {
            if let Some(verb) = volume.next(&mut rng, POLITE) {
                volume.learn(&call(1, verb, 0, Duration::ZERO), &Answer::Done(0));
            }
        }
        for _ in 0..20 {
            if let Some(verb) = volume.next_down() {
                volume.learn_down(&call(1, verb, 0, Duration::ZERO), &Answer::Done(0));
            }
        }
        assert!(volume.is_over(), "{volume:?}");
    }
}
