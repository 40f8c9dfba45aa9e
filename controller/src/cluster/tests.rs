//! The view's own rules and what its questions answer.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/pvc-1";
const VM: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-a";

fn attachment(name: &str, source: Source, node: &str) -> VolumeAttachment {
    VolumeAttachment {
        name: name.into(),
        source,
        node: node.into(),
        is_attached: true,
        is_detach_wanted: false,
        metadata: Box::new([]),
    }
}

fn of_volume(name: &str, volume: &str, node: &str) -> VolumeAttachment {
    attachment(name, Source::Volume(volume.into()), node)
}

fn with_lun(lun: &str, attachment: VolumeAttachment) -> VolumeAttachment {
    VolumeAttachment {
        metadata: [("other".into(), "5".into()), ("LUN".into(), lun.into())].into(),
        ..attachment
    }
}

fn leaving(attachment: VolumeAttachment) -> VolumeAttachment {
    VolumeAttachment { is_detach_wanted: true, ..attachment }
}

fn node(name: &str, provider_id: &str, taints: &[&str]) -> Node {
    let taint = |key: &&str| Taint { key: (*key).into(), value: "".into(), effect: "NoExecute".into() };
    let taints = taints.iter().map(taint).collect();
    Node { name: name.into(), provider_id: provider_id.into(), is_ready: true, taints }
}

/// A complete view of these.
fn view(facts: Vec<Fact>) -> ClusterView {
    let mut view = ClusterView::not_yet();
    for kind in Kind::ALL {
        view.change(Change::All(kind, Vec::new()));
    }
    for fact in facts {
        view.change(Change::Is(fact));
    }
    view
}

fn cluster(view: &ClusterView) -> &Cluster {
    match view.standing() {
        Standing::Synced(cluster) => cluster,
        other => panic!("{other:?}"),
    }
}

fn names<'a>(attachments: &[&'a VolumeAttachment]) -> Vec<&'a str> {
    attachments.iter().map(|one| &*one.name).collect()
}

#[test]
fn a_view_is_asked_only_when_every_kind_was_listed() {
    let mut absent = ClusterView::absent();
    absent.change(Change::All(Kind::Nodes, Vec::new()));
    assert!(matches!(absent.standing(), Standing::Absent));
    for last in Kind::ALL {
        let mut view = ClusterView::not_yet();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != last) {
            view.change(Change::All(kind, Vec::new()));
        }
        view.change(Change::Is(Fact::Node(node("a", "", &[]))));
        assert!(matches!(view.standing(), Standing::NotYet), "without {last:?}");
        view.change(Change::All(last, Vec::new()));
        assert!(matches!(view.standing(), Standing::Synced(_)), "with {last:?}");
    }
}

#[test]
fn who_wants_a_disk() {
    let inline = |id: &str| Source::Inline { volume_id: id.into(), is_read_only: true };
    let view = view(vec![
        Fact::Volume(Volume::new("one", DISK, false)),
        Fact::Volume(Volume::new("twin", DISK.to_uppercase(), true)),
        Fact::Volume(Volume::new("another", format!("{DISK}0"), false)),
        Fact::VolumeAttachment(of_volume("a", "one", "node-a")),
        Fact::VolumeAttachment(leaving(of_volume("b", "twin", "node-b"))),
        Fact::VolumeAttachment(of_volume("c", "another", "node-a")),
        Fact::VolumeAttachment(attachment("d", inline(&DISK.to_lowercase()), "node-c")),
        Fact::VolumeAttachment(of_volume("e", "not-seen", "node-c")),
    ]);
    let cluster = cluster(&view);
    let claims = cluster.claims(DISK);
    assert_eq!(names(&claims.wanting), ["a", "d"]);
    assert_eq!(names(&claims.leaving), ["b"]);
    assert_eq!(names(&claims.unresolved), ["e"], "it may be about this disk");
    let read_only = |claims: &[&VolumeAttachment]| -> Vec<_> {
        claims.iter().map(|one| cluster.is_read_only(one)).collect()
    };
    assert_eq!(read_only(&claims.wanting), [Some(false), Some(true)]);
    assert_eq!(read_only(&claims.leaving), [Some(true)]);
    assert_eq!(read_only(&claims.unresolved), [None]);
    assert_eq!(cluster.volume_id(claims.wanting[0]), Some(DISK));
    assert_eq!(cluster.volume_id(claims.unresolved[0]), None);
    assert!(cluster.claims("/elsewhere").wanting.is_empty());
}

