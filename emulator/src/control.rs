//! The control endpoint: looking into the emulator and scripting it, as JSON below `/_emulator`. No token is asked
//! for; the program listens on loopback only.
//!
//! | call | does |
//! |---|---|
//! | `GET /_emulator` | the whole model: `counts`, `attached` (VM → LUN → disk), `addresses` (VM → subnets), `disks`, `snapshots`, `vms`, `operations`, `throttle` |
//! | `GET /_emulator/counts` | `disks` (data disks), `os_disks`, `snapshots`, `vms`, `scale_sets`, `attached`, `running` operations, `requests` |
//! | `GET /_emulator/requests` | the request log: `n`, `at`, `method`, `path`, `status`, `operation`, `accept_ms`, `operation_ms` |
//! | `DELETE /_emulator/requests` | empties the log and starts counting at 1 |
//! | `GET`, `POST`, `DELETE /_emulator/faults` | lists, adds ([`crate::Fault`] as JSON), removes all |
//! | `PUT /_emulator/latency` | `{"accept_ms", "operation_ms", "disk_ms", "copy_ms", "realistic"}`, each may be absent: durations of what is accepted from now on; `disk_ms` of disks and snapshots; `realistic` is a seed, and without it they are fixed |
//! | `PUT /_emulator/races` | `{"vm_ms", "shared_disk_ms"}`, each may be absent: how near in time two writes collide ([`crate::Races`]) |
//! | `GET`, `PUT /_emulator/throttle` | the buckets in use, and `assumed`: what of them is not Azure's word; `{"mode": "real:60"}` turns it on with full buckets |
//! | `PUT /_emulator/throttle/BUCKET` | `{"remaining", "scope", "others"}`, each may be absent: so many tokens are left, in all buckets of the name or that of one VM's id; others take this share of each refill |
//! | `PUT /_emulator/clock` | `{"advance_ms"}`: skips so much time; what becomes due by it has ended when the answer comes |
//! | `PUT /_emulator/rights` | `{"id", "rights"}`: what may be done with a disk encryption set or disk access ([`crate::Rights`]) |
//! | `POST /_emulator/groups` | `{"name"}` |
//! | `POST /_emulator/vms` | `{"name", "size", "zone", "group", "addresses"}`; all but name and size may be absent; answers `{"id"}` |
//! | `PUT /_emulator/vms/NAME/addresses` | `["10.0.0.4", "10.244.1.0/24"]`: from where the VM asks for its metadata, instead of before |
//! | `DELETE /_emulator/vms/NAME` | the VM is gone at once |
//! | `POST /_emulator/scale-sets` | `{"name", "prefix", "size", "zones", "capacity", "flexible", "group"}`; answers `{"id", "vms"}` |

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::addresses::Subnet;
use crate::answer::Answer;
use crate::arm::companions::Rights;
use crate::arm::{disks, snapshots, vms};
use crate::call::Call;
use crate::clock::millis;
use crate::faults::Fault;
use crate::latency::Phase;
use crate::model::{Model, Outcome};
use crate::operation::Operation;
use crate::refusal::Refusal;
use crate::seed::{NewSet, SeedError};
use crate::throttle::{BucketError, Throttle};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Durations {
    accept_ms: Option<u64>,
    operation_ms: Option<u64>,
    disk_ms: Option<u64>,
    copy_ms: Option<u64>,
    realistic: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Windows {
    vm_ms: Option<u64>,
    shared_disk_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pace {
    mode: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRights {
    id: String,
    rights: Rights,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketChange {
    remaining: Option<u64>,
    scope: Option<String>,
    others: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    advance_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVm {
    name: String,
    size: String,
    #[serde(default)]
    zone: String,
    group: Option<String>,
    #[serde(default)]
    addresses: Vec<Subnet>,
}

/// Answers one control call.
pub(crate) fn answer(model: &mut Model, call: &Call) -> Answer {
    route(model, call).unwrap_or_else(|refusal| refusal.answer())
}

fn route(model: &mut Model, call: &Call) -> Outcome {
    match (&call.method, call.shape().as_slice()) {
        (&Method::GET, [_]) => Ok(Answer::ok(whole(model))),
        (&Method::GET, [_, "counts"]) => Ok(Answer::ok(counts(model))),
        (&Method::GET, [_, "requests"]) => Ok(Answer::ok(json!(model.log.entries))),
        (&Method::DELETE, [_, "requests"]) => {
            model.log.reset();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::GET, [_, "faults"]) => Ok(Answer::ok(json!(model.script.faults))),
        (&Method::POST, [_, "faults"]) => {
            let fault: Fault = parsed(call)?;
            model.add_fault(fault);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::DELETE, [_, "faults"]) => {
            model.script.faults.clear();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::PUT, [_, "rights"]) => {
            let asked: NewRights = parsed(call)?;
            let found = model.set_rights(&asked.id, asked.rights);
            Ok(Answer::empty(if found { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }))
        }
        (&Method::PUT, [_, "races"]) => {
            let asked: Windows = parsed(call)?;
            if let Some(ms) = asked.vm_ms {
                model.races.vm = Duration::from_millis(ms);
            }
            if let Some(ms) = asked.shared_disk_ms {
                model.races.shared_disk = Duration::from_millis(ms);
            }
            let (vm, shared_disk) = (millis(model.races.vm), millis(model.races.shared_disk));
            Ok(Answer::ok(json!({ "vm_ms": vm, "shared_disk_ms": shared_disk })))
        }
        (&Method::PUT, [_, "latency"]) => {
            let asked: Durations = parsed(call)?;
            let latency = &mut model.latency;
            for (slot, asked) in [
                (&mut latency.accept, asked.accept_ms),
                (&mut latency.operation, asked.operation_ms),
                (&mut latency.copy, asked.copy_ms),
            ] {
                *slot = asked.map_or(*slot, Duration::from_millis);
            }
            latency.disk = asked.disk_ms.map(Duration::from_millis).or(latency.disk);
            latency.spread = asked.realistic;
            let drawn = [Phase::Accept, Phase::Operation, Phase::Disk, Phase::Copy]
                .map(|phase| millis(latency.draw(phase)));
            let [accept, operation, disk, copy] = drawn;
            Ok(Answer::ok(json!({
                "accept_ms": accept, "operation_ms": operation, "disk_ms": disk, "copy_ms": copy,
                "realistic": latency.spread,
            })))
        }
        (&Method::GET, [_, "throttle"]) => {
            let now = model.clock.now();
            Ok(Answer::ok(model.throttle.view(now)))
        }
        (&Method::PUT, [_, "throttle"]) => {
            let mode =
                parsed::<Pace>(call)?.mode.parse().map_err(|error: String| Refusal::malformed(error))?;
            model.throttle = Throttle::new(mode);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::PUT, [_, "throttle", bucket]) => {
            change_bucket(model, bucket, &parsed(call)?)
                .map_err(|error| Refusal::new(400, "InvalidParameter", error.to_string()))?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::PUT, [_, "clock"]) => {
            model.clock.advance(parsed::<Skip>(call)?.advance_ms);
            model.is_dirty = true;
            model.settle();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, [_, "groups"]) => {
            model.seed_group(&parsed::<NewGroup>(call)?.name);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, [_, "vms"]) => {
            let asked: NewVm = parsed(call)?;
            let id = new_vm(model, &asked).map_err(|error| refused(&error))?;
            Ok(Answer::ok(json!({ "id": id })))
        }
        (&Method::PUT, [_, "vms", vm, "addresses"]) => {
            let asked: Vec<Subnet> = parsed(call)?;
            model.set_addresses(vm, &asked).map_err(|error| refused(&error))?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (&Method::DELETE, [_, "vms", ..]) => {
            // A name, or an ARM id with its slashes.
            let vm = call.segments[2..].join("/");
            let vm = if call.segments.len() > 3 { format!("/{vm}") } else { vm };
            let found = model.vanish(&vm);
            Ok(Answer::empty(if found { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }))
        }
        (&Method::POST, [_, "scale-sets"]) => {
            let asked: NewSet = parsed(call)?;
            let group = asked.group.clone().unwrap_or_else(|| model.default_group.clone());
            let id = model.id(&group, "Microsoft.Compute", "virtualMachineScaleSets", &asked.name);
            let vms = model.seed_set(asked).map_err(|error| refused(&error))?;
            Ok(Answer::ok(json!({ "id": id, "vms": vms })))
        }
        _ => Err(Refusal::no_route(&call.path)),
    }
}

fn change_bucket(model: &mut Model, bucket: &str, asked: &BucketChange) -> Result<(), BucketError> {
    let now = model.clock.now();
    if let Some(share) = asked.others {
        model.throttle.share(bucket, share, now)?;
    }
    if let Some(tokens) = asked.remaining {
        model.throttle.set(bucket, asked.scope.as_deref(), tokens, now)?;
    }
    Ok(())
}

fn new_vm(model: &mut Model, asked: &NewVm) -> Result<String, SeedError> {
    model.demand_free(&asked.addresses, None)?;
    let group = asked.group.clone().unwrap_or_else(|| model.default_group.clone());
    let id = model.seed_vm(&group, &asked.name, &asked.size, &asked.zone)?;
    model.set_addresses(&id, &asked.addresses)?;
    Ok(id)
}

fn refused(error: &SeedError) -> Refusal {
    Refusal::new(400, "InvalidParameter", error.to_string())
}

fn parsed<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    serde_json::from_slice(&call.raw).map_err(|error| Refusal::malformed(error.to_string()))
}

fn counts(model: &Model) -> Value {
    let world = &model.world;
    let os_disks = world.disks.values().filter(|disk| disk.is_os_disk()).count();
    let attached: usize =
        world.vms.values().map(|vm| vm.disks.iter().filter(|entry| entry.is_attached).count()).sum();
    json!({
        "disks": world.disks.len() - os_disks,
        "os_disks": os_disks,
        "snapshots": world.snapshots.len(),
        "vms": world.vms.len(),
        "scale_sets": world.sets.len(),
        "attached": attached,
        "running": world.operations.values().filter(|operation| operation.is_running()).count(),
        "requests": model.log.entries.back().map_or(0, |last| last.n),
    })
}

fn whole(model: &mut Model) -> Value {
    let throttle = model.throttle.view(model.clock.now());
    let world = &model.world;
    json!({
        "counts": counts(model),
        "attached": model.attached(),
        "addresses": model.addresses(),
        "disks": world.disks.values().map(|disk| disks::view(world, disk)).collect::<Vec<_>>(),
        "snapshots": world.snapshots.values().map(|snapshot| snapshots::view(world, snapshot)).collect::<Vec<_>>(),
        "vms": world.vms.values().map(|vm| vms::view(world, vm)).collect::<Vec<_>>(),
        "throttle": throttle,
        "operations": world.operations.values().map(Operation::poll).collect::<Vec<_>>(),
    })
}
