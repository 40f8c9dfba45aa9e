//! The objects of Kubernetes that the view holds, cut down to what somebody here asks for. Texts that repeat
//! (names of nodes, keys, LUNs) are shared by whoever makes the facts; the others have no spare room.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

/// The kinds of objects, each with a feed of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// VolumeAttachments of this driver.
    VolumeAttachments,
    /// All Nodes.
    Nodes,
    /// CSINodes that have this driver.
    CsiNodes,
    /// PersistentVolumes of this driver.
    Volumes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::VolumeAttachments, Kind::Nodes, Kind::CsiNodes, Kind::Volumes];

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// See [`VolumeAttachment`].
    VolumeAttachment(VolumeAttachment),
    /// See [`Node`].
    Node(Node),
    /// See [`CsiNode`].
    CsiNode(CsiNode),
    /// See [`Volume`].
    Volume(Volume),
}

/// A wish of Kubernetes that a disk be attached to a node, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeAttachment {
    /// Its own name.
    pub name: Box<str>,
    /// Which disk.
    pub source: Source,
    /// The node, by its name in Kubernetes.
    pub node: Arc<str>,
    /// Whether the attacher has noted that the disk is attached.
    pub is_attached: bool,
    /// Whether it is being deleted: the disk shall be detached.
    pub is_detach_wanted: bool,
    /// The publish context that the driver answered, such as the LUN.
    pub metadata: Box<[(Arc<str>, Arc<str>)]>,
}

/// An attachment, and which disk it is about.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) attachment: VolumeAttachment,
    /// [`fold`] of the disk's id; `None` while the PersistentVolume has not been seen.
    pub(super) disk: Option<u64>,
}

/// Where an attachment says which disk it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// By the name of a PersistentVolume.
    Volume(Box<str>),
    /// Itself: volumes in a pod's own text, from before CSI.
    Inline {
        /// The id of the disk.
        volume_id: Box<str>,
        /// Whether it shall be read-only.
        is_read_only: bool,
    },
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in Kubernetes.
    pub name: Arc<str>,
    /// `spec.providerID`: in Azure `azure://` and the VM's id; empty if nobody has set it.
    pub provider_id: Box<str>,
    /// Whether its kubelet says, and is heard saying, that it is well.
    pub is_ready: bool,
    /// Its taints.
    pub taints: Box<[Taint]>,
}

impl Node {
    /// Whether somebody has vouched that the machine is down and its volumes may be taken from it.
    pub fn is_out_of_service(&self) -> bool {
        self.taints.iter().any(|taint| &*taint.key == "node.kubernetes.io/out-of-service")
    }
}

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Such as `node.kubernetes.io/out-of-service`.
    pub key: Arc<str>,
    /// Often empty.
    pub value: Arc<str>,
    /// NoSchedule, PreferNoSchedule, NoExecute.
    pub effect: Arc<str>,
}

/// What a kubelet says of this driver on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsiNode {
    /// The node's name in Kubernetes.
    pub name: Arc<str>,
    /// The node's id as the driver told it.
    pub node_id: Arc<str>,
}

/// A PersistentVolume on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name in Kubernetes.
    pub name: Box<str>,
    /// The id of the disk.
    pub volume_id: Box<str>,
    /// Whether it is attached read-only wherever it is.
    pub is_read_only: bool,
    /// Of the id without case, so that a disk is looked up by comparing numbers.
    pub(super) folded: u64,
}

impl Volume {
    /// The PersistentVolume `name` on the disk `volume_id`.
    pub fn new(name: impl Into<Box<str>>, volume_id: impl Into<Box<str>>, is_read_only: bool) -> Volume {
        let volume_id = volume_id.into();
        let folded = fold(&volume_id);
        Volume { name: name.into(), volume_id, is_read_only, folded }
    }
}

/// A number that is the same for ids that differ in case only.
pub(super) fn fold(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for byte in id.bytes() {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.finish()
}
