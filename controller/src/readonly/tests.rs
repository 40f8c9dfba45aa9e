//! The table, the exception, and what a write leaves of all tags.

use super::*;
use crate::cluster::{Change as ViewChange, CsiNode, Fact, Kind, Source, Volume};
use csi::Kind as ErrorKind;

const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/pvc-1";
const VM: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-a";

#[test]
fn the_whole_table() {
    use Mode::{ReadOnly, ReadWrite};
    let rows = [
        // asked, tagged, on the VM, the only wish
        (ReadWrite, ReadWrite, false, false, Step::Go),
        (ReadWrite, ReadWrite, true, false, Step::Go),
        (ReadOnly, ReadOnly, false, false, Step::Go),
        (ReadOnly, ReadOnly, true, false, Step::Go),
        (ReadOnly, ReadWrite, false, false, Step::Write),
        (ReadWrite, ReadOnly, false, false, Step::Write),
        (ReadWrite, ReadOnly, false, true, Step::Write),
        (ReadOnly, ReadWrite, true, false, Step::Refuse),
        (ReadOnly, ReadWrite, true, true, Step::Write),
        (ReadWrite, ReadOnly, true, false, Step::Refuse),
        (ReadWrite, ReadOnly, true, true, Step::Refuse),
    ];
    for (asked, tagged, is_on_vm, is_sole_wish, wanted) in rows {
        let step = decide(asked, tagged, is_on_vm, is_sole_wish);
        assert_eq!(step, wanted, "{asked:?}, tagged {tagged:?}, on VM {is_on_vm}, sole wish {is_sole_wish}");
    }
}

#[test]
fn a_refusal_names_the_disk_the_node_and_both_modes() {
    let error = refusal("pvc-1", "node-a", &VM.parse().unwrap(), Mode::ReadOnly);
    assert_eq!(error.kind(), ErrorKind::Exists);
    for word in ["pvc-1", "node-a", "vm-a", "read-write", "asked for read-only"] {
        assert!(error.message().contains(word), "{word}: {error}");
    }
}

#[test]
fn a_tag_is_of_one_node_in_any_case() {
    let tags = |key: &str| Tags::from([(key.to_owned(), String::new())]);
    let rows = [
        ("node-a", "azuredisk-csi-readonly-on-node-a", Mode::ReadOnly),
        ("NODE-A", "AzureDisk-CSI-ReadOnly-on-Node-A", Mode::ReadOnly),
        (VM, "azuredisk-csi-readonly-on-vm-a", Mode::ReadOnly),
        ("node-a", "azuredisk-csi-readonly-on-node-ab", Mode::ReadWrite),
        ("node-ab", "azuredisk-csi-readonly-on-node-a", Mode::ReadWrite),
    ];
    for (node_id, key, wanted) in rows {
        assert_eq!(Tag::of(node_id).mode(&tags(key)), wanted, "{node_id} {key}");
    }
}

/// What `change` leaves of the tags of three nodes and one of somebody else, while `in_flight` is being published;
/// `None`: no write.
fn check(change: &Change, in_flight: Option<&str>, wanted: Option<&[&str]>) {
    let there = ["azuredisk-csi-readonly-on-a", "Azuredisk-csi-readonly-on-B", "team"];
    let tags: Tags = there.map(|key| (key.to_owned(), "true".to_owned())).into();
    let is_in_flight = |tag: &Tag| in_flight.is_some_and(|node| *tag == Tag::of(node));
    let merged = merged(&tags, change, is_in_flight);
    let keys = merged.as_ref().map(|tags| tags.keys().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(keys.as_deref(), wanted, "{change:?}, in flight {in_flight:?}");
    assert!(merged.is_none_or(|tags| tags.values().all(|value| value == "true")));
}

#[test]
fn a_write_changes_its_own_tags_and_keeps_all_others() {
    let (a, b) = ("azuredisk-csi-readonly-on-a", "Azuredisk-csi-readonly-on-B");
    let tag = Tag::of;
    check(&Change::Add(tag("c")), None, Some(&[b, a, "azuredisk-csi-readonly-on-c", "team"]));
    check(&Change::Add(tag("b")), None, None);
    check(&Change::Remove(tag("b")), None, Some(&[a, "team"]));
    check(&Change::Remove(tag("c")), None, None);
    // Its own publish is in flight, of course.
    check(&Change::Remove(tag("b")), Some("b"), Some(&[a, "team"]));
    check(&Change::Forget(tag("a"), None), None, Some(&[b, "team"]));
    check(&Change::Forget(tag("a"), None), Some("b"), Some(&[b, "team"]));
    check(&Change::Forget(tag("a"), None), Some("a"), None);
    check(&Change::Forget(tag("c"), None), None, None);
    check(&Change::ForgetAll, None, Some(&["team"]));
    check(&Change::ForgetAll, Some("b"), Some(&[b, "team"]));
}

fn attachment(name: &str, volume: &str, node: &str, is_detach_wanted: bool) -> Fact {
    Fact::VolumeAttachment(VolumeAttachment {
        name: name.into(),
        source: Source::Volume(volume.into()),
        node: node.into(),
        is_attached: true,
        is_detach_wanted,
        metadata: Box::new([]),
    })
}

/// Whether a read-only publish on the node with the id `id-a` may take over, if Kubernetes has these.
fn takes_over(facts: Vec<Fact>) -> bool {
    let mut view = ClusterView::not_yet();
    for kind in Kind::ALL {
        view.change(ViewChange::All(kind, Vec::new()));
    }
    let csi_node = Fact::CsiNode(CsiNode { name: "node-a".into(), node_id: "id-a".into() });
    let volumes = [("reader", true), ("writer", false)];
    let volumes = volumes.map(|(name, is_read_only)| Fact::Volume(Volume::new(name, DISK, is_read_only)));
    for fact in volumes.into_iter().chain([csi_node]).chain(facts) {
        view.change(ViewChange::Is(fact));
    }
    is_sole_wish(&view, &DISK.to_ascii_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions"), "id-a")
}

#[test]
fn only_a_single_read_only_wish_takes_over() {
    let reader = || attachment("1", "reader", "node-a", false);
    assert!(takes_over(vec![reader()]));
    assert!(takes_over(vec![reader(), attachment("2", "writer", "node-b", false)]), "another node's");
    assert!(!takes_over(vec![]));
    assert!(!takes_over(vec![attachment("1", "writer", "node-a", false)]));
    assert!(!takes_over(vec![attachment("1", "reader", "node-b", false)]));
    assert!(!takes_over(vec![attachment("1", "reader", "node-a", true)]), "it is going");
    assert!(!takes_over(vec![reader(), attachment("2", "writer", "node-a", false)]), "two wishes");
    assert!(
        !takes_over(vec![reader(), attachment("2", "writer", "node-a", true)]),
        "the writer's is there yet"
    );
    assert!(
        !takes_over(vec![reader(), attachment("2", "unseen", "node-a", false)]),
        "whose disk is not known"
    );
}

#[test]
fn without_a_complete_view_nothing_is_taken_over() {
    for view in [ClusterView::absent(), ClusterView::not_yet()] {
        assert!(!is_sole_wish(&view, DISK, "id-a"));
    }
}
