//! Which buckets a request draws from: one table, as data.
//!
//! Sources of the figures: Azure's pages on the limits of the resource manager and of Compute, recorded answers where the
//! pages say nothing. What neither says is an assumption, and every policy carries its own in [`Policy::assumed`]: the
//! emulator shows them, so that nobody takes them for Azure's. Without a provider's bucket, because no figure was found
//! at all: SKU lists, writes of scale sets as a whole, groups and networks.

use http::Method;

use crate::call::Call;
use crate::clock::Millis;

/// How a bucket is filled at the end of each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// So many tokens come back.
    Adds(u64),
    /// A new window begins, as full as the first.
    Anew,
}

/// What has a bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Per {
    /// Whoever calls.
    Principal,
    Subscription,
    /// The VM, scale set or operation that the path names.
    Resource,
}

/// A kind of bucket.
#[derive(Debug)]
pub(crate) struct Policy {
    /// As in the headers: a header's own name, or a name within the one that lists the provider's.
    pub(crate) name: &'static str,
    /// Most tokens.
    pub(crate) capacity: u64,
    pub(crate) fill: Fill,
    /// Length of a period.
    pub(crate) every: Millis,
    pub(crate) per: Per,
    /// What of it nobody published or recorded; empty if nothing.
    pub(crate) assumed: &'static str,
}

impl Policy {
    /// The name without what all of the resource manager's headers begin with.
    pub(crate) fn short_name(&self) -> &'static str {
        self.name.strip_prefix("x-ms-ratelimit-remaining-").unwrap_or(self.name)
    }
}

/// The resource manager: one second's tokens come back each second.
const fn second(name: &'static str, per: Per, refill: u64, capacity: u64) -> Policy {
    Policy { name, capacity, fill: Fill::Adds(refill), every: 1000, per, assumed: "" }
}

/// Compute: one minute's tokens come back each minute.
const fn minute(name: &'static str, per: Per, refill: u64, capacity: u64, assumed: &'static str) -> Policy {
    Policy { name, capacity, fill: Fill::Adds(refill), every: 60_000, per, assumed }
}

/// Disks: a window of so many minutes.
const fn window(name: &'static str, minutes: u64, capacity: u64) -> Policy {
    let (every, per, assumed) = (minutes * 60_000, Subscription, OLD_WINDOWS);
    Policy { name, capacity, fill: Fill::Anew, every, per, assumed }
}

const NAME: &str = "the name";
const ATTACH_REFILL: &str = "the refill: as PutVM. The capacity was recorded; on scale sets' VMs nothing was";
const OLD_WINDOWS: &str =
    "that it still holds: recorded in 2021, without a page that says so; snapshots share it";

use Per::{Principal, Resource, Subscription};

static READS: [Policy; 2] = [
    second("x-ms-ratelimit-remaining-subscription-reads", Principal, 25, 250),
    second("x-ms-ratelimit-remaining-subscription-global-reads", Subscription, 375, 3750),
];
static WRITES: [Policy; 2] = [
    second("x-ms-ratelimit-remaining-subscription-writes", Principal, 10, 200),
    second("x-ms-ratelimit-remaining-subscription-global-writes", Subscription, 150, 3000),
];
static DELETES: [Policy; 2] = [
    second("x-ms-ratelimit-remaining-subscription-deletes", Principal, 10, 200),
    second("x-ms-ratelimit-remaining-subscription-global-deletes", Subscription, 150, 3000),
];

