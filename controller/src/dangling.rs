//! A disk on a VM that is not the one it is asked for: does anything in Kubernetes still want it there? Pure.
//!
//! A disk is left behind where its VolumeAttachment was taken away without a detach: by force, or with its
//! node. Such a disk may be moved; one that anything may still use is never taken away from its VM.

use azure::VmId;

use crate::cluster::{ClusterView, Standing, VolumeAttachment};

/// What keeps a disk on the VM that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing: it was left behind there.
    Nothing,
    /// Something on this node wants it, or has not let it go yet.
    Node(String),
    /// It cannot be told, for this reason.
    Unknown(&'static str),
}

/// What keeps the volume on `holder`, while it is asked for on the node `node_id`, which is another VM.
pub(crate) fn hold(view: &ClusterView, volume_id: &str, holder: &VmId, node_id: &str) -> Hold {
    let cluster = match view.standing() {
        Standing::Absent => return Hold::Unknown("no Kubernetes API is configured"),
        Standing::NotYet => return Hold::Unknown("the state of Kubernetes has not been read yet"),
        Standing::Synced(cluster) => cluster,
    };
    if cluster.cut_since().is_some() {
        return Hold::Unknown("the Kubernetes API is not heard at the moment");
    }
    let asking = cluster.node_name(node_id);
    // Of a node without a known VM it cannot be said that it is not the holder.
    let may_be_there = |attachment: &&&VolumeAttachment| {
        !attachment.node.eq_ignore_ascii_case(asking)
            && cluster.vm(cluster.node_id(&attachment.node)).is_none_or(|vm| vm == *holder)
    };
    let claims = cluster.claims(volume_id);
    let on_holder = claims.wanting.iter().chain(&claims.leaving).find(may_be_there);
    if let Some(attachment) = on_holder {
        return Hold::Node(attachment.node.to_string());
    }
    match claims.unresolved.iter().find(may_be_there) {
        Some(_) => Hold::Unknown("a VolumeAttachment there names a PersistentVolume that has not been seen"),
        None => Hold::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Change, Fact, Kind, Node, Source, Volume};
    use tokio::time::Instant;

    const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";

    fn vm(name: &str) -> VmId {
        VmId::standalone("s", "g", name).unwrap()
    }

    fn node(name: &str, provider_id: String) -> Fact {
        let (name, provider_id) = (name.into(), provider_id.into());
        Fact::Node(Node { name, provider_id, is_ready: true, taints: [].into() })
    }

    /// `pv@n1` wanted there, `pv@n1-` leaving; nodes n1 and n2 are VMs v1 and v2, n3 has no VM that is known.
    fn view(attachments: &str) -> ClusterView {
        let attachment = |(number, text): (usize, &str)| {
            let (volume, place) = text.split_once('@').unwrap();
            Fact::VolumeAttachment(VolumeAttachment {
                name: number.to_string().into(),
                source: Source::Volume(volume.into()),
                node: place.trim_end_matches('-').into(),
                is_attached: true,
                is_detach_wanted: place.ends_with('-'),
                metadata: [].into(),
            })
        };
        let attachments = attachments.split_whitespace().enumerate().map(attachment).collect();
        let nodes = ["1", "2"].map(|number| {
            node(&format!("n{number}"), format!("azure://{}", vm(&format!("v{number}")).as_str()))
        });
        let nodes = nodes.into_iter().chain([node("n3", String::new())]).collect();
        let mut view = ClusterView::not_yet();
        view.change(Change::All(Kind::Volumes, vec![Fact::Volume(Volume::new("pv", DISK, false))]));
        view.change(Change::All(Kind::Nodes, nodes));
        view.change(Change::All(Kind::CsiNodes, vec![]));
        view.change(Change::All(Kind::VolumeAttachments, attachments));
        view
    }

    #[test]
    fn a_disk_is_left_behind_only_if_nothing_can_want_it_there() {
        let on = |node: &str| Hold::Node(node.to_owned());
        let unseen =
            Hold::Unknown("a VolumeAttachment there names a PersistentVolume that has not been seen");
        let rows = [
            ("", Hold::Nothing),
            ("pv@n2", Hold::Nothing),
            ("pv@n1 pv@n2", on("n1")),
            ("pv@n1- pv@n2", on("n1")),
            ("pv@n3 pv@n2", on("n3")),
            ("other@n1 pv@n2", unseen.clone()),
            ("other@n2 pv@n2", Hold::Nothing),
            ("other@n3", unseen),
        ];
        for (attachments, wanted) in rows {
            assert_eq!(hold(&view(attachments), DISK, &vm("v1"), "n2"), wanted, "{attachments}");
        }
    }

    #[tokio::test]
    async fn who_does_not_hear_kubernetes_takes_nothing_away() {
        let mut cut = view("pv@n2");
        cut.change(Change::Cut(Kind::VolumeAttachments, Instant::now()));
        for view in [ClusterView::absent(), ClusterView::not_yet(), cut] {
            assert!(matches!(hold(&view, DISK, &vm("v1"), "n2"), Hold::Unknown(_)));
        }
    }
}
