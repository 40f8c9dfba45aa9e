//! What the controller may know of Kubernetes, as plain data: who wants which disk on which node, which LUNs
//! were promised, which nodes there are. Whoever has an API (the root package) keeps a [`ClusterView`] in a
//! watch channel and changes it as events come; a verb takes a cheap clone and asks it, without any request.
//!
//! **Invariants:** a view that is not complete yet cannot be asked: only [`Standing::Synced`] gives the
//! [`Cluster`]. What cannot be told is said so ([`Claims::unresolved`]), never left out as if it were not there.
//! It is not the truth: it lags behind Kubernetes by a moment, and by more while it is cut off.
//!
//! ```text
//! no API configured: Absent            with one: NotYet ──every kind was listed──▶ Synced (stays so;
//!                                                                 Cluster::cut_since tells of outages)
//! ```

mod facts;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use azure::{Lun, VmId};
use tokio::time::Instant;

pub use facts::{CsiNode, Fact, Kind, Node, Source, Taint, Volume, VolumeAttachment};
use facts::{Placed, fold};
use table::Table;

/// Where the LUN is in the metadata of an attachment: the publish context of this driver and of the Go driver.
const LUN: &str = "LUN";
/// What `spec.providerID` of a node in Azure starts with; the VM's id follows.
const PROVIDER: &str = "azure://";

/// The state of Kubernetes as far as the controller wants it; a clone costs one reference count.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// `None`: no API is configured.
    cluster: Option<Arc<Cluster>>,
}

/// What a view is good for.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// No Kubernetes API is configured, and none will be: Azure's view is all there is.
    Absent,
    /// There is an API, and not everything has been read yet: any conclusion would be a guess.
    NotYet,
    /// Everything was read, and is followed since.
    Synced(&'a Cluster),
}

/// One change of the view, as the feed of one kind tells it.
#[derive(Debug)]
pub enum Change {
    /// These are all objects of their kind; others are gone.
    All(Kind, Vec<Fact>),
    /// This object is so from now on.
    Is(Fact),
    /// The object with this name is gone.
    Gone(Kind, Box<str>),
    /// Changes of this kind have not been heard of since then.
    Cut(Kind, Instant),
    /// The driver may not read this kind: its account lacks the permission.
    Forbidden(Kind),
    /// Changes of this kind are heard of again.
    Heard(Kind),
}

/// All that is known of a cluster. See [`ClusterView::standing`].
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    attachments: Table<Placed>,
    nodes: Table<Node>,
    csi_nodes: Table<CsiNode>,
    volumes: Table<Volume>,
    /// By kind: whether it was listed once.
    listed: [bool; Kind::ALL.len()],
    /// By kind: since when nothing was heard of it.
    cut: [Option<Instant>; Kind::ALL.len()],
    /// By kind: whether the API server has refused it for want of a permission since it was heard of.
    forbidden: [bool; Kind::ALL.len()],
}

/// Who has to do with a disk.
#[derive(Clone, Debug, Default)]
pub struct Claims<'a> {
    /// Those that want it attached to their node.
    pub wanting: Vec<&'a VolumeAttachment>,
    /// Those that want it detached from their node, and are not done with it.
    pub leaving: Vec<&'a VolumeAttachment>,
    /// Those of which it is not known which disk they are about, because their PersistentVolume has not been
    /// seen: each of them may be about this disk. To conclude that nobody wants it, this must be empty as well.
    pub unresolved: Vec<&'a VolumeAttachment>,
}

impl ClusterView {
    /// The view of a driver without a Kubernetes API.
    pub fn absent() -> ClusterView {
        ClusterView::default()
    }

    /// The view of a driver that has an API and has not read anything yet.
    pub fn not_yet() -> ClusterView {
        ClusterView { cluster: Some(Arc::default()) }
    }

