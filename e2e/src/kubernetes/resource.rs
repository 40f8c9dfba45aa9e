//! The kinds that the server has, and what the path of a request names.

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Node.
    Nodes,
    /// CSINode.
    CsiNodes,
    /// VolumeAttachment.
    VolumeAttachments,
    /// PersistentVolume.
    PersistentVolumes,
    /// PersistentVolumeClaim.
    PersistentVolumeClaims,
    /// Secret.
    Secrets,
    /// Event.
    Events,
}

/// Kind, its word in paths, the head of its paths, whether its objects are in namespaces, its own name.
const ROWS: [(Resource, &str, &str, bool, &str); 7] = [
    (Resource::Nodes, "nodes", "/api/v1", false, "Node"),
    (Resource::CsiNodes, "csinodes", "/apis/storage.k8s.io/v1", false, "CSINode"),
    (Resource::VolumeAttachments, "volumeattachments", "/apis/storage.k8s.io/v1", false, "VolumeAttachment"),
    (Resource::PersistentVolumes, "persistentvolumes", "/api/v1", false, "PersistentVolume"),
    (Resource::PersistentVolumeClaims, "persistentvolumeclaims", "/api/v1", true, "PersistentVolumeClaim"),
    (Resource::Secrets, "secrets", "/api/v1", true, "Secret"),
    (Resource::Events, "events", "/api/v1", true, "Event"),
];

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: Resource,
    /// Empty: all, or none.
    pub(super) namespace: String,
    /// `None`: the list.
    pub(super) name: Option<String>,
}

impl Target {
    /// Reads a path; `/status` at its end is the object itself, as patches of both are alike here.
    pub(super) fn of_path(path: &str) -> Option<Target> {
        let row = |word: &str, is_namespaced: bool| {
            ROWS.iter().find(|row| {
                row.1 == word && path.starts_with(&format!("{}/", row.2)) && (row.3 || !is_namespaced)
            })
        };
        let head = ROWS.iter().map(|row| row.2).find(|head| path.starts_with(&format!("{head}/")))?;
        let mut parts: Vec<&str> = path[head.len() + 1..].split('/').collect();
        let mut namespace = "";
        if let ["namespaces", name, _, ..] = parts[..] {
            namespace = name;
            parts.drain(..2);
        }
        let (word, name) = match parts[..] {
            [word] => (word, None),
            [word, name] | [word, name, "status"] => (word, Some(name.to_owned())),
            _ => return None,
        };
        let resource = row(word, !namespace.is_empty())?.0;
        Some(Target { resource, namespace: namespace.to_owned(), name })
    }
}

impl Resource {
    fn row(self) -> &'static (Resource, &'static str, &'static str, bool, &'static str) {
        // Every kind has a row: a test looks.
        ROWS.iter().find(|row| row.0 == self).unwrap_or(&ROWS[0])
    }

    /// Such as `CSINode`.
    pub fn kind(self) -> &'static str {
        self.row().4
    }

    /// Such as `csinodes`.
    pub(super) fn plural(self) -> &'static str {
        self.row().1
    }

    /// Such as `storage.k8s.io/v1`.
    pub(super) fn api_version(self) -> &'static str {
        self.row().2.trim_start_matches("/apis/").trim_start_matches("/api/")
    }

    /// Under which key an object is kept.
    pub(super) fn key(self, namespace: &str, name: &str) -> String {
        if self.row().3 { format!("{namespace}/{name}") } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_paths_name() {
        for row in ROWS {
            assert_eq!((row.0.kind(), row.0.row().1), (row.4, row.1));
        }
        let named = |path: &str| {
            Target::of_path(path)
                .map(|found| (found.resource.kind(), found.namespace, found.name.unwrap_or_default()))
        };
        let is = |kind, namespace: &str, name: &str| Some((kind, namespace.to_owned(), name.to_owned()));
        assert_eq!(named("/api/v1/nodes"), is("Node", "", ""));
        assert_eq!(named("/apis/storage.k8s.io/v1/csinodes/a"), is("CSINode", "", "a"));
        assert_eq!(named("/api/v1/namespaces/n/events"), is("Event", "n", ""));
        assert_eq!(named("/api/v1/namespaces/n/secrets/s"), is("Secret", "n", "s"));
        assert_eq!(
            named("/apis/storage.k8s.io/v1/volumeattachments/a/status"),
            is("VolumeAttachment", "", "a")
        );
        for path in ["/api/v1/csinodes", "/api/v1/namespaces/n/nodes", "/healthz", "/api/v1/nodes/a/b"] {
            assert_eq!(named(path), None, "{path}");
        }
        assert_eq!(Resource::CsiNodes.api_version(), "storage.k8s.io/v1");
        assert_eq!(Resource::Nodes.api_version(), "v1");
    }
}
