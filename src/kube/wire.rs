//! Kubernetes' objects as they come, borrowed from the answer, with the few fields that somebody here reads.
//! One shape serves all kinds: no field means two things. Anything may be missing, or null, as Go writes lists
//! that are not there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

/// A text that is copied only where it has escapes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct List<'a> {
    #[serde(borrow)]
    pub(super) metadata: ListMetadata<'a>,
    #[serde(borrow)]
    pub(super) items: Option<Vec<Object<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata<'a> {
    #[serde(borrow)]
    pub(super) resource_version: Option<Text<'a>>,
    #[serde(borrow, rename = "continue")]
    pub(super) next: Option<Text<'a>>,
}

/// The type of a line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK, ERROR.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) what: Text<'a>,
}

/// A line that is not an ERROR.
#[derive(Debug, Deserialize)]
pub(super) struct Happened<'a> {
    #[serde(borrow)]
    pub(super) object: Object<'a>,
}

/// A line that is an ERROR.
#[derive(Debug, Deserialize)]
pub(super) struct Failed<'a> {
    #[serde(borrow)]
    pub(super) object: Status<'a>,
}

/// How the API says no.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status<'a> {
    pub(super) code: Option<u16>,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Object<'a> {
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
    #[serde(borrow)]
    pub(super) spec: Option<Spec<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<State<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) resource_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) deletion_timestamp: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec<'a> {
    // VolumeAttachment
    #[serde(borrow)]
    pub(super) attacher: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) node_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) source: Option<AttachmentSource<'a>>,
    // Node
    #[serde(borrow, rename = "providerID")]
    pub(super) provider_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) taints: Option<Vec<WireTaint<'a>>>,
    // CSINode
    #[serde(borrow)]
    pub(super) drivers: Option<Vec<Driver<'a>>>,
    // PersistentVolume
    #[serde(borrow)]
    pub(super) csi: Option<Csi<'a>>,
    #[serde(borrow)]
    pub(super) azure_disk: Option<AzureDisk<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttachmentSource<'a> {
    #[serde(borrow)]
    pub(super) persistent_volume_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) inline_volume_spec: Option<Inline<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inline<'a> {
    #[serde(borrow)]
    pub(super) csi: Option<Csi<'a>>,
    #[serde(borrow)]
    pub(super) azure_disk: Option<AzureDisk<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Csi<'a> {
    #[serde(borrow)]
    pub(super) driver: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) volume_handle: Option<Text<'a>>,
    pub(super) read_only: Option<bool>,
}

/// A volume from before CSI, which Kubernetes hands to this driver all the same.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AzureDisk<'a> {
    #[serde(borrow, rename = "diskURI")]
    pub(super) disk: Option<Text<'a>>,
    pub(super) read_only: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireTaint<'a> {
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) value: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) effect: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Driver<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, rename = "nodeID")]
    pub(super) node_id: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State<'a> {
    // VolumeAttachment
    pub(super) attached: Option<bool>,
    #[serde(borrow)]
    pub(super) attachment_metadata: Option<BTreeMap<Text<'a>, Text<'a>>>,
    // Node
    #[serde(borrow)]
    pub(super) conditions: Option<Vec<Condition<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) what: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
}
