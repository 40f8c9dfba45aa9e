//! From Kubernetes' objects to the facts of the view, and which of them are ours at all: pure. Texts that repeat
//! from object to object are shared, so that ten thousand attachments stay small.

use std::collections::HashSet;
use std::sync::Arc;

use controller::cluster::{CsiNode, Fact, Kind, Node, Source, Taint, Volume, VolumeAttachment};

use super::wire::{AzureDisk, Csi, Object, Spec, Text};

/// To this driver alone Kubernetes hands the volumes of its old built-in driver.
const HEIR: &str = "disk.csi.azure.com";

/// So few shared texts are not worth a look.
const FEW: usize = 1024;

/// Where the lists of a kind are.
pub(super) fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::VolumeAttachments => "/apis/storage.k8s.io/v1/volumeattachments",
        Kind::Nodes => "/api/v1/nodes",
        Kind::CsiNodes => "/apis/storage.k8s.io/v1/csinodes",
        Kind::Volumes => "/api/v1/persistentvolumes",
    }
}

/// Objects per page: about a MiB of text. A Node is long, it lists its images.
pub(super) fn page_size(kind: Kind) -> u32 {
    if kind == Kind::Nodes { 50 } else { 500 }
}

/// What roles and metrics call a kind.
pub(crate) fn resource(kind: Kind) -> &'static str {
    match kind {
        Kind::VolumeAttachments => "volumeattachments.storage.k8s.io",
        Kind::Nodes => "nodes",
        Kind::CsiNodes => "csinodes.storage.k8s.io",
        Kind::Volumes => "persistentvolumes",
    }
}

/// What Kubernetes calls the objects of a kind.
pub(super) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::VolumeAttachments => "VolumeAttachments",
        Kind::Nodes => "Nodes",
        Kind::CsiNodes => "CSINodes",
        Kind::Volumes => "PersistentVolumes",
    }
}

/// Makes the facts of one driver.
#[derive(Debug)]
pub(super) struct Facts {
    driver: String,
    shared: HashSet<Arc<str>>,
    /// At so many shared texts those that no fact has any more are looked for.
    sweep_at: usize,
}

impl Facts {
    pub(super) fn new(driver: impl Into<String>) -> Facts {
        Facts { driver: driver.into(), shared: HashSet::new(), sweep_at: FEW }
    }

    /// The fact that `object` is; `None` if it is not about this driver.
    pub(super) fn fact(&mut self, kind: Kind, object: &Object<'_>) -> Option<Fact> {
        let name = object.metadata.name.as_deref()?;
        let none = Spec::default();
        let spec = object.spec.as_ref().unwrap_or(&none);
        match kind {
            Kind::VolumeAttachments => self.attachment(name, object, spec).map(Fact::VolumeAttachment),
            Kind::Nodes => Some(Fact::Node(self.node(name, object, spec))),
            Kind::CsiNodes => {
                let ours = |name: &Option<Text<'_>>| name.as_deref() == Some(&*self.driver);
                let driver = spec.drivers.iter().flatten().find(|driver| ours(&driver.name))?;
                let node_id = driver.node_id.as_deref().unwrap_or_default().to_owned();
                Some(Fact::CsiNode(CsiNode { name: self.share(name), node_id: self.share(&node_id) }))
            }
            Kind::Volumes => {
                let (volume_id, is_read_only) = self.disk(spec.csi.as_ref(), spec.azure_disk.as_ref())?;
                Some(Fact::Volume(Volume::new(name, volume_id, is_read_only)))
            }
        }
    }