static PUT_VM: [Policy; 2] = [
    minute("PutVMSubscriptionMaximum", Subscription, 500, 1500, ""),
    minute("PutVMResource", Resource, 4, 12, ""),
];
static ATTACH_DETACH: [Policy; 2] = [
    minute("AttachDetachVMDisksSubscriptionMaximum", Subscription, 500, 1500, ATTACH_REFILL),
    minute("AttachDetachVMDisksResource", Resource, 4, 12, ATTACH_REFILL),
];
static UPDATE_VM: [Policy; 2] = [
    minute("UpdateVMSubscriptionMaximum", Subscription, 500, 1500, NAME),
    minute("UpdateVMResource", Resource, 4, 12, NAME),
];
static DELETE_VM: [Policy; 2] = [
    minute("DeleteVMSubscriptionMaximum", Subscription, 500, 1500, NAME),
    minute("DeleteVMResource", Resource, 4, 12, NAME),
];
static GET_VM: [Policy; 2] = [
    minute("LowCostGetResource", Resource, 12, 36, ""),
    minute("LowCostGetSubscriptionMaximum", Subscription, 8000, 24_000, ""),
];
static LIST_VMS: [Policy; 1] = [minute("HighCostGetSubscriptionMaximum", Subscription, 300, 900, NAME)];
static GET_OPERATION: [Policy; 2] = [
    minute("GetOperationResource", Resource, 15, 45, ""),
    minute("GetOperationSubscriptionMaximum", Subscription, 5000, 15_000, ""),
];
static GET_SET: [Policy; 2] = [
    minute("GetVMScaleSetResource", Resource, 12, 36, NAME),
    minute("GetVMScaleSetSubscriptionMaximum", Subscription, 800, 2400, NAME),
];
static LIST_INSTANCES: [Policy; 2] = [
    minute("HighCostGetVMScaleSetResource", Resource, 10, 30, NAME),
    minute("HighCostGetVMScaleSetSubscriptionMaximum", Subscription, 360, 1080, NAME),
];
static UPDATE_INSTANCE: [Policy; 2] = [
    minute("UpdateVMScaleSetVMSubscriptionMaximum", Subscription, 500, 1500, NAME),
    minute("UpdateVMScaleSetVMResource", Resource, 4, 12, NAME),
];
static DELETE_INSTANCE: [Policy; 2] = [
    minute("DeleteVMScaleSetVMSubscriptionMaximum", Subscription, 500, 1500, NAME),
    minute("DeleteVMScaleSetVMResource", Resource, 4, 12, NAME),
];
static GET_INSTANCE: [Policy; 2] = [
    minute("GetVMScaleSetVMResource", Resource, 12, 36, NAME),
    minute("GetVMScaleSetVMSubscriptionMaximum", Subscription, 2000, 6000, NAME),
];

static PUT_DISK: [Policy; 2] =
    [window("CreateUpdateDisks3Min", 3, 1000), window("CreateUpdateDisks30Min", 30, 8000)];
static DELETE_DISK: [Policy; 2] =
    [window("DeleteDisks3Min", 3, 3000), window("DeleteDisks30Min", 30, 24_000)];
static GET_DISK: [Policy; 2] = [window("LowCostGet3Min", 3, 15_000), window("LowCostGet30Min", 30, 120_000)];
static LIST_DISKS: [Policy; 2] = [window("HighCostGet3Min", 3, 240), window("HighCostGet30Min", 30, 1920)];
static GET_DISK_OPERATION: [Policy; 2] =
    [window("GetOperation3Min", 3, 50_000), window("GetOperation30Min", 30, 400_000)];

/// The resource manager's, which every request draws from.
static GATEWAY: [&[Policy]; 3] = [&READS, &WRITES, &DELETES];

/// The providers'.
static PROVIDERS: [&[Policy]; 17] = [
    &PUT_VM,
    &ATTACH_DETACH,
    &UPDATE_VM,
    &DELETE_VM,
    &GET_VM,
    &LIST_VMS,
    &GET_OPERATION,
    &GET_SET,
    &LIST_INSTANCES,
    &UPDATE_INSTANCE,
    &DELETE_INSTANCE,
    &GET_INSTANCE,
    &PUT_DISK,
    &DELETE_DISK,
    &GET_DISK,
    &LIST_DISKS,
    &GET_DISK_OPERATION,
];

/// Every policy.
pub(crate) fn all() -> impl Iterator<Item = &'static Policy> {
    GATEWAY.into_iter().chain(PROVIDERS).flatten()
}

/// The policy of this name, whatever its case; `subscription-reads` is name enough.
pub(crate) fn named(name: &str) -> Option<&'static Policy> {
    all().find(|policy| {
        policy.name.eq_ignore_ascii_case(name) || policy.short_name().eq_ignore_ascii_case(name)
    })
}