#[test]
fn an_attachment_and_its_volume_come_in_any_order() {
    let mut view = view(vec![Fact::VolumeAttachment(of_volume("a", "one", "node-a"))]);
    let counts = |view: &ClusterView| {
        let claims = cluster(view).claims(DISK);
        (claims.wanting.len(), claims.unresolved.len())
    };
    let volume = |id: &str| Fact::Volume(Volume::new("one", id, false));
    assert_eq!(counts(&view), (0, 1));
    for (id, wanted) in [(DISK, (1, 0)), ("/another", (0, 0)), (DISK, (1, 0))] {
        view.change(Change::Is(volume(id)));
        assert_eq!(counts(&view), wanted, "{id}");
    }
    view.change(Change::Gone(Kind::Volumes, "one".into()));
    assert_eq!(counts(&view), (0, 1), "again it may be about any disk");
    view.change(Change::All(Kind::Volumes, vec![volume(DISK)]));
    assert_eq!(counts(&view), (1, 0));
    view.change(Change::All(Kind::Volumes, vec![volume("/another")]));
    assert_eq!(counts(&view), (0, 0));
    view.change(Change::All(Kind::Volumes, Vec::new()));
    assert_eq!(counts(&view), (0, 1));
}

#[test]
fn luns_that_were_promised_on_a_node() {
    let csi_node = |name: &str, id: &str| Fact::CsiNode(CsiNode { name: name.into(), node_id: id.into() });
    let view = view(vec![
        csi_node("node-a", "node-a"),
        csi_node("node-b", VM),
        Fact::VolumeAttachment(with_lun("0", of_volume("a", "v", "node-a"))),
        Fact::VolumeAttachment(leaving(with_lun("63", of_volume("b", "v", "node-a")))),
        Fact::VolumeAttachment(with_lun("64", of_volume("c", "v", "node-a"))),
        Fact::VolumeAttachment(with_lun("many", of_volume("d", "v", "node-a"))),
        Fact::VolumeAttachment(of_volume("e", "v", "node-a")),
        Fact::VolumeAttachment(with_lun("1", of_volume("f", "v", "node-b"))),
    ]);
    let cluster = cluster(&view);
    let luns =
        |node_id: &str| -> Vec<u8> { cluster.luns(node_id).iter().map(|(lun, _)| lun.get()).collect() };
    assert_eq!(luns("node-a"), [0, 63], "one that shall be detached is still held");
    assert_eq!(luns("NODE-A"), [0, 63]);
    assert_eq!(luns(&VM.to_uppercase()), [1], "the node by the driver's own id");
    assert_eq!(luns("node-b"), [1]);
    assert_eq!(luns("node-c"), [0_u8; 0]);
    assert_eq!((cluster.node_id("node-b"), cluster.node_id("node-c")), (VM, "node-c"));
}

#[test]
fn nodes_and_their_vms() {
    let view = view(vec![
        Fact::Node(node("node-a", &format!("azure://{VM}"), &[])),
        Fact::Node(node("node-b", "", &["other", "node.kubernetes.io/out-of-service"])),
        Fact::Node(node("node-c", "kind://docker/kind/node-c", &["node.kubernetes.io/unreachable"])),
    ]);
    let cluster = cluster(&view);
    let vm = |node_id: &str| cluster.vm(node_id).map(|vm| vm.to_string());
    assert_eq!(vm("node-a").as_deref(), Some(VM));
    assert_eq!(vm("Node-A").as_deref(), Some(VM));
    assert_eq!((vm("node-b"), vm("node-c"), vm("node-d")), (None, None, None));
    let is_out = |node_id: &str| cluster.node(node_id).map(Node::is_out_of_service);
    assert_eq!((is_out("node-b"), is_out("node-c"), is_out("node-d")), (Some(true), Some(false), None));
}