    /// What this view is good for.
    pub fn standing(&self) -> Standing<'_> {
        match &self.cluster {
            None => Standing::Absent,
            Some(cluster) if cluster.listed.iter().all(|listed| *listed) => Standing::Synced(cluster),
            Some(_) => Standing::NotYet,
        }
    }

    /// Whether the API server refuses to let this kind be read, for want of a permission. Such a view may never be
    /// complete; it is for people, who can grant it.
    pub fn is_forbidden(&self, kind: Kind) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.forbidden[kind.index()])
    }

    /// Takes a change in. Copies only what a clone still holds. An absent view stays absent.
    pub fn change(&mut self, change: Change) {
        if let Some(cluster) = &mut self.cluster {
            Arc::make_mut(cluster).change(change);
        }
    }
}

impl Cluster {
    fn change(&mut self, change: Change) {
        match change {
            Change::All(kind, facts) => {
                self.replace(kind, facts);
                self.listed[kind.index()] = true;
            }
            Change::Is(Fact::VolumeAttachment(fact)) => {
                let placed = self.placed(fact);
                self.attachments.put(placed);
            }
            Change::Is(Fact::Node(fact)) => self.nodes.put(fact),
            Change::Is(Fact::CsiNode(fact)) => self.csi_nodes.put(fact),
            Change::Is(Fact::Volume(fact)) => {
                let (name, disk) = (fact.name.clone(), fact.folded);
                let is_moved = self.volumes.get(&name).is_none_or(|known| known.folded != disk);
                self.volumes.put(fact);
                // Most changes of a volume are about something else.
                if is_moved {
                    self.place_again(Some(&name));
                }
            }
            Change::Gone(Kind::VolumeAttachments, name) => self.attachments.remove(&name),
            Change::Gone(Kind::Nodes, name) => self.nodes.remove(&name),
            Change::Gone(Kind::CsiNodes, name) => self.csi_nodes.remove(&name),
            Change::Gone(Kind::Volumes, name) if self.volumes.get(&name).is_none() => {}
            Change::Gone(Kind::Volumes, name) => {
                self.volumes.remove(&name);
                self.place_again(Some(&name));
            }
            // The first moment counts: further failures do not make it fresher.
            Change::Cut(kind, since) => {
                self.cut[kind.index()].get_or_insert(since);
            }
            Change::Forbidden(kind) => self.forbidden[kind.index()] = true,
            Change::Heard(kind) => {
                self.cut[kind.index()] = None;
                self.forbidden[kind.index()] = false;
            }
        }
    }

    fn replace(&mut self, kind: Kind, facts: Vec<Fact>) {
        match kind {
            Kind::VolumeAttachments => self.attachments = Table::default(),
            Kind::Nodes => self.nodes = Table::default(),
            Kind::CsiNodes => self.csi_nodes = Table::default(),
            Kind::Volumes => self.volumes = Table::default(),
        }
        for fact in facts {
            match fact {
                Fact::VolumeAttachment(fact) => {
                    let placed = self.placed(fact);
                    self.attachments.push(placed);
                }
                Fact::Node(fact) => self.nodes.push(fact),
                Fact::CsiNode(fact) => self.csi_nodes.push(fact),
                Fact::Volume(fact) => self.volumes.push(fact),
            }
        }
        self.attachments.settle();
        self.nodes.settle();
        self.csi_nodes.settle();
        self.volumes.settle();
        if kind == Kind::Volumes {
            self.place_again(None);
        }
    }

    /// An attachment with the disk that it is about, as far as that is known now.
    fn placed(&self, attachment: VolumeAttachment) -> Placed {
        let disk = disk(&self.volumes, &attachment.source);
        Placed { attachment, disk }
    }

    /// Looks again which disk the attachments of a volume are about; `None`: those of all volumes. Volumes come and go
    /// once, and disks are asked for all the time.
    fn place_again(&mut self, changed: Option<&str>) {
        let volumes = &self.volumes;
        self.attachments.revise(|placed| {
            let Source::Volume(name) = &placed.attachment.source else { return None };
            if changed.is_some_and(|changed| **name != *changed) {
                return None;
            }
            let disk = disk(volumes, &placed.attachment.source);
            (disk != placed.disk).then(|| Placed { attachment: placed.attachment.clone(), disk })
        });
    }

    /// Since when changes of some kind have not been heard of; `None`: all are followed. Until then the view is
    /// as it was; whoever would do harm with an old one asks this first.
    pub fn cut_since(&self) -> Option<Instant> {
        self.cut.iter().copied().flatten().min()
    }

