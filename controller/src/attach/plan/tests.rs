//! The steps for a VM, as tables and as properties.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn disk(name: &str) -> DiskId {
    DiskId::new("s", "g", name).unwrap()
}

fn lun(number: u8) -> Lun {
    Lun::new(number).unwrap()
}

/// `a@0` held, `a@0-` leaving, `a@0?` listed and not held.
fn slot(text: &str) -> Slot {
    let (name, place) = text.split_once('@').unwrap();
    let number = place.trim_end_matches(['-', '?']);
    Slot {
        lun: lun(number.parse().unwrap()),
        disk: Some(disk(name)),
        leaving: place.ends_with('-'),
        held: !place.ends_with('?'),
    }
}

/// `+a` attach, `*a` attach where what the VM shows is unproven, `!a` attach of a disk that is listed and not held for
/// long, `-a` detach, `~a` detach of a disk whose attach may still land.
fn wanted(text: &str) -> Wanted {
    let (sign, name) = text.split_at(1);
    let want = if matches!(sign, "+" | "*" | "!") { Want::Attach } else { Want::Detach };
    Wanted { disk: disk(name), want, is_unproven: matches!(sign, "~" | "*"), is_overdue: sign == "!" }
}

fn words(step: Step) -> String {
    match step {
        Step::Attached(lun) => format!("attached {lun}"),
        Step::Attach(lun) => format!("attach {lun}"),
        Step::Detached => "detached".into(),
        Step::Detach => "detach".into(),
        Step::Release => "release".into(),
        Step::Wait(_) => "wait".into(),
        Step::Full => "full".into(),
        Step::AwaitRoom => "room".into(),
    }
}

#[track_caller]
fn check(state: State, slots: &str, wishes: &str, want: &str) {
    check_promised(state, slots, "", wishes, want);
}

/// `promised`: `a@0` a LUN that the node was told for a disk, `?@0` for a disk that is not known.
#[track_caller]
fn check_promised(state: State, slots: &str, promised: &str, wishes: &str, want: &str) {
    let promise = |text: &str| {
        let (name, number) = text.split_once('@').unwrap();
        (lun(number.parse().unwrap()), (name != "?").then(|| disk(name)))
    };
    let observed = Observed {
        slots: slots.split_whitespace().map(slot).collect(),
        state,
        most_disks: 4,
        promised: promised.split_whitespace().map(promise).collect(),
        may_repair: true,
    };
    let wishes: Vec<Wanted> = wishes.split_whitespace().map(wanted).collect();
    let got: Vec<String> = plan(&observed, &wishes, usize::MAX).into_iter().map(words).collect();
    assert_eq!(got.join(", "), want, "{state:?} {slots:?}");
}

#[test]
fn a_settled_vm_gets_what_is_missing_in_one_update() {
    let state = State::Settled;
    check(state, "", "+a +b", "attach 0, attach 1");
    check(state, "x@0 y@2", "+a +b", "attach 1, attach 3");
    check(state, "x@0", "-x +a", "detach, attach 1");
    check(state, "a@3", "+a", "attached 3");
    check(state, "", "-a", "detached");
}

#[test]
fn the_lun_of_a_leaving_disk_is_not_free() {
    check(State::Settled, "x@0-", "+a", "attach 1");
    check(State::Settled, "x@0", "-x +a", "detach, attach 1");
}

#[test]
fn nothing_is_written_while_azure_changes_the_vm() {
    let state = State::Changing;
    check(state, "x@0 y@1? z@2-", "+a -x +y +z", "wait, wait, wait, wait");
    check(state, "x@0", "+x -a", "attached 0, wait");
}

