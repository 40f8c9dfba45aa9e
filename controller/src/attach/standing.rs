//! What Kubernetes says about a VM's node and about the disks on their way to it. Pure.
//!
//! Promises: the metadata of a VolumeAttachment is the publish context of an answer. As long as it exists the node may
//! look for its disk at that LUN, also if Azure's VM does not show the disk any more. Another disk there would be
//! taken for it.
//!
//! Wishes: between the reading of a VM and the write, another process of this driver may have been told to
//! detach. The deletion of the VolumeAttachment comes before that, and is seen here.

use azure::{DiskId, Lun};

use crate::cluster::{Cluster, ClusterView, Standing};

/// The promises that were made to the node with this CSI id; none without a Kubernetes API.
pub(super) fn promises(view: &ClusterView, node_id: &str) -> Vec<(Lun, Option<DiskId>)> {
    let Standing::Synced(cluster) = view.standing() else { return Vec::new() };
    let disk = |attachment| cluster.volume_id(attachment).and_then(|id| id.parse().ok());
    cluster.luns(node_id).into_iter().map(|(lun, attachment)| (lun, disk(attachment))).collect()
}

/// Whether Kubernetes wants the disk off the node already.
pub(super) fn is_leaving(view: &ClusterView, node_id: &str, disk: &DiskId) -> bool {
    let Standing::Synced(cluster) = view.standing() else { return false };
    let name = cluster.node_name(node_id);
    let claims = cluster.claims(disk.as_str());
    claims.leaving.iter().any(|attachment| attachment.node.eq_ignore_ascii_case(name))
}

/// Whether the node was told before that it has the disk: a pod may be using it there.
pub(super) fn may_be_used(view: &ClusterView, node_id: &str, disk: &DiskId) -> bool {
    let Standing::Synced(cluster) = view.standing() else { return false };
    let name = cluster.node_name(node_id);
    let claims = cluster.claims(disk.as_str());
    let mut all = claims.wanting.iter().chain(&claims.leaving);
    all.any(|attachment| attachment.is_attached && attachment.node.eq_ignore_ascii_case(name))
}

/// Whether a disk may be taken from the node by force once a normal detach failed: somebody has vouched that its
/// machine is down, and its kubelet is not heard.
pub(super) fn is_out_of_service(view: &ClusterView, node_id: &str) -> bool {
    let Standing::Synced(cluster) = view.standing() else { return false };
    let node =
        |cluster: &Cluster| cluster.node(node_id).map(|node| node.is_out_of_service() && !node.is_ready);
    cluster.cut_since().is_none() && node(cluster).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Change, Fact, Kind, Node, Source, Taint, Volume, VolumeAttachment};

    fn attachment(name: &str, volume: &str, node: &str, lun: &str) -> Fact {
        Fact::VolumeAttachment(VolumeAttachment {
            name: name.into(),
            source: Source::Volume(volume.into()),
            node: node.into(),
            is_attached: true,
            is_detach_wanted: false,
            metadata: [("LUN".into(), lun.into())].into(),
        })
    }

    #[test]
    fn promises_are_those_of_the_node_with_the_disk_if_it_is_known() {
        let disk = DiskId::new("s", "g", "d").unwrap();
        let mut view = ClusterView::not_yet();
        let attachments = vec![
            attachment("1", "pv-1", "n1", "0"),
            attachment("2", "pv-2", "n1", "7"),
            attachment("3", "pv-1", "n2", "3"),
            attachment("4", "pv-1", "n1", "x"),
        ];
        let volumes = vec![Fact::Volume(Volume::new("pv-1", disk.as_str(), false))];
        view.change(Change::All(Kind::VolumeAttachments, attachments));
        assert_eq!(promises(&view, "n1"), [], "not everything was read yet");
        for (kind, facts) in [(Kind::Volumes, volumes), (Kind::Nodes, vec![]), (Kind::CsiNodes, vec![])] {
            view.change(Change::All(kind, facts));
        }
        let mut promised = promises(&view, "n1");
        promised.sort();
        let lun = |number| Lun::new(number).unwrap();
        assert_eq!(promised, [(lun(0), Some(disk)), (lun(7), None)]);
        assert_eq!(promises(&ClusterView::absent(), "n1"), []);
    }

    /// The node n1 with these taints, and an attachment of the disk d to it.
    fn on_n1(taints: &[&str], is_ready: bool, is_detach_wanted: bool) -> ClusterView {
        let disk = DiskId::new("s", "g", "d").unwrap();
        let taint = |key: &&str| Taint { key: (*key).into(), value: "".into(), effect: "NoExecute".into() };
        let taints = taints.iter().map(taint).collect();
        let node = Fact::Node(Node { name: "n1".into(), provider_id: "".into(), is_ready, taints });
        let Fact::VolumeAttachment(attachment) = attachment("1", "pv-1", "n1", "0") else { unreachable!() };
        let attachment = Fact::VolumeAttachment(VolumeAttachment { is_detach_wanted, ..attachment });
        let mut view = ClusterView::not_yet();
        view.change(Change::All(
            Kind::Volumes,
            vec![Fact::Volume(Volume::new("pv-1", disk.as_str(), false))],
        ));
        view.change(Change::All(Kind::VolumeAttachments, vec![attachment]));
        view.change(Change::All(Kind::Nodes, vec![node]));
        view.change(Change::All(Kind::CsiNodes, vec![]));
        view
    }

    #[test]
    fn a_disk_whose_attachment_is_being_deleted_is_leaving() {
        let disk = |name| DiskId::new("s", "g", name).unwrap();
        assert!(is_leaving(&on_n1(&[], true, true), "n1", &disk("d")));
        assert!(!is_leaving(&on_n1(&[], true, false), "n1", &disk("d")));
        assert!(!is_leaving(&on_n1(&[], true, true), "n2", &disk("d")));
        assert!(!is_leaving(&on_n1(&[], true, true), "n1", &disk("e")));
        assert!(!is_leaving(&ClusterView::absent(), "n1", &disk("d")));
        for is_detach_wanted in [true, false] {
            let view = on_n1(&[], true, is_detach_wanted);
            let used = [("n1", "d"), ("n2", "d"), ("n1", "e")]
                .map(|(node, name)| may_be_used(&view, node, &disk(name)));
            assert_eq!(used, [true, false, false]);
        }
    }

    #[tokio::test]
    async fn force_needs_the_taint_and_a_silent_kubelet_and_a_fresh_view() {
        const DOWN: &str = "node.kubernetes.io/out-of-service";
        let rows: [(&[&str], bool, bool); 4] = [
            (&[DOWN], false, true),
            (&[DOWN], true, false),
            (&["node.kubernetes.io/unreachable"], false, false),
            (&[], false, false),
        ];
        for (taints, is_ready, wanted) in rows {
            let mut view = on_n1(taints, is_ready, true);
            assert_eq!(is_out_of_service(&view, "n1"), wanted, "{taints:?} ready: {is_ready}");
            assert!(!is_out_of_service(&view, "n2"));
            view.change(Change::Cut(Kind::Nodes, tokio::time::Instant::now()));
            assert!(!is_out_of_service(&view, "n1"));
        }
    }
}
