//! What a machine can ask about itself and its credentials: instance metadata, managed-identity tokens, Entra tokens,
//! cloud endpoints.
//!
//! On Azure the metadata service knows the VM by its cable; here by the caller's address at the metadata listener
//! ([`crate::addresses`]), and elsewhere by the path prefix `/vms/{name}`, which may be left out if there is but one VM. Tokens are taken by ARM if they are not empty; they carry no rights.

use std::net::IpAddr;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::answer::Answer;
use crate::call::Call;
use crate::gate::Gate;
use crate::model::{Model, Outcome};
use crate::refusal::Refusal;
use crate::tiers::{self, Family};
use crate::world::{DataDisk, Vm, World, group_of, key, name_of};

/// Of instance metadata; any other is answered in the same way.
const VERSIONS: &[&str] = &["2017-12-01", "2019-06-01", "2020-09-01", "2021-02-01", "2021-10-01"];

/// Lifetime of tokens in seconds.
const LIFETIME: i64 = 86_400;

/// Answers what is neither ARM nor control.
pub(crate) fn answer(model: &mut Model, call: &Call) -> Answer {
    route(model, call).unwrap_or_else(|refusal| refusal.answer())
}

fn route(model: &mut Model, call: &Call) -> Outcome {
    if let Gate::Metadata(source) = call.gate {
        demand_direct(call)?;
        demand_metadata(call)?;
        caller(model, source)?;
    }
    match call.shape().as_slice() {
        ["metadata", "versions"] => {
            demand_metadata(call)?;
            Ok(Answer::ok(json!({ "apiVersions": VERSIONS })))
        }
        ["metadata", "endpoints"] => Ok(Answer::ok(endpoints(call))),
        ["metadata", "instance", rest @ ..] => instance(model, call, None, rest),
        ["vms", vm, "metadata", "instance", rest @ ..] => instance(model, call, Some(vm), rest),
        ["metadata", "identity", "oauth2", "token"]
        | ["vms", _, "metadata", "identity", "oauth2", "token"] => {
            demand_metadata(call)?;
            Ok(managed_token(model, call))
        }
        ["msi", "token"] => {
            if call.header("x-identity-header").is_none_or(str::is_empty) {
                return Err(Refusal::new(401, "Unauthorized", "Send the header X-IDENTITY-HEADER."));
            }
            Ok(managed_token(model, call))
        }
        [_, "oauth2", "v2.0", "token"] if call.method == Method::POST => Ok(entra_token(model, call)),
        _ => Err(Refusal::no_route(&call.path)),
    }
}

/// The header that keeps requests forged through a browser or a proxy away.
fn demand_metadata(call: &Call) -> Result<(), Refusal> {
    if call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(());
    }
    Err(Refusal::new(400, "BadRequest", "Required metadata header not specified or not correct"))
}

/// What came through a proxy may come from anybody.
fn demand_direct(call: &Call) -> Result<(), Refusal> {
    if call.header("x-forwarded-for").is_none() {
        return Ok(());
    }
    Err(Refusal::new(400, "BadRequest", "Bad request. X-Forwarded-For is not allowed"))
}

/// The VM that speaks from an address.
fn caller(model: &Model, source: IpAddr) -> Result<&Vm, Refusal> {
    model.vm_at(source).ok_or_else(|| {
        let text = format!(
            "No VM speaks from {source}: start the emulator with --address VM={source}, or PUT [\"{source}\"] to \
             /_emulator/vms/VM/addresses."
        );
        Refusal::new(404, "NotFound", text)
    })
}

fn instance(model: &Model, call: &Call, vm: Option<&str>, rest: &[&str]) -> Outcome {
    demand_metadata(call)?;
    if call.query("api-version").is_none() {
        return Err(Refusal::new(
            400,
            "BadRequest",
            "Bad request. api-version was not specified in the request",
        ));
    }
    let mut vms = model.world.vms.values();
    let found = match (call.gate, vm) {
        (Gate::Metadata(source), _) => Some(caller(model, source)?),
        (_, Some(name)) => vms.find(|vm| vm.machine().eq_ignore_ascii_case(name)),
        (_, None) if model.world.vms.len() == 1 => vms.next(),
        (_, None) => None,
    };
    let vm = found.ok_or_else(|| {
        Refusal::new(404, "NotFound", "There is no such VM: put /vms/NAME before the path.")
    })?;
    let whole = json!({ "compute": compute(model, vm), "network": { "interface": [] } });
    let mut part = &whole;
    for segment in rest {
        part = match segment.parse::<usize>() {
            Ok(index) => &part[index],
            Err(_) => part
                .as_object()
                .into_iter()
                .flatten()
                .find(|(name, _)| name.to_lowercase() == *segment)
                .map_or(&Value::Null, |found| found.1),
        };
    }
    if part.is_null() {
        return Err(Refusal::new(404, "NotFound", "The requested resource is not found."));
    }
    Ok(Answer::ok(part.clone()))
}

