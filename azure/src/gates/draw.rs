//! The one table of which request draws from which of Azure's buckets: its policy, as the compute and the disk
//! provider group requests, and the resource whose bucket it is where a policy counts per resource. Pure.
//!
//! Sources: "Compute throttling limits" (per VM: PUT 12 and 4 a minute, GET 36 and 12; per operation 45 and 15),
//! and the names in recorded `x-ms-ratelimit-remaining-resource` headers. The disk provider counts per
//! subscription only.

use http::Method;

/// What the Resource Manager itself counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Read,
    /// POST counts as a write.
    Write,
    Delete,
}

/// A group of requests that share buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Policy {
    /// `PutVM`.
    VmPut,
    /// `AttachDetachVMDisks`: apart from `PutVM`, for standalone and scale-set VMs.
    VmAttachDetach,
    /// `UpdateVM`: PATCH and the actions.
    VmUpdate,
    VmDelete,
    /// `LowCostGet`.
    VmGet,
    /// `HighCostGet`.
    VmList,
    ScaleSetGet,
    ScaleSetList,
    ScaleSetVmPut,
    ScaleSetVmDelete,
    ScaleSetVmGet,
    ScaleSetVmList,
    /// `GetOperation` of the compute provider: counted per operation.
    Operation,
    /// `GetOperation` of the disk provider. Its header names the subscription's bucket only; it is kept apart
    /// per operation all the same, so that one refused poll does not blind the others.
    DiskOperation,
    /// `CreateUpdateDisks`.
    DiskWrite,
    /// `DeleteDisks`.
    DiskDelete,
    SnapshotWrite,
    SnapshotDelete,
    /// `LowCostGet` of the disk provider: disks and snapshots.
    DiskGet,
    /// `HighCostGet` of the disk provider.
    DiskList,
    /// Whatever else: each path of its own.
    Other,
}

/// How far a bucket reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Resource,
    Subscription,
}

impl Policy {
    /// The narrowest bucket of the policy.
    pub(crate) fn scope(self) -> Scope {
        match self {
            Policy::VmPut
            | Policy::VmAttachDetach
            | Policy::VmUpdate
            | Policy::VmDelete
            | Policy::VmGet
            | Policy::ScaleSetGet
            | Policy::ScaleSetVmPut
            | Policy::ScaleSetVmDelete
            | Policy::ScaleSetVmGet
            | Policy::ScaleSetVmList
            | Policy::Operation
            | Policy::DiskOperation
            | Policy::Other => Scope::Resource,
            Policy::VmList
            | Policy::ScaleSetList
            | Policy::DiskWrite
            | Policy::DiskDelete
            | Policy::SnapshotWrite
            | Policy::SnapshotDelete
            | Policy::DiskGet
            | Policy::DiskList => Scope::Subscription,
        }
    }
}

/// What one request draws from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) policy: Policy,
    /// Its path in lower case, without the action: Azure varies the case.
    pub(crate) resource: String,
    pub(crate) subscription: String,
    pub(crate) verb: Verb,
}

impl Draw {
    /// Of a request with this method and path (no query).
    pub(crate) fn of(method: &Method, path: &str) -> Draw {
        let path = path.trim_matches('/').to_ascii_lowercase();
        let segments: Vec<&str> = path.split('/').collect();
        let subscription = match segments.as_slice() {
            ["subscriptions", subscription, ..] => (*subscription).to_owned(),
            _ => String::new(),
        };
        let verb = match *method {
            Method::GET | Method::HEAD => Verb::Read,
            Method::DELETE => Verb::Delete,
            _ => Verb::Write,
        };
        let provider = segments.iter().position(|segment| *segment == "microsoft.compute");
        let below = provider.map_or(&[][..], |index| &segments[index + 1..]);
        let (policy, is_action) = policy(verb, method, below);
        let resource = match path.rsplit_once('/') {
            Some((resource, _)) if is_action => resource.to_owned(),
            _ => path,
        };
        Draw { policy, resource, subscription, verb }
    }
}