#[test]
fn a_lun_that_the_node_was_told_for_a_disk_is_that_disks() {
    let check = |slots, promised, wishes, want| check_promised(State::Settled, slots, promised, wishes, want);
    check("", "x@0", "+a +b", "attach 1, attach 2");
    check("", "?@1", "+a +b", "attach 0, attach 2");
    check("", "a@3", "+a +b", "attach 3, attach 0");
    check("", "a@0 b@0", "+a +b", "attach 1, attach 2");
    check("x@2", "a@2", "+a", "attach 0");
    check("a@1", "a@1 x@1", "+a", "attached 1");
}

#[test]
fn what_a_failed_update_left_goes_first() {
    check(State::Failed, "a@0?", "+a", "wait");
    check(State::Failed, "a@0?", "!a", "release");
    check(State::Settled, "a@0-", "+a", "release");
    check(State::Settled, "a@0-", "-a", "release");
    check(State::Settled, "a@0?", "!a", "release");
    check(State::Changing, "a@0?", "!a", "wait");
    check(State::Settled, "a@0?", "+a", "wait");
}

#[test]
fn a_detach_is_not_done_while_an_attach_may_land() {
    check(State::Settled, "", "~a", "wait");
    check(State::Settled, "a@0", "~a", "detach");
}

#[test]
fn an_attach_is_not_done_while_it_may_have_been_undone() {
    check(State::Settled, "a@0", "*a", "wait");
    check(State::Settled, "a@0-", "*a", "release");
    check(State::Settled, "", "*a", "attach 0");
}

#[test]
fn the_overflow_is_told_and_the_rest_attaches() {
    check(State::Settled, "w@0 x@1 y@2", "+a +b", "attach 3, full");
    check(State::Settled, "w@0 x@1 y@2 z@3", "+z +b", "attached 3, full");
    check(State::Settled, "w@0 x@1 y@2 z@3", "+b -z", "room, detach");
    check(State::Settled, "w@0 x@1 y@2 z@3-", "+b", "room");
}

#[test]
fn the_opposite_waits_for_its_turn() {
    check(State::Settled, "", "+a -a", "attach 0, wait");
    check(State::Settled, "a@0", "-a +a", "detach, wait");
}