#[tokio::test(start_paused = true)]
async fn a_view_that_is_cut_off_says_since_when() {
    let mut view = view(Vec::new());
    let start = Instant::now();
    let later = start + Duration::from_secs(5);
    view.change(Change::Cut(Kind::Nodes, later));
    view.change(Change::Cut(Kind::Volumes, start));
    view.change(Change::Cut(Kind::Volumes, later));
    assert_eq!(cluster(&view).cut_since(), Some(start), "further failures don't make it fresher");
    view.change(Change::Heard(Kind::Volumes));
    assert_eq!(cluster(&view).cut_since(), Some(later));
    view.change(Change::Heard(Kind::Nodes));
    assert_eq!(cluster(&view).cut_since(), None);
}

#[test]
fn a_kind_that_may_not_be_read_is_told_until_it_is_heard_of() {
    let mut absent = ClusterView::absent();
    absent.change(Change::Forbidden(Kind::Nodes));
    assert!(!absent.is_forbidden(Kind::Nodes));
    let mut view = ClusterView::not_yet();
    let forbidden = |view: &ClusterView| Kind::ALL.map(|kind| view.is_forbidden(kind));
    view.change(Change::Forbidden(Kind::Nodes));
    assert_eq!(forbidden(&view), [false, true, false, false], "a view that cannot be asked yet tells it");
    view.change(Change::All(Kind::Nodes, Vec::new()));
    assert!(view.is_forbidden(Kind::Nodes), "it was listed, and may not be watched");
    view.change(Change::Heard(Kind::Nodes));
    assert_eq!(forbidden(&view), [false; 4]);
}

#[test]
fn a_clone_stays_as_it_was() {
    let mut view = view(vec![Fact::Node(node("node-a", "", &[]))]);
    let before = view.clone();
    view.change(Change::Gone(Kind::Nodes, "node-a".into()));
    view.change(Change::Is(Fact::Node(node("node-b", "", &[]))));
    let has = |view: &ClusterView, name: &str| cluster(view).node(name).is_some();
    assert_eq!((has(&before, "node-a"), has(&before, "node-b")), (true, false));
    assert_eq!((has(&view, "node-a"), has(&view, "node-b")), (false, true));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Remove(u8),
    All(Vec<u8>),
}

proptest! {
    #[test]
    fn changes_add_up(steps in prop::collection::vec(prop_oneof![
        any::<u8>().prop_map(|one| Step::Put(one % 16)),
        any::<u8>().prop_map(|one| Step::Remove(one % 16)),
        prop::collection::vec(0_u8..16, 0..8).prop_map(Step::All),
    ], 0..40)) {
        let name = |number: u8| format!("n{number}");
        let fact = |number: u8| Fact::Node(node(&name(number), "", &[]));
        let (mut view, mut model) = (view(Vec::new()), BTreeSet::new());
        for step in steps {
            match step {
                Step::Put(one) => {
                    model.insert(one);
                    view.change(Change::Is(fact(one)));
                }
                Step::Remove(one) => {
                    model.remove(&one);
                    view.change(Change::Gone(Kind::Nodes, name(one).into()));
                }
                Step::All(all) => {
                    view.change(Change::All(Kind::Nodes, all.iter().map(|one| fact(*one)).collect()));
                    model = all.into_iter().collect();
                }
            }
            let cluster = cluster(&view);
            for one in 0..16 {
                prop_assert_eq!(cluster.node(&name(one)).is_some(), model.contains(&one));
            }
            prop_assert_eq!(cluster.nodes.iter().count(), model.len());
        }
    }
}