/// The resource manager's buckets for `call`: the principal's, then the subscription's.
pub(crate) fn of_gateway(call: &Call) -> &'static [Policy] {
    match call.method {
        Method::GET | Method::HEAD => &READS,
        Method::DELETE => &DELETES,
        _ => &WRITES,
    }
}

/// The provider's buckets for `call`, in the order in which its header names them.
pub(crate) fn of_provider(call: &Call) -> &'static [Policy] {
    match call.shape().as_slice() {
        [_, _, "providers", "microsoft.compute", "locations", _, "operations", _] => &GET_OPERATION,
        [_, _, "providers", "microsoft.compute", "locations", _, "diskoperations", _] => &GET_DISK_OPERATION,
        [_, _, "providers", "microsoft.compute", kind]
        | [_, _, "resourcegroups", _, "providers", "microsoft.compute", kind] => of_list(kind),
        [_, _, "resourcegroups", _, "providers", "microsoft.compute", rest @ ..] => {
            of_resource(&call.method, rest)
        }
        _ => &[],
    }
}

fn of_list(kind: &str) -> &'static [Policy] {
    match kind {
        "disks" | "snapshots" => &LIST_DISKS,
        "virtualmachines" => &LIST_VMS,
        "virtualmachinescalesets" => &LIST_INSTANCES[1..],
        _ => &[],
    }
}

fn of_resource(method: &Method, rest: &[&str]) -> &'static [Policy] {
    match (method, rest) {
        (&Method::GET, ["disks" | "snapshots", ..]) => &GET_DISK,
        (&Method::DELETE, ["disks" | "snapshots", ..]) => &DELETE_DISK,
        (_, ["disks" | "snapshots", ..]) => &PUT_DISK,
        (_, [.., "attachdetachdatadisks"]) => &ATTACH_DETACH,
        (&Method::GET, ["virtualmachines", ..]) => &GET_VM,
        (&Method::PUT, ["virtualmachines", _]) => &PUT_VM,
        (&Method::DELETE, ["virtualmachines", _]) | (_, ["virtualmachines", _, "deallocate"]) => &DELETE_VM,
        (_, ["virtualmachines", ..]) => &UPDATE_VM,
        (&Method::GET, ["virtualmachinescalesets", _]) => &GET_SET,
        (&Method::GET, ["virtualmachinescalesets", _, "virtualmachines"]) => &LIST_INSTANCES,
        (&Method::GET, ["virtualmachinescalesets", _, "virtualmachines", ..]) => &GET_INSTANCE,
        (&Method::DELETE, ["virtualmachinescalesets", _, "virtualmachines", _])
        | (_, ["virtualmachinescalesets", _, "virtualmachines", _, "deallocate"]) => &DELETE_INSTANCE,
        (_, ["virtualmachinescalesets", _, "virtualmachines", ..]) => &UPDATE_INSTANCE,
        _ => &[],
    }
}