fn compute(model: &Model, vm: &Vm) -> Value {
    let set = vm.set().map_or("", name_of);
    let storage = vm.properties.get("storageProfile").cloned().unwrap_or_default();
    let attached = vm.disks.iter().filter(|entry| entry.is_attached);
    let disks: Vec<Value> = attached.map(|entry| data_disk(&model.world, entry)).collect();
    let tags = vm.tags.as_ref().and_then(Value::as_object).into_iter().flatten();
    let tags: Vec<Value> = tags.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "azEnvironment": "AzurePublicCloud",
        "location": vm.location,
        "name": name_of_instance(vm),
        "osType": storage["osDisk"]["osType"],
        "platformFaultDomain": "0",
        "platformUpdateDomain": "0",
        "resourceGroupName": group_of(&vm.id),
        "resourceId": vm.id,
        "subscriptionId": model.subscription,
        "tagsList": tags,
        "vmId": vm.guid,
        "vmScaleSetName": set,
        "vmSize": vm.size,
        "zone": vm.zones.first().cloned().unwrap_or_default(),
        "osProfile": { "computerName": vm.machine() },
        "storageProfile": { "imageReference": storage["imageReference"], "osDisk": storage["osDisk"], "dataDisks": disks },
    })
}

fn name_of_instance(vm: &Vm) -> String {
    match vm.instance {
        Some(number) => format!("{}_{number}", vm.id.split('/').nth(8).unwrap_or_default()),
        None => name_of(&vm.id).to_owned(),
    }
}

/// Every value is text here.
fn data_disk(world: &World, entry: &DataDisk) -> Value {
    let disk = world.disks.get(&key(&entry.disk));
    let (gib, bytes) = disk.map_or((0, 0), |disk| (disk.size_gib, disk.bytes()));
    let is_ultra = disk.is_some_and(|disk| tiers::family(&disk.sku) == Family::Ultra);
    json!({
        "lun": entry.lun.to_string(),
        "name": entry.name,
        "caching": entry.caching,
        "createOption": "Attach",
        "diskSizeGB": gib.to_string(),
        "diskCapacityBytes": bytes.to_string(),
        "isSharedDisk": disk.is_some_and(|disk| disk.max_shares > 1).to_string(),
        "isUltraDisk": is_ultra.to_string(),
        "writeAcceleratorEnabled": entry.has_write_accelerator.to_string(),
        "image": { "uri": "" },
        "vhd": { "uri": "" },
        "managedDisk": { "id": entry.disk, "storageAccountType": disk.map_or("", |disk| disk.sku.as_str()) },
    })
}

fn managed_token(model: &mut Model, call: &Call) -> Answer {
    let Some(resource) = call.query("resource") else {
        let body = json!({ "error": "invalid_request", "error_description": "The parameter 'resource' is missing." });
        return Answer::json(StatusCode::BAD_REQUEST, body);
    };
    let client = call.query("client_id").unwrap_or("00000000-0000-0000-0000-000000000001");
    let (now, token) = (model.clock.unix(), token(model, client));
    Answer::ok(json!({
        "access_token": token,
        "client_id": client,
        "expires_in": LIFETIME.to_string(),
        "ext_expires_in": LIFETIME.to_string(),
        "expires_on": (now + LIFETIME).to_string(),
        "not_before": now.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}

/// Client secret or client assertion; numbers are numbers here.
fn entra_token(model: &mut Model, call: &Call) -> Answer {
    let form: Vec<(String, String)> = form_urlencoded::parse(&call.raw).into_owned().collect();
    let field = |name: &str| form.iter().find(|(field, value)| field == name && !value.is_empty());
    let refuse = |error: &str, text: &str| {
        Answer::json(StatusCode::BAD_REQUEST, json!({ "error": error, "error_description": text }))
    };
    if field("grant_type").is_none_or(|(_, grant)| grant != "client_credentials") {
        return refuse("unsupported_grant_type", "Only client_credentials is served.");
    }
    let (Some((_, client)), Some(_)) = (field("client_id"), field("scope")) else {
        return refuse("invalid_request", "client_id and scope are required.");
    };
    if field("client_secret").is_none() && field("client_assertion").is_none() {
        return refuse("invalid_client", "client_secret or client_assertion is required.");
    }
    let token = token(model, client);
    Answer::ok(json!({
        "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599,
        "access_token": token,
    }))
}

/// A token that tells whose it is: who has two of them is throttled as one. [`crate::throttle`] reads it.
fn token(model: &mut Model, client: &str) -> String {
    let client: String = client.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    format!("emulator.{client}.{}", model.guid())
}

/// The clouds that a client may look for by name; each of them is this emulator.
fn endpoints(call: &Call) -> Value {
    let cloud = |name: &str| {
        json!({
            "name": name,
            "resourceManager": call.base,
            "authentication": { "loginEndpoint": call.base, "audiences": ["https://management.azure.com/"] },
            "suffixes": { "storage": "core.windows.net", "acrLoginServer": "azurecr.io" },
        })
    };
    ["AzureCloud", "AzurePublicCloud", "AzureStackCloud"].map(cloud).into()
}
