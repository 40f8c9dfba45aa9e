//! Who excludes whom, and for how long.

use super::*;
use csi::Kind;

fn disk() -> DiskId {
    DiskId::new("s", "g", "d").unwrap()
}

fn vm(name: &str) -> VmId {
    VmId::standalone("s", "g", name).unwrap()
}

/// `+v` an attach to the VM v, `-v` a detach from it, `++v` an attach of a shared disk.
fn a_move(text: &str) -> Move {
    let name = text.trim_start_matches(['+', '-']);
    let want = if text.starts_with('+') { Want::Attach } else { Want::Detach };
    Move { vm: vm(name), want, is_shared: text.starts_with("++") }
}

/// What a second claim is answered while the first is held.
#[track_caller]
fn check(first: &str, second: &str, wanted: Option<Kind>) {
    let claims = Claims::default();
    let claim = |text: &str| match text {
        "delete" => claims.a_deletion(&disk()),
        text => claims.a_move(&disk(), a_move(text)),
    };
    let held = claim(first).unwrap();
    let other = claim(second);
    assert_eq!(other.as_ref().err().map(Error::kind), wanted, "{second} while {first}");
    drop(other);
    drop(held);
    assert!(!claims.is_moving(&disk()), "{first}, {second}: nothing is left");
    assert!(claim(second).is_ok(), "{second} after {first}");
}

#[test]
fn moves_of_a_disk_and_its_deletion_exclude_each_other() {
    for text in ["+a", "-a", "++a"] {
        check(text, "delete", Some(Kind::Busy));
        check("delete", text, Some(Kind::Busy));
    }
    check("delete", "delete", Some(Kind::Busy));
}

#[test]
fn one_vm_at_a_time_gets_a_disk_that_is_not_shared() {
    check("+a", "+b", Some(Kind::Precondition));
    check("+a", "+a", None);
    check("+a", "-b", None);
    check("-a", "+b", None);
    check("++a", "++b", None);
}

#[tokio::test(start_paused = true)]
async fn an_attach_that_may_have_landed_is_remembered_until_a_look_tells() {
    let claims = Claims::default();
    let (here, other) = (vm("v"), vm("w"));
    claims.note_open_attach(&here, &disk(), None);
    assert!(claims.may_land(&here, &disk()) && claims.a_deletion(&disk()).is_err());
    let elsewhere = claims.a_move(&disk(), a_move("+w"));
    assert_eq!(elsewhere.err().map(|error| error.kind()), Some(Kind::Precondition));
    claims.looked(&here, false, &[]);
    assert!(claims.may_land(&here, &disk()), "it was sent a moment ago");
    tokio::time::advance(LANDING).await;
    claims.looked(&here, true, &[]);
    claims.looked(&other, false, &[]);
    assert!(claims.may_land(&here, &disk()), "the VM is changing, or it is another");
    claims.looked(&here, false, &[]);
    assert!(!claims.may_land(&here, &disk()) && claims.a_deletion(&disk()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_attach_that_landed_or_that_nobody_asks_about_is_forgotten() {
    let claims = Claims::default();
    claims.note_open_attach(&vm("v"), &disk(), None);
    tokio::time::advance(LANDING).await;
    claims.looked(&vm("v"), false, &[&disk()]);
    assert!(claims.a_deletion(&disk()).is_err(), "the VM lists it, and nobody knows whether it holds it");
    claims.agreed(&vm("v"), &disk());
    assert!(!claims.may_land(&vm("v"), &disk()));
    claims.note_open_attach(&vm("v"), &disk(), None);
    tokio::time::advance(LONGEST_LANDING).await;
    assert!(!claims.may_land(&vm("v"), &disk()) && claims.a_deletion(&disk()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_disk_said_before_an_open_attach_is_no_proof_of_it() {
    let at = |second| OffsetDateTime::from_unix_timestamp(second).ok();
    for (before, now, wanted) in [
        (at(5), at(4), false),
        (at(5), at(5), false),
        (at(5), at(6), true),
        (at(5), None, false),
        (None, at(4), true),
        (None, None, false),
    ] {
        let claims = Claims::default();
        let is_proof = |vm_name, now| claims.is_proof(&vm(vm_name), &disk(), now);
        assert!(is_proof("v", now), "nothing is open");
        claims.note_open_attach(&vm("v"), &disk(), before);
        assert_eq!(is_proof("v", now), wanted, "{before:?} {now:?}");
        claims.note_open_attach(&vm("v"), &disk(), at(9));
        assert_eq!(is_proof("v", now), wanted, "the one before may have landed: {before:?} {now:?}");
        assert!(is_proof("w", now), "another VM");
        tokio::time::advance(STALE).await;
        assert!(is_proof("v", now), "no answer is so old: {before:?} {now:?}");
    }
}