#[test]
fn what_nobody_asks_for_is_cleared_up_only_where_nothing_goes_on() {
    let names = |state, may_repair| {
        let slots = ["a@0-", "b@1-", "c@2"].map(slot).into();
        let observed = Observed { slots, state, most_disks: 4, promised: vec![], may_repair };
        leftovers(&observed, &[wanted("+a")])
    };
    assert_eq!(names(State::Settled, true), [disk("b")]);
    assert_eq!(names(State::Failed, true), [disk("b")]);
    assert_eq!(names(State::Changing, true), []);
    assert_eq!(names(State::Settled, false), []);
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn observed() -> impl Strategy<Value = Observed> {
    let one = (any::<bool>(), 0..4u8, 0..64u8);
    let slots = proptest::collection::vec(one, 8);
    let state = prop_oneof![Just(State::Settled), Just(State::Changing), Just(State::Failed)];
    let promise = (0..70u8, proptest::option::of(0..NAMES.len()));
    let promised = proptest::collection::vec(promise, 0..6);
    let vm = (slots, state, 1..10usize, promised, any::<bool>());
    vm.prop_map(|(slots, state, most_disks, promised, may_repair)| {
        let promise = |(number, whose): (u8, Option<usize>)| {
            Some((Lun::new(number)?, whose.map(|index| disk(NAMES[index]))))
        };
        let promised = promised.into_iter().filter_map(promise).collect();
        let mut luns = BTreeSet::new();
        let entries = slots.into_iter().zip(NAMES).filter(|((listed, ..), _)| *listed);
        let slots =
            entries.filter(|((_, _, number), _)| luns.insert(*number)).map(|((_, kind, number), name)| {
                Slot {
                    lun: lun(number),
                    disk: (kind != 3).then(|| disk(name)),
                    leaving: kind == 1,
                    held: kind != 2,
                }
            });
        Observed { slots: slots.collect(), state, most_disks, promised, may_repair }
    })
}

fn wishes() -> impl Strategy<Value = Vec<Wanted>> {
    let one = (0..NAMES.len(), any::<bool>(), any::<bool>()).prop_map(|(name, attach, may_land)| Wanted {
        disk: disk(NAMES[name]),
        want: if attach { Want::Attach } else { Want::Detach },
        is_unproven: may_land,
        is_overdue: may_land && attach,
    });
    proptest::collection::vec(one, 0..12)
}

/// The VM after Azure carried the steps out.
fn carried_out(observed: &Observed, wishes: &[Wanted], steps: &[Step]) -> Observed {
    let mut slots = observed.slots.clone();
    for (one, step) in wishes.iter().zip(steps) {
        match step {
            Step::Attach(lun) => {
                slots.push(Slot { lun: *lun, disk: Some(one.disk.clone()), leaving: false, held: true });
            }
            Step::Detach | Step::Release => slots.retain(|slot| slot.disk.as_ref() != Some(&one.disk)),
            Step::Attached(_) | Step::Detached | Step::Wait(_) | Step::AwaitRoom | Step::Full => {}
        }
    }
    Observed { slots, state: State::Settled, ..observed.clone() }
}

proptest! {
    #[test]
    fn every_plan_keeps_the_invariants(observed in observed(), wishes in wishes(), width in 1..6usize) {
        let steps = plan(&observed, &wishes, width);
        prop_assert_eq!(steps.len(), wishes.len());
        let mut luns: BTreeSet<Lun> = observed.slots.iter().map(|slot| slot.lun).collect();
        let (mut attached, mut writes, mut touched) = (0, 0, BTreeSet::new());
        for (one, step) in wishes.iter().zip(&steps) {
            let writes_before = writes;
            match step {
                Step::Attach(lun) => {
                    prop_assert!(luns.insert(*lun), "LUN {} twice", lun);
                    let mut promises = observed.promised.iter().filter(|(promised, _)| promised == lun);
                    prop_assert!(promises.all(|(_, whose)| whose.as_ref() == Some(&one.disk)), "promised {}", lun);
                    prop_assert_eq!(one.want, Want::Attach);
                    (attached, writes) = (attached + 1, writes + 1);
                }
                Step::Detach => {
                    prop_assert_eq!(one.want, Want::Detach);
                    writes += 1;
                }
                Step::Release => {
                    prop_assert!(observed.may_repair);
                    writes += 1;
                }
                Step::Detached => prop_assert!(one.want == Want::Detach && !one.is_unproven),
                Step::Attached(_) | Step::Full => prop_assert_eq!(one.want, Want::Attach),
                Step::Wait(_) | Step::AwaitRoom => {}
            }
            if writes > writes_before {
                prop_assert!(touched.insert(one.disk.clone()), "one disk twice in an update");
            }
        }
        prop_assert!(writes <= width);
        prop_assert!(attached == 0 || observed.slots.len() + attached <= observed.most_disks);
        prop_assert!(writes == 0 || observed.state != State::Changing);
    }

    #[test]
    fn on_a_settled_vm_the_first_wish_for_each_disk_comes_true(observed in observed(), wishes in wishes()) {
        let mut wishes = wishes;
        let mut seen = BTreeSet::new();
        wishes.retain(|one| seen.insert(one.disk.clone()));
        for one in &mut wishes {
            one.is_unproven = false;
        }
        let mut now = Observed { state: State::Failed, may_repair: true, ..observed };
        for _ in 0..4 {
            let steps = plan(&now, &wishes, usize::MAX);
            now = carried_out(&now, &wishes, &steps);
        }
        for (one, step) in wishes.iter().zip(plan(&now, &wishes, usize::MAX)) {
            match one.want {
                Want::Attach => prop_assert!(
                    matches!(step, Step::Attached(_) | Step::Full | Step::Wait(_) | Step::AwaitRoom),
                    "{step:?}"
                ),
                Want::Detach => prop_assert_eq!(step, Step::Detached),
            }
        }
    }
}