/// The table; and whether the last segment is an action on the resource before it.
fn policy(verb: Verb, method: &Method, below: &[&str]) -> (Policy, bool) {
    const SET: &str = "virtualmachinescalesets";
    const VMS: &str = "virtualmachines";
    const CHANGE: &str = "attachdetachdatadisks";
    let is_put = *method == Method::PUT;
    match (below, verb) {
        (["locations", _, "operations", _], _) => (Policy::Operation, false),
        (["locations", _, "diskoperations", _], _) => (Policy::DiskOperation, false),

        ([VMS], _) => (Policy::VmList, false),
        ([VMS, _], Verb::Read) => (Policy::VmGet, false),
        ([VMS, _], Verb::Delete) => (Policy::VmDelete, false),
        ([VMS, _], Verb::Write) if is_put => (Policy::VmPut, false),
        ([VMS, _], Verb::Write) => (Policy::VmUpdate, false),
        ([VMS, _, CHANGE] | [SET, _, VMS, _, CHANGE], _) => (Policy::VmAttachDetach, true),
        ([VMS, _, _], Verb::Read) => (Policy::VmGet, true),
        ([VMS, _, _], _) => (Policy::VmUpdate, true),

        ([SET], _) => (Policy::ScaleSetList, false),
        ([SET, _], Verb::Read) => (Policy::ScaleSetGet, false),
        ([SET, _, VMS], _) => (Policy::ScaleSetVmList, false),
        ([SET, _, VMS, _], Verb::Read) => (Policy::ScaleSetVmGet, false),
        ([SET, _, VMS, _], Verb::Delete) => (Policy::ScaleSetVmDelete, false),
        ([SET, _, VMS, _], Verb::Write) => (Policy::ScaleSetVmPut, false),

        (["disks" | "snapshots"], _) => (Policy::DiskList, false),
        (["disks" | "snapshots", _], Verb::Read) => (Policy::DiskGet, false),
        (["disks", _], Verb::Delete) => (Policy::DiskDelete, false),
        (["disks", ..], _) => (Policy::DiskWrite, false),
        (["snapshots", _], Verb::Delete) => (Policy::SnapshotDelete, false),
        (["snapshots", ..], _) => (Policy::SnapshotWrite, false),
        _ => (Policy::Other, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_policy() {
        const GROUP: &str = "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute";
        const PLACE: &str = "/subscriptions/S/providers/Microsoft.Compute/locations/eastus2";
        let rows = [
            ("GET", format!("{GROUP}/virtualMachines/vm"), Policy::VmGet, Verb::Read),
            ("PUT", format!("{GROUP}/virtualMachines/vm"), Policy::VmPut, Verb::Write),
            ("PATCH", format!("{GROUP}/virtualMachines/vm"), Policy::VmUpdate, Verb::Write),
            ("DELETE", format!("{GROUP}/virtualMachines/vm"), Policy::VmDelete, Verb::Delete),
            ("GET", format!("{GROUP}/virtualMachines/vm/instanceView"), Policy::VmGet, Verb::Read),
            ("POST", format!("{GROUP}/virtualMachines/vm/reapply"), Policy::VmUpdate, Verb::Write),
            (
                "POST",
                format!("{GROUP}/virtualMachines/vm/attachDetachDataDisks"),
                Policy::VmAttachDetach,
                Verb::Write,
            ),
            ("GET", format!("{GROUP}/virtualMachines"), Policy::VmList, Verb::Read),
            ("GET", format!("{GROUP}/virtualMachineScaleSets"), Policy::ScaleSetList, Verb::Read),
            ("GET", format!("{GROUP}/virtualMachineScaleSets/set"), Policy::ScaleSetGet, Verb::Read),
            (
                "GET",
                format!("{GROUP}/virtualMachineScaleSets/set/virtualMachines"),
                Policy::ScaleSetVmList,
                Verb::Read,
            ),
            (
                "GET",
                format!("{GROUP}/virtualMachineScaleSets/set/virtualMachines/0"),
                Policy::ScaleSetVmGet,
                Verb::Read,
            ),
            (
                "PUT",
                format!("{GROUP}/virtualMachineScaleSets/set/virtualMachines/0"),
                Policy::ScaleSetVmPut,
                Verb::Write,
            ),
            (
                "POST",
                format!("{GROUP}/virtualMachineScaleSets/set/virtualMachines/0/attachDetachDataDisks"),
                Policy::VmAttachDetach,
                Verb::Write,
            ),
            ("GET", format!("{PLACE}/operations/id"), Policy::Operation, Verb::Read),
            ("GET", format!("{PLACE}/DiskOperations/id"), Policy::DiskOperation, Verb::Read),
            ("GET", format!("{GROUP}/disks/d"), Policy::DiskGet, Verb::Read),
            ("PUT", format!("{GROUP}/disks/d"), Policy::DiskWrite, Verb::Write),
            ("PATCH", format!("{GROUP}/disks/d"), Policy::DiskWrite, Verb::Write),
            ("DELETE", format!("{GROUP}/disks/d"), Policy::DiskDelete, Verb::Delete),
            ("GET", format!("{GROUP}/disks"), Policy::DiskList, Verb::Read),
            ("GET", format!("{GROUP}/snapshots/s"), Policy::DiskGet, Verb::Read),
            ("PUT", format!("{GROUP}/snapshots/s"), Policy::SnapshotWrite, Verb::Write),
            ("DELETE", format!("{GROUP}/snapshots/s"), Policy::SnapshotDelete, Verb::Delete),
            ("GET", format!("{GROUP}/snapshots"), Policy::DiskList, Verb::Read),
            (
                "GET",
                "/subscriptions/S/providers/Microsoft.Compute/skus".to_owned(),
                Policy::Other,
                Verb::Read,
            ),
            ("GET", "/next".to_owned(), Policy::Other, Verb::Read),
        ];
        for (method, path, policy, verb) in rows {
            let draw = Draw::of(&method.parse().unwrap(), &path);
            assert_eq!((draw.policy, draw.verb), (policy, verb), "{method} {path}");
            assert_eq!(draw.subscription, if path == "/next" { "" } else { "s" }, "{path}");
        }
    }

    #[test]
    fn an_action_draws_from_its_resource_however_that_is_spelled() {
        let id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm";
        let post = |path: String| Draw::of(&Method::POST, &path);
        let one = post(format!("{id}/attachDetachDataDisks"));
        assert_eq!(one, post(format!("{}/ATTACHDETACHDATADISKS", id.to_uppercase())));
        assert_eq!(one.resource, id.trim_start_matches('/').to_lowercase());
    }
}