    fn attachment(&mut self, name: &str, object: &Object<'_>, spec: &Spec<'_>) -> Option<VolumeAttachment> {
        if spec.attacher.as_deref() != Some(&*self.driver) {
            return None;
        }
        let source = spec.source.as_ref();
        let inline = source.and_then(|source| source.inline_volume_spec.as_ref());
        let inline = inline.and_then(|inline| self.disk(inline.csi.as_ref(), inline.azure_disk.as_ref()));
        // Without a name as well it is about a disk that cannot be told: no PersistentVolume is called "".
        let volume = source.and_then(|source| source.persistent_volume_name.as_deref()).unwrap_or_default();
        let source = match inline {
            Some((volume_id, is_read_only)) => Source::Inline { volume_id: volume_id.into(), is_read_only },
            None => Source::Volume(volume.into()),
        };
        let status = object.status.as_ref();
        let metadata = status.and_then(|status| status.attachment_metadata.as_ref());
        let metadata =
            metadata.into_iter().flatten().map(|(key, value)| (self.share(key), self.share(value)));
        let metadata = metadata.collect();
        Some(VolumeAttachment {
            name: name.into(),
            source,
            node: self.share(spec.node_name.as_deref().unwrap_or_default()),
            is_attached: status.and_then(|status| status.attached).unwrap_or(false),
            is_detach_wanted: object.metadata.deletion_timestamp.is_some(),
            metadata,
        })
    }

    fn node(&mut self, name: &str, object: &Object<'_>, spec: &Spec<'_>) -> Node {
        let conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let is_ready = conditions
            .filter(|condition| condition.what.as_deref() == Some("Ready"))
            .any(|condition| condition.status.as_deref() == Some("True"));
        let mut share = |text: &Option<Text<'_>>| self.share(text.as_deref().unwrap_or_default());
        let taints = spec.taints.iter().flatten();
        let taints = taints.map(|taint| Taint {
            key: share(&taint.key),
            value: share(&taint.value),
            effect: share(&taint.effect),
        });
        let taints = taints.collect();
        let provider_id = spec.provider_id.as_deref().unwrap_or_default().into();
        Node { name: self.share(name), provider_id, is_ready, taints }
    }