    /// Who has to do with the disk of this volume. Ids are compared without case.
    pub fn claims(&self, volume_id: &str) -> Claims<'_> {
        let key = fold(volume_id);
        let mut claims = Claims::default();
        for Placed { attachment, disk } in self.attachments.iter() {
            let is_it = disk.map(|disk| {
                disk == key && self.volume_id(attachment).is_some_and(|id| id.eq_ignore_ascii_case(volume_id))
            });
            match is_it {
                None => claims.unresolved.push(attachment),
                Some(false) => {}
                Some(true) if attachment.is_detach_wanted => claims.leaving.push(attachment),
                Some(true) => claims.wanting.push(attachment),
            }
        }
        claims
    }

    /// The disk that an attachment is about; `None` while its PersistentVolume has not been seen.
    pub fn volume_id<'a>(&'a self, attachment: &'a VolumeAttachment) -> Option<&'a str> {
        match &attachment.source {
            Source::Inline { volume_id, .. } => Some(volume_id),
            Source::Volume(name) => self.volumes.get(name).map(|volume| &*volume.volume_id),
        }
    }

    /// Whether an attachment shall be read-only; `None` while its PersistentVolume has not been seen.
    pub fn is_read_only(&self, attachment: &VolumeAttachment) -> Option<bool> {
        match &attachment.source {
            Source::Inline { is_read_only, .. } => Some(*is_read_only),
            Source::Volume(name) => self.volumes.get(name).map(|volume| volume.is_read_only),
        }
    }

    /// The LUNs that were promised on a node, and by which attachments: of all that exist, also of those that
    /// want to be detached, because nobody has said yet that they are. Not in order; one that two attachments
    /// hold comes twice.
    pub fn luns(&self, node_id: &str) -> Vec<(Lun, &VolumeAttachment)> {
        let name = self.node_name(node_id);
        let all = self.attachments.iter().map(|placed| &placed.attachment);
        let there = all.filter(|attachment| attachment.node.eq_ignore_ascii_case(name));
        there.filter_map(|attachment| Some((lun(attachment)?, attachment))).collect()
    }

    /// The node, if Kubernetes has it.
    pub fn node(&self, node_id: &str) -> Option<&Node> {
        let name = self.node_name(node_id);
        self.nodes.get(name).or_else(|| self.nodes.get(&name.to_ascii_lowercase()))
    }

    /// The VM of a node, by its `providerID`; `None` if Kubernetes has no such node or does not know its VM.
    pub fn vm(&self, node_id: &str) -> Option<VmId> {
        self.node(node_id)?.provider_id.strip_prefix(PROVIDER)?.parse().ok()
    }

    /// What Kubernetes calls the node with this CSI id: by the CSINode that says so, else the same.
    pub fn node_name<'a>(&'a self, node_id: &'a str) -> &'a str {
        let says_so = |csi_node: &&CsiNode| csi_node.node_id.eq_ignore_ascii_case(node_id);
        let found = self.csi_nodes.get(node_id).filter(says_so);
        let found = found.or_else(|| self.csi_nodes.iter().find(says_so));
        found.map_or(node_id, |csi_node| &csi_node.name)
    }

    /// What this driver calls a node: by its CSINode, else the same. The other way round of [`Self::node_name`].
    pub fn node_id<'a>(&'a self, node_name: &'a str) -> &'a str {
        self.csi_nodes.get(node_name).map_or(node_name, |csi_node| &csi_node.node_id)
    }
}

/// [`fold`] of the disk that a source is about; `None` while its PersistentVolume has not been seen.
fn disk(volumes: &Table<Volume>, source: &Source) -> Option<u64> {
    match source {
        Source::Inline { volume_id, .. } => Some(fold(volume_id)),
        Source::Volume(name) => volumes.get(name).map(|volume| volume.folded),
    }
}

/// The LUN in an attachment's metadata.
fn lun(attachment: &VolumeAttachment) -> Option<Lun> {
    let (_, text) = attachment.metadata.iter().find(|(key, _)| key.eq_ignore_ascii_case(LUN))?;
    Lun::new(text.parse::<u8>().ok()?)
}
