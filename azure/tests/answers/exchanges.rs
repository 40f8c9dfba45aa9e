//! Makes the client's calls against an Azure whose answers are any bytes: what it decodes (VMs, disks, snapshots,
//! operations, errors, pages, headers) goes through the same door as in the driver. Nothing may panic or outlive
//! its deadline; what cannot be read is a typed error.
//!
//! An input is one answer, or several with a line `%%` between them; the last one is repeated for ever. An answer
//! is a status, headers, an empty line and a body. A header `call` in the first picks the call; without it, all
//! are made. The fuzz target uses this file, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azure::model::disk::{CreationData, DiskCreate, DiskCreateProperties, DiskPatch};
use azure::transport::BoxFuture;
use azure::{
    Arm, ArmSettings, AttachDisk, Caching, Deadline, DetachDisk, Disk, DiskChanges, DiskId, DiskUpdates,
    DiskWriter, Error, FirstWay, Lun, ResourceGroup, Snapshot, SnapshotCreate, SnapshotCreateProperties,
    SnapshotId, Tokens, Vm, VmId,
};
use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

/// The calls, by the names that inputs pick them by.
pub(crate) const CALLS: [&str; 15] = [
    "disk",
    "disks",
    "create_disk",
    "update_disk",
    "delete_disk",
    "settled_disk",
    "snapshot",
    "snapshots",
    "create_snapshot",
    "delete_snapshot",
    "vm",
    "find_vm",
    "change_disks",
    "full_list",
    "skus",
];

/// Every call has this long, on a clock that jumps.
const BUDGET: Duration = Duration::from_secs(20);

/// Makes the calls that the input picks; panics if the client does, or takes too long.
pub(crate) fn run(input: &[u8]) {
    let answers = read(input);
    let picked = answers[0].headers().get("call").and_then(|value| value.to_str().ok());
    for call in CALLS.iter().filter(|call| picked.is_none_or(|picked| picked == **call)) {
        let _ = make(call, answers.clone());
    }
}

/// Makes one call; what its answer or its error tells.
pub(crate) fn make(call: &str, answers: Vec<Response<Bytes>>) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    runtime.block_on(async {
        let begun = Instant::now();
        let outcome = one(call, &client(answers), begun + BUDGET).await;
        assert!(begun.elapsed() <= BUDGET, "{call} took {:?}", begun.elapsed());
        if let Err(error) = &outcome {
            assert!(!format!("{error} {error:?}").is_empty(), "an error says something");
        }
        outcome
    })
}

/// The answers of an input.
pub(crate) fn read(input: &[u8]) -> Vec<Response<Bytes>> {
    let mut answers = Vec::new();
    let mut rest = Some(input);
    while let Some(text) = rest {
        let (one, after) = cut(text, b"\n%%\n");
        answers.push(answer(one));
        rest = after;
    }
    answers
}

