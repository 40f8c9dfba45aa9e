//! Microsoft.Network, only so far that a recorded session finds its networks: bodies are stored, filled with the
//! defaults that the real provider adds, and returned. It has no rules.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Provider};
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::world::{Key, key};

/// `…/providers/Microsoft.Network/{kind}/N`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let (group, kind, name) = (call.segment(3), call.segment(6), call.segment(7));
    model.group(group)?;
    let id = model.id(group, "Microsoft.Network", kind, name);
    let key = key(&id);
    let location = model.location.clone();
    match call.method {
        Method::GET => {
            let stored = model.world.network.get(&key);
            let stored = stored
                .ok_or_else(|| Refusal::no_resource(&format!("Microsoft.Network/{kind}"), name, group))?;
            Ok(Answer::ok(stored.clone()).with("etag", stored["etag"].as_str().unwrap_or_default()))
        }
        Method::PUT => {
            demand_body(call)?;
            let is_at_once = call.lower[6] == "networkinterfaces";
            let existed = model.world.network.contains_key(&key);
            let stored = stored(model, call, &id, if is_at_once { "Succeeded" } else { "Updating" });
            model.world.network.insert(key.clone(), stored.clone());
            model.is_dirty = true;
            let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
            let answer = Answer::json(status, stored).handled(call, &location);
            if is_at_once {
                return Ok(answer);
            }
            let operation = model.accept(call, Provider::Network, &location, Effect::ApplyNetwork(key));
            Ok(operation.announce(call, answer))
        }
        Method::DELETE => {
            if !model.world.network.contains_key(&key) {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
            let operation = model.accept(call, Provider::Network, &location, Effect::DeleteNetwork(key));
            Ok(operation.announce(call, Answer::empty(StatusCode::ACCEPTED).handled(call, &location)))
        }
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

fn stored(model: &mut Model, call: &Call, id: &str, state: &str) -> Value {
    let kind = call.segment(6);
    let etag = format!("W/\"{}\"", model.guid());
    let mut body = call.body.clone();
    body["name"] = json!(call.segment(7));
    body["id"] = json!(id);
    body["type"] = json!(format!("Microsoft.Network/{kind}"));
    body["location"] = json!(model.location_in(&call.body));
    body["etag"] = json!(etag);
    let guid = model.guid();
    let properties = &mut body["properties"];
    properties["resourceGuid"] = json!(guid);
    properties["provisioningState"] = json!(state);
    match call.lower[6].as_str() {
        "virtualnetworks" => {
            fill(
                properties,
                json!({
                    "privateEndpointVNetPolicies": "Disabled", "virtualNetworkPeerings": [], "enableDdosProtection": false,
                }),
            );
            let defaults = json!({
                "delegations": [], "privateEndpointNetworkPolicies": "Disabled",
                "privateLinkServiceNetworkPolicies": "Enabled", "provisioningState": state,
            });
            adopt(
                items_of(properties, "subnets"),
                id,
                "subnets",
                "Microsoft.Network/virtualNetworks/subnets",
                &etag,
                &defaults,
            );
        }
        "networkinterfaces" => {
            fill(
                properties,
                json!({
                    "dnsSettings": { "dnsServers": [], "appliedDnsServers": [], "internalDomainNameSuffix": "emulator.internal" },
                    "enableAcceleratedNetworking": false, "vnetEncryptionSupported": false, "enableIPForwarding": false,
                    "disableTcpStateTracking": false, "hostedWorkloads": [], "tapConfigurations": [], "nicType": "Standard",
                    "allowPort25Out": true, "defaultOutboundConnectivityEnabled": false, "auxiliaryMode": "None",
                    "auxiliarySku": "None",
                }),
            );
            let defaults = json!({
                "provisioningState": state, "privateIPAddress": "10.1.0.4", "primary": true, "privateIPAddressVersion": "IPv4",
            });
            let kind = "Microsoft.Network/networkInterfaces/ipConfigurations";
            adopt(items_of(properties, "ipConfigurations"), id, "ipConfigurations", kind, &etag, &defaults);
            for address in items_of(properties, "ipConfigurations") {
                let subnet = &mut address["properties"]["subnet"];
                *subnet = json!({ "id": subnet["id"] });
            }
            body["kind"] = json!("Regular");
        }
        _ => {}
    }
    body
}

/// The items of a list that may not be there.
fn items_of<'a>(target: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    target.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Adds what is missing.
fn fill(target: &mut Value, defaults: Value) {
    if let (Some(target), Value::Object(defaults)) = (target.as_object_mut(), defaults) {
        for (name, value) in defaults {
            target.entry(name).or_insert(value);
        }
    }
}

/// Makes child resources of the items of a list.
fn adopt<'a>(
    items: impl Iterator<Item = &'a mut Value>,
    parent: &str,
    segment: &str,
    kind: &str,
    etag: &str,
    defaults: &Value,
) {
    for item in items {
        let name = item["name"].as_str().unwrap_or_default().to_owned();
        item["id"] = json!(format!("{parent}/{segment}/{name}"));
        item["etag"] = json!(etag);
        item["type"] = json!(kind);
        if item["properties"].is_null() {
            item["properties"] = Value::Object(Map::new());
        }
        fill(&mut item["properties"], defaults.clone());
    }
}

impl Model {
    /// Ends the `Updating` of a network and of its parts.
    pub(crate) fn apply_network(&mut self, key: &Key) {
        if let Some(stored) = self.world.network.get_mut(key) {
            stored["properties"]["provisioningState"] = json!("Succeeded");
            for subnet in items_of(&mut stored["properties"], "subnets") {
                subnet["properties"]["provisioningState"] = json!("Succeeded");
            }
        }
    }
}