    /// The disk that a volume is on, and whether it is read-only, if this driver serves it.
    fn disk<'a>(&self, csi: Option<&'a Csi<'_>>, old: Option<&'a AzureDisk<'_>>) -> Option<(&'a str, bool)> {
        if let Some(csi) = csi {
            let is_ours = csi.driver.as_deref() == Some(&*self.driver);
            return is_ours.then_some((csi.volume_handle.as_deref()?, csi.read_only.unwrap_or(false)));
        }
        let old = old.filter(|_| self.driver == HEIR)?;
        Some((old.disk.as_deref()?, old.read_only.unwrap_or(false)))
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.shared.get(text) {
            return Arc::clone(known);
        }
        // Names of nodes come and go as long as the process lives; a watch may never be followed by a list.
        if self.shared.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = (2 * self.shared.len()).max(FEW);
        }
        let new: Arc<str> = text.into();
        self.shared.insert(Arc::clone(&new));
        new
    }

    /// Forgets texts that no fact has any more.
    pub(super) fn sweep(&mut self) {
        self.shared.retain(|text| Arc::strong_count(text) > 1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fact(kind: Kind, object: &Value) -> Option<Fact> {
        let text = object.to_string();
        Facts::new(HEIR).fact(kind, &serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn attachments_of_this_driver() {
        let attachment = |attacher: &str, source: Value| {
            json!({"metadata": {"name": "csi-1", "deletionTimestamp": null, "managedFields": [{"manager": "x"}]},
                "spec": {"attacher": attacher, "nodeName": "node-a", "source": source},
                "status": {"attached": true, "attachmentMetadata": {"LUN": "3", "a": "\u{e9}\n"}}})
        };
        let by_name = attachment(HEIR, json!({"persistentVolumeName": "pvc-1"}));
        let wanted = VolumeAttachment {
            name: "csi-1".into(),
            source: Source::Volume("pvc-1".into()),
            node: "node-a".into(),
            is_attached: true,
            is_detach_wanted: false,
            metadata: [("LUN".into(), "3".into()), ("a".into(), "é\n".into())].into(),
        };
        assert_eq!(fact(Kind::VolumeAttachments, &by_name), Some(Fact::VolumeAttachment(wanted)));
        let other = attachment("ebs.csi.aws.com", json!({"persistentVolumeName": "pvc-1"}));
        assert_eq!(fact(Kind::VolumeAttachments, &other), None);
        let source = |source: Value| match fact(Kind::VolumeAttachments, &attachment(HEIR, source)) {
            Some(Fact::VolumeAttachment(one)) => one.source,
            other => panic!("{other:?}"),
        };
        let inline = |id: &str, is_read_only| Source::Inline { volume_id: id.into(), is_read_only };
        let csi = json!({"driver": HEIR, "volumeHandle": "/d", "readOnly": true});
        assert_eq!(source(json!({"inlineVolumeSpec": {"csi": csi}})), inline("/d", true));
        assert_eq!(
            source(json!({"inlineVolumeSpec": {"azureDisk": {"diskURI": "/e"}}})),
            inline("/e", false)
        );
        assert_eq!(source(json!({})), Source::Volume("".into()), "it is about some disk");
    }

    #[test]
    fn an_attachment_that_nobody_has_worked_on() {
        let bare = json!({"metadata": {"name": "csi-1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"attacher": HEIR, "nodeName": "a", "source": {"persistentVolumeName": "v"}}});
        let Some(Fact::VolumeAttachment(found)) = fact(Kind::VolumeAttachments, &bare) else { panic!() };
        assert_eq!((found.is_attached, found.is_detach_wanted, found.metadata.len()), (false, true, 0));
    }

    #[test]
    fn nodes() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"providerID": "azure:///x",
            "taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": "Unknown"}]}});
        let Some(Fact::Node(node)) = fact(Kind::Nodes, &object) else { panic!() };
        assert_eq!(
            (&*node.provider_id, node.is_ready, node.is_out_of_service()),
            ("azure:///x", false, true)
        );
        let Some(Fact::Node(bare)) =
            fact(Kind::Nodes, &json!({"metadata": {"name": "b"}, "spec": {"taints": null}}))
        else {
            panic!()
        };
        assert_eq!((&*bare.provider_id, bare.is_ready, bare.is_out_of_service()), ("", false, false));
    }

    #[test]
    fn csi_nodes_and_volumes_of_this_driver() {
        let csi_node = |drivers: Value| json!({"metadata": {"name": "a"}, "spec": {"drivers": drivers}});
        let ours = csi_node(json!([{"name": "x", "nodeID": "1"}, {"name": HEIR, "nodeID": "2"}]));
        let wanted = CsiNode { name: "a".into(), node_id: "2".into() };
        assert_eq!(fact(Kind::CsiNodes, &ours), Some(Fact::CsiNode(wanted)));
        for drivers in [Value::Null, json!([]), json!([{"name": "x", "nodeID": "1"}])] {
            assert_eq!(fact(Kind::CsiNodes, &csi_node(drivers)), None);
        }
        let volume = |spec: Value| fact(Kind::Volumes, &json!({"metadata": {"name": "v"}, "spec": spec}));
        let wanted = |id: &str, is_read_only| Some(Fact::Volume(Volume::new("v", id, is_read_only)));
        assert_eq!(volume(json!({"csi": {"driver": HEIR, "volumeHandle": "/d"}})), wanted("/d", false));
        assert_eq!(volume(json!({"azureDisk": {"diskURI": "/d", "readOnly": true}})), wanted("/d", true));
        assert_eq!(volume(json!({"csi": {"driver": "x", "volumeHandle": "/d"}})), None);
        assert_eq!(volume(json!({"nfs": {"server": "x"}})), None);
    }

    #[test]
    fn texts_that_repeat_are_shared_and_forgotten() {
        let mut facts = Facts::new(HEIR);
        let (one, other) = (facts.share("node-a"), facts.share("node-a"));
        assert!(Arc::ptr_eq(&one, &other));
        facts.share("node-b");
        facts.sweep();
        assert_eq!(facts.shared.len(), 1);
        let kept: Vec<_> = (0..2000).map(|number| facts.share(&format!("kept-{number}"))).collect();
        for number in 0..10_000 {
            facts.share(&format!("gone-{number}"));
            assert!(facts.shared.len() <= 4 * FEW, "texts of nobody stay: {}", facts.shared.len());
        }
        assert!(Arc::ptr_eq(&kept[7], &facts.share("kept-7")));
    }
}