fn answer(text: &[u8]) -> Response<Bytes> {
    let (head, body) = match cut(text, b"\n\n") {
        (head, Some(body)) => (String::from_utf8_lossy(head).into_owned(), body),
        (body, None) => (String::new(), body),
    };
    let mut response = Response::new(Bytes::copy_from_slice(body));
    for line in head.lines() {
        if let Some(status) = line.trim().parse().ok().and_then(|code| http::StatusCode::from_u16(code).ok())
        {
            *response.status_mut() = status;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = http::HeaderName::from_bytes(name.trim().as_bytes());
        let value = http::HeaderValue::from_bytes(value.trim().as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn cut<'a>(text: &'a [u8], at: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match text.windows(at.len()).position(|window| window == at) {
        Some(start) => (&text[..start], Some(&text[start + at.len()..])),
        None => (text, None),
    }
}

fn client(answers: Vec<Response<Bytes>>) -> Arm {
    let next = AtomicUsize::new(0);
    let transport = move |_: Request<Bytes>| {
        let number = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let answer = answers[number].clone();
        async move { answer }
    };
    let Ok(endpoint) = "https://azure.test/".parse() else { panic!("no address") };
    let settings = ArmSettings {
        endpoint,
        tokens: Tokens::fixed("token"),
        observer: Arc::new(|_| ()),
        seed: 7,
        user_agent: "test".to_owned(),
    };
    Arm::new(settings, Arc::new(transport))
}

fn id<T: std::str::FromStr>(kind: &str, name: &str) -> T {
    let text = format!("/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/{kind}/{name}");
    let Ok(id) = text.parse() else { panic!("{text} is no id") };
    id
}

fn one<'a>(call: &'a str, arm: &'a Arm, by: Deadline) -> BoxFuture<'a, Result<String, Error>> {
    Box::pin(async move {
        let (disk, snapshot, vm): (DiskId, SnapshotId, VmId) =
            (id("disks", "d"), id("snapshots", "s"), id("virtualMachines", "vm"));
        let Ok(group) = ResourceGroup::new("s", "rg") else { panic!("no group") };
        match call {
            "disk" => arm.disk(&disk, by).await.map(|disk| of_disk(&disk)),
            "disks" => arm.disks(&group, by).await.map(|disks| disks.iter().map(of_disk).collect()),
            "create_disk" => arm.create_disk(&disk, &wanted_disk(), by).await.map(|disk| of_disk(&disk)),
            "update_disk" => {
                arm.update_disk(&disk, &DiskPatch::default(), by).await.map(|disk| of_disk(&disk))
            }
            "delete_disk" => arm.delete_disk(&disk, by).await.map(|()| String::new()),
            "settled_disk" => arm.settled_disk(&disk, by).await.map(|disk| of_disk(&disk)),
            "snapshot" => arm.snapshot(&snapshot, by).await.map(|one| of_snapshot(&one)),
            "snapshots" => arm.snapshots(&group, by).await.map(|all| all.iter().map(of_snapshot).collect()),
            "create_snapshot" => {
                arm.create_snapshot(&snapshot, &wanted_snapshot(), by).await.map(|one| of_snapshot(&one))
            }
            "delete_snapshot" => arm.delete_snapshot(&snapshot, by).await.map(|()| String::new()),
            "vm" => arm.vm(&vm, by).await.map(|vm| of_vm(&vm)),
            "find_vm" => arm.find_vm(&group, "aks-pool-000000", by).await.map(|vm| of_vm(&vm)),
            "change_disks" => arm.change_disks(&vm, &changes(&disk), by).await.map(|()| String::new()),
            "full_list" => {
                let updates = DiskUpdates::new(arm.clone(), FirstWay::FullList);
                updates.change(&vm, &changes(&disk), by, by).await.map(|written| format!("{written:?}"))
            }
            "skus" => arm
                .skus("s", "eastus2", by)
                .await
                .map(|skus| skus.iter().filter_map(|sku| sku.capability("MaxDataDiskCount")).collect()),
            other => panic!("{other} is no call"),
        }
    })
}

fn of_disk(disk: &Disk) -> String {
    let vm: VmId = id("virtualMachines", "vm");
    let state = disk.provisioning_state();
    format!("{:?} {} {:?} {} {state}", disk.disk_id(), disk.bytes(), disk.holders(), disk.is_held_by(&vm))
}

fn of_snapshot(snapshot: &Snapshot) -> String {
    let state = snapshot.provisioning_state();
    format!("{:?} {} {:?} {state}", snapshot.snapshot_id(), snapshot.bytes(), snapshot.source())
}

fn of_vm(vm: &Vm) -> String {
    let most = vm.size().and_then(azure::max_data_disks);
    let luns: Vec<_> = vm.data_disks().iter().map(|one| (Lun::new(one.lun), one.disk_id())).collect();
    format!("{luns:?} {most:?} {:?} {:?} {:?}", vm.vm_id(), vm.computer_name(), vm.provisioning_state())
}

fn changes(disk: &DiskId) -> DiskChanges {
    let (disk, lun) = (disk.clone(), Lun::MAX);
    let attach =
        AttachDisk { disk, lun, caching: Caching::None, disk_encryption_set: None, write_accelerator: false };
    let detach = DetachDisk { disk: id("disks", "other"), force: false };
    DiskChanges { attach: vec![attach], detach: vec![detach] }
}

fn wanted_disk() -> DiskCreate {
    DiskCreate {
        location: "eastus2".to_owned(),
        zones: Vec::new(),
        sku: None,
        tags: std::collections::BTreeMap::new(),
        properties: DiskCreateProperties {
            creation_data: CreationData::empty(),
            size: None,
            iops: None,
            mbps: None,
            max_shares: None,
            encryption: None,
            network_access_policy: None,
            public_network_access: None,
            disk_access_id: None,
            bursting_enabled: None,
        },
    }
}

fn wanted_snapshot() -> SnapshotCreate {
    SnapshotCreate {
        location: "eastus2".to_owned(),
        sku: None,
        tags: std::collections::BTreeMap::new(),
        properties: SnapshotCreateProperties {
            creation_data: CreationData::copy_of("d"),
            incremental: true,
            network_access_policy: None,
            public_network_access: None,
            disk_access_id: None,
            data_access_auth_mode: None,
        },
    }
}
