//! Each invariant finds what it is for, and nothing in a world that is as it should be.

use std::collections::BTreeSet;

use tonic::Code;

use super::*;

/// An entry of `disk` at `lun` of `vm`, held.
fn held(vm: VmNo, lun: u8, disk: DiskName) -> Entry {
    Entry { vm, lun, disk, is_held: true, is_leaving: false }
}

fn wanted(vm: VmNo, lun: u8, disk: DiskName) -> Entry {
    Entry { is_held: false, ..held(vm, lun, disk) }
}

fn leaving(vm: VmNo, lun: u8, disk: DiskName) -> Entry {
    Entry { is_leaving: true, ..held(vm, lun, disk) }
}

/// Two VMs, volumes 1 and 2, and what is listed.
fn facts(entries: &[Entry]) -> Facts {
    Facts {
        vms: BTreeSet::from([0, 1]),
        entries: entries.to_vec(),
        volumes: BTreeSet::from([1, 2]),
        ..Facts::default()
    }
}

fn ledger(kept: &[(VolumeNo, VmNo, u8)], gone: &[(VolumeNo, VmNo)], deleted: &[VolumeNo]) -> Ledger {
    Ledger {
        kept: kept.iter().map(|(volume, vm, lun)| ((*volume, *vm), *lun)).collect(),
        gone: gone.iter().copied().collect(),
        deleted: deleted.iter().copied().collect(),
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an invariant stands in its place")]
fn check(found: Option<Breach>, is_broken: bool) {
    assert_eq!(found.is_some(), is_broken, "{found:?}");
}

const V1: DiskName = DiskName::Ours(1);
const V2: DiskName = DiskName::Ours(2);
const OTHER: DiskName = DiskName::Foreign(0);

#[test]
fn a_publish_that_is_not_so_is_found() {
    let judged = |entries: &[Entry]| published_is_attached(&facts(entries), 1, 0, 3, false);
    check(judged(&[held(0, 3, V1)]), false);
    check(judged(&[]), true);
    check(judged(&[held(0, 2, V1)]), true);
    check(judged(&[held(1, 3, V1)]), true);
    check(judged(&[wanted(0, 3, V1)]), true);
    check(judged(&[leaving(0, 3, V1)]), true);
    check(published_is_attached(&facts(&[]), 1, 0, 3, true), false);
}

#[test]
fn an_unpublish_that_is_not_so_is_found() {
    let judged = |entries: &[Entry]| unpublished_is_gone(&facts(entries), 1, 0);
    check(judged(&[held(1, 3, V1), held(0, 0, V2)]), false);
    check(judged(&[held(0, 3, V1)]), true);
    check(judged(&[wanted(0, 3, V1)]), true);
    check(judged(&[leaving(0, 3, V1)]), true);
}

#[test]
fn what_comes_back_is_found() {
    let judged = |entries: &[Entry]| gone_stays_gone(&facts(entries), &ledger(&[], &[(1, 0)], &[]));
    check(judged(&[held(1, 0, V1), held(0, 0, V2), held(0, 1, OTHER)]), false);
    check(judged(&[held(0, 3, V1)]), true);
    check(judged(&[wanted(0, 3, V1)]), true);
}

#[test]
fn two_disks_at_one_lun_are_found() {
    let none = Ledger::default();
    check(luns_are_unique(&facts(&[held(0, 0, V1), held(0, 1, V2), held(1, 0, OTHER)]), &none), false);
    check(luns_are_unique(&facts(&[held(0, 0, V1), wanted(0, 0, OTHER)]), &none), true);
    let told = |kept: &[_]| luns_are_unique(&facts(&[]), &ledger(kept, &[], &[]));
    check(told(&[(1, 0, 0), (2, 0, 1), (3, 1, 0)]), false);
    check(told(&[(1, 0, 0), (2, 0, 0)]), true);
}

#[test]
fn a_disk_on_too_many_vms_is_found() {
    let twice = facts(&[held(0, 0, V1), held(1, 0, V1)]);
    check(no_disk_is_on_too_many_vms(&twice, |_| 1), true);
    check(no_disk_is_on_too_many_vms(&twice, |_| 2), false);
    check(no_disk_is_on_too_many_vms(&facts(&[held(0, 0, V1), wanted(1, 0, V1)]), |_| 1), false);
}

#[test]
fn a_write_that_takes_away_what_was_told_is_found() {
    let judged = |kept: &[_], after: &[Entry]| {
        kept_stays_kept(&facts(&[held(0, 0, V1)]), &facts(after), &ledger(kept, &[], &[]))
    };
    check(judged(&[(1, 0, 0)], &[held(0, 0, V1), wanted(0, 1, V2)]), false);
    check(judged(&[], &[]), false);
    check(judged(&[(1, 0, 0)], &[leaving(0, 0, V1)]), true);
    check(judged(&[(1, 0, 0)], &[]), true);
    // It was not there any more.
    check(judged(&[(2, 0, 1)], &[]), false);
}

#[test]
fn a_write_on_a_foreign_disk_is_found() {
    let judged =
        |before: &[Entry], after: &[Entry]| foreign_disks_are_untouched(&facts(before), &facts(after));
    check(judged(&[held(0, 0, OTHER)], &[held(0, 0, OTHER), held(0, 1, V1)]), false);
    check(judged(&[held(0, 0, OTHER)], &[]), true);
    check(judged(&[held(0, 0, OTHER)], &[leaving(0, 0, OTHER)]), true);
    check(judged(&[leaving(0, 0, OTHER)], &[held(0, 0, OTHER)]), true);
    check(judged(&[leaving(0, 0, OTHER)], &[wanted(0, 0, OTHER)]), true);
    check(judged(&[leaving(0, 0, OTHER), held(0, 1, OTHER)], &[leaving(0, 0, OTHER)]), true);
    check(judged(&[leaving(0, 0, OTHER)], &[leaving(0, 0, OTHER)]), false);
    check(judged(&[leaving(0, 0, OTHER)], &[]), false);
    check(judged(&[], &[wanted(0, 0, OTHER)]), true);
    check(judged(&[wanted(0, 0, OTHER)], &[held(0, 0, OTHER)]), false);
    check(judged(&[wanted(0, 0, OTHER)], &[]), true);
    check(judged(&[wanted(0, 0, OTHER)], &[leaving(0, 0, OTHER)]), true);
    check(judged(&[wanted(0, 0, OTHER), held(0, 1, OTHER)], &[wanted(0, 0, OTHER)]), true);
    check(judged(&[held(0, 0, OTHER)], &[wanted(0, 0, OTHER)]), true);
    check(judged(&[wanted(0, 0, OTHER)], &[held(0, 1, OTHER)]), true);
    check(judged(&[held(0, 0, OTHER), held(0, 1, OTHER)], &[held(0, 0, OTHER)]), true);
}

#[test]
fn a_vm_that_comes_back_and_a_strange_disk_are_found() {
    let before = Facts { vms: BTreeSet::from([0]), strangers: vec!["a".into()], ..facts(&[]) };
    check(nothing_is_made_up(&before, &before), false);
    check(nothing_is_made_up(&facts(&[]), &before.clone()), true);
    check(nothing_is_made_up(&before, &facts(&[])), true);
    let strange = Facts { strangers: vec!["a".into(), "b".into()], ..before.clone() };
    check(nothing_is_made_up(&before, &strange), true);
}

#[test]
fn force_is_found() {
    check(nothing_is_forced(br#"{"dataDisksToDetach":[{"diskId":"a"}]}"#), false);
    check(nothing_is_forced(br#"{"dataDisksToDetach":[{"diskId":"a","detachOption":"ForceDetach"}]}"#), true);
}

#[test]
fn a_deletion_that_is_not_so_and_a_ghost_are_found() {
    let told = |deleted: &[VolumeNo]| ledger(&[], &[], deleted);
    check(deleted_is_gone(&facts(&[held(0, 0, V1)]), &told(&[3])), false);
    check(deleted_is_gone(&facts(&[]), &told(&[1])), true);
    check(deleted_is_gone(&facts(&[wanted(0, 0, DiskName::Ours(3))]), &told(&[3])), true);
}

#[test]
fn a_leak_is_found() {
    let empty = Facts { volumes: BTreeSet::new(), ..facts(&[held(0, 0, OTHER)]) };
    check(nothing_leaks(&empty), false);
    check(nothing_leaks(&facts(&[])), true);
    check(nothing_leaks(&Facts { entries: vec![wanted(0, 1, V1)], ..empty }), true);
}

#[test]
fn whoever_waits_too_long_or_is_blamed_is_found() {
    check(everyone_is_answered(1, Verb::Create, 1), false);
    check(everyone_is_answered(1, Verb::Create, 1000), true);
    check(rest_is_reached(10, 10, String::new), false);
    check(rest_is_reached(11, 10, || "v1".to_owned()), true);
    for (code, is_broken) in [
        (Code::Unavailable, false),
        (Code::DeadlineExceeded, false),
        (Code::FailedPrecondition, false),
        (Code::Internal, true),
        (Code::Unknown, true),
    ] {
        check(no_answer_blames_the_driver(1, Verb::Delete, code, ""), is_broken);
    }
}