/// Whose bucket of `policy` the call draws from; empty if all share one.
pub(crate) fn scope(policy: &Policy, call: &Call, principal: &str) -> String {
    match policy.per {
        Principal => principal.to_owned(),
        Subscription => String::new(),
        Resource => {
            let is_instance = call.lower.get(8).is_some_and(|kind| kind == "virtualmachines");
            let length = call.lower.len().min(if is_instance && call.lower.len() > 9 { 10 } else { 8 });
            format!("/{}", call.lower[..length].join("/"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use http::Request;

    use super::*;

    #[track_caller]
    fn check(line: &str, buckets: &[(&str, &str)]) {
        let (method, path) = line.split_once(' ').unwrap();
        let uri = format!("http://h/subscriptions/s/{path}?api-version=2025-04-01");
        let call = Call::new(Request::builder().method(method).uri(uri).body(Bytes::new()).unwrap());
        let found: Vec<_> =
            of_provider(&call).iter().map(|policy| (policy.name, scope(policy, &call, "me"))).collect();
        let wanted: Vec<_> = buckets
            .iter()
            .map(|(name, end)| match *end {
                "" => (*name, String::new()),
                end => (*name, format!("/subscriptions/s/{end}")),
            })
            .collect();
        assert_eq!(found, wanted, "{line}");
    }

    #[test]
    fn each_request_draws_from_the_buckets_that_azure_names() {
        let compute = |rest: &str| format!("resourceGroups/G/providers/Microsoft.Compute/{rest}");
        let vm = &compute("virtualMachines/n").to_lowercase();
        let instance = &compute("virtualMachineScaleSets/ss/virtualMachines/3").to_lowercase();
        let set = &compute("virtualMachineScaleSets/ss").to_lowercase();
        let operation = "providers/microsoft.compute/locations/l/operations/o";
        let put = [("PutVMSubscriptionMaximum", ""), ("PutVMResource", vm)];
        let delta = "AttachDetachVMDisksResource";
        let all_deltas = ("AttachDetachVMDisksSubscriptionMaximum", "");
        let update = [("UpdateVMSubscriptionMaximum", ""), ("UpdateVMResource", vm)];
        let delete = [("DeleteVMSubscriptionMaximum", ""), ("DeleteVMResource", vm)];
        let get = [("LowCostGetResource", vm.as_str()), ("LowCostGetSubscriptionMaximum", "")];
        let disks = [("CreateUpdateDisks3Min", ""), ("CreateUpdateDisks30Min", "")];
        for (line, buckets) in [
            ("PUT virtualMachines/n", put.as_slice()),
            ("POST virtualMachines/n/attachDetachDataDisks", &[all_deltas, (delta, vm)]),
            ("PATCH virtualMachines/n", &update),
            ("POST virtualMachines/n/start", &update),
            ("POST virtualMachines/n/deallocate", &delete),
            ("DELETE virtualMachines/n", &delete),
            ("GET virtualMachines/n", &get),
            ("GET virtualMachines/n/instanceView", &get),
            ("GET virtualMachines", &[("HighCostGetSubscriptionMaximum", "")]),
            ("PUT disks/d", &disks),
            ("PATCH snapshots/d", &disks),
            ("GET disks/d", &[("LowCostGet3Min", ""), ("LowCostGet30Min", "")]),
            ("DELETE disks/d", &[("DeleteDisks3Min", ""), ("DeleteDisks30Min", "")]),
            ("GET disks", &[("HighCostGet3Min", ""), ("HighCostGet30Min", "")]),
            ("GET virtualMachineScaleSets", &[("HighCostGetVMScaleSetSubscriptionMaximum", "")]),
            (
                "GET virtualMachineScaleSets/ss/virtualMachines",
                &[("HighCostGetVMScaleSetResource", set), ("HighCostGetVMScaleSetSubscriptionMaximum", "")],
            ),
            (
                "GET virtualMachineScaleSets/ss/virtualMachines/3/instanceView",
                &[("GetVMScaleSetVMResource", instance), ("GetVMScaleSetVMSubscriptionMaximum", "")],
            ),
            (
                "PUT virtualMachineScaleSets/ss/virtualMachines/3",
                &[("UpdateVMScaleSetVMSubscriptionMaximum", ""), ("UpdateVMScaleSetVMResource", instance)],
            ),
            (
                "DELETE virtualMachineScaleSets/ss/virtualMachines/3",
                &[("DeleteVMScaleSetVMSubscriptionMaximum", ""), ("DeleteVMScaleSetVMResource", instance)],
            ),
            (
                "POST virtualMachineScaleSets/ss/virtualMachines/3/attachDetachDataDisks",
                &[all_deltas, (delta, instance)],
            ),
            ("PUT virtualMachineScaleSets/ss", &[]),
        ] {
            let (method, path) = line.split_once(' ').unwrap();
            check(&format!("{method} {}", compute(path)), buckets);
        }
        check(
            "GET providers/Microsoft.Compute/locations/l/operations/o",
            &[("GetOperationResource", operation), ("GetOperationSubscriptionMaximum", "")],
        );
        check(
            "GET providers/Microsoft.Compute/locations/l/DiskOperations/o",
            &[("GetOperation3Min", ""), ("GetOperation30Min", "")],
        );
        check("GET providers/Microsoft.Compute/skus", &[]);
        check("GET resourceGroups/G", &[]);
    }

    #[test]
    fn every_policy_has_a_name_of_its_own() {
        let names: BTreeSet<_> = all().map(|policy| policy.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|policy| policy.capacity > 0 && policy.every > 0));
    }
}
