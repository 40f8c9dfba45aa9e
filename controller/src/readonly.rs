//! Publishing read-only (PUBLISH_READONLY): how it is remembered, and what a publish may do about it. Pure here;
//! `marks` writes, `turns` knows which publishes are in flight.
//!
//! Azure has no read-only attachment of a data disk: it is the node that keeps the promise. So that a volume is
//! published read-only on a node is remembered by a tag on its disk, one for each node, since a shared disk may be
//! read-only on one and writable on another. It is written before the attach and removed after the detach.
//! **Invariant:** a tag counts only while Azure shows the disk on that node's VM. A tag without the disk is what a
//! crash left, and the next publish of that pair puts it right. No tag means read-write.
//!
//! | asked | tag | on the VM | the step |
//! |---|---|---|---|
//! | as the tag says | | | go on |
//! | the other | any | no | write (or remove) the tag, go on |
//! | read-only | none | yes | ALREADY_EXISTS, unless the only wish for it is read-only: write, go on |
//! | read-write | there | yes | ALREADY_EXISTS |
//!
//! The exception is a disk that the Go driver attached: it knows no such tags.

pub(crate) mod marks;
pub(crate) mod turns;

use azure::{Disk, VmId};
use csi::Error;

use crate::cluster::{ClusterView, Standing, VolumeAttachment};
use crate::params::tags::Tags;

/// Tells the node, in the publish context, that the volume is published read-only; its value is `true`. A key of
/// this driver: a node plugin that does not know it stages as ever.
pub(crate) const READ_ONLY: &str = "azuredisk-csi-readonly";
/// What the key of such a tag begins with; the node's name follows.
const PREFIX: &str = "azuredisk-csi-readonly-on-";
/// The value of such a tag.
const VALUE: &str = "true";

/// How a volume is published on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadWrite,
    ReadOnly,
}

impl Mode {
    /// What a request asks for.
    pub(crate) fn asked(readonly: bool) -> Mode {
        if readonly { Mode::ReadOnly } else { Mode::ReadWrite }
    }

    /// In the words of a message.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Mode::ReadWrite => "read-write",
            Mode::ReadOnly => "read-only",
        }
    }
}

/// The key of a node's tag, in lower case: Azure ignores case in the keys of tags. Names of VMs and computers have
/// none of the characters that Azure forbids in them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag(String);

impl Tag {
    /// The tag of the node with this id: its name, or the ARM id of its VM.
    pub(crate) fn of(node_id: &str) -> Tag {
        let name = node_id.parse::<VmId>().map_or_else(|_| node_id.to_owned(), |vm| vm.name());
        Tag(format!("{PREFIX}{}", name.to_ascii_lowercase()))
    }

    /// How a disk with these tags is published on the node, if it is.
    pub(crate) fn mode(&self, tags: &Tags) -> Mode {
        Mode::asked(tags.keys().any(|key| self.is(key)))
    }

    /// How the disk is published on the node, if it is.
    pub(crate) fn mode_of(&self, disk: &Disk) -> Mode {
        disk.tags.as_ref().map_or(Mode::ReadWrite, |tags| self.mode(tags))
    }

    fn is(&self, key: &str) -> bool {
        key.eq_ignore_ascii_case(&self.0)
    }
}

/// Whether this document of a disk tells that nothing is going on with it, and its tag for the node is as for this mode.
pub(crate) fn is_settled(found: &Disk, node_id: &str, mode: Mode) -> bool {
    found.provisioning_state().is_terminal() && Tag::of(node_id).mode_of(found) == mode
}

/// What a publish does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The tag is as it should be.
    Go,
    /// The tag is made so.
    Write,
    /// The pair is published the other way.
    Refuse,
}

/// The table of the module.
pub(crate) fn decide(asked: Mode, tagged: Mode, is_on_vm: bool, is_sole_wish: bool) -> Step {
    match (asked, is_on_vm) {
        _ if asked == tagged => Step::Go,
        (_, false) => Step::Write,
        (Mode::ReadOnly, true) if is_sole_wish => Step::Write,
        (Mode::ReadOnly | Mode::ReadWrite, true) => Step::Refuse,
    }
}

/// Whether Kubernetes has exactly one wish for this volume on this node, and it is read-only. Without a complete
/// view nothing is concluded, nor while another attachment there is going, or may be about this disk.
pub(crate) fn is_sole_wish(view: &ClusterView, volume_id: &str, node_id: &str) -> bool {
    let Standing::Synced(cluster) = view.standing() else { return false };
    let node = cluster.node_name(node_id);
    let is_here = |one: &&&VolumeAttachment| one.node.eq_ignore_ascii_case(node);
    let claims = cluster.claims(volume_id);
    let wanting: Vec<_> = claims.wanting.iter().filter(is_here).collect();
    let is_doubtful = claims.leaving.iter().chain(&claims.unresolved).any(|one| is_here(&one));
    !is_doubtful && matches!(wanting[..], [one] if cluster.is_read_only(one) == Some(true))
}

/// A change of the tags of one disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A publish is about to attach, read-only.
    Add(Tag),
    /// A publish is about to attach, read-write.
    Remove(Tag),
    /// The disk was detached from this node's VM, if it still exists.
    Forget(Tag, Option<VmId>),
    /// The disk was detached from every VM.
    ForgetAll,
}

/// All tags of the disk after `change`; `None` if they are so already. A tag whose node's publish is in flight belongs
/// to that publish, and is not forgotten.
pub(crate) fn merged(tags: &Tags, change: &Change, is_in_flight: impl Fn(&Tag) -> bool) -> Option<Tags> {
    let mut merged = tags.clone();
    match change {
        Change::Add(tag) if tag.mode(tags) == Mode::ReadWrite => {
            merged.insert(tag.0.clone(), VALUE.to_owned());
        }
        Change::Add(_) => {}
        Change::Remove(tag) => {
            merged.retain(|key, _| !tag.is(key));
        }
        Change::Forget(tag, _) => {
            merged.retain(|key, _| !tag.is(key) || is_in_flight(tag));
        }
        Change::ForgetAll => {
            merged.retain(|key, _| {
                let key = key.to_ascii_lowercase();
                !key.starts_with(PREFIX) || is_in_flight(&Tag(key))
            });
        }
    }
    (merged != *tags).then_some(merged)
}

/// The pair is published the other way.
pub(crate) fn refusal(disk: &str, node_id: &str, vm: &VmId, asked: Mode) -> Error {
    let there = Mode::asked(asked == Mode::ReadWrite).word();
    let (asked, vm) = (asked.word(), vm.name());
    Error::exists(format!(
        "disk {disk} is attached to node {node_id} (VM {vm}) {there}, and is asked for {asked}; unpublish it there first"
    ))
}

#[cfg(test)]
mod tests;
