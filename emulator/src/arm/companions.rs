//! What disks refer to: disk encryption sets and disk accesses. Create or update, read, list, delete, and the refusals of
//! disks and attaches that name one which is not there, elsewhere, or closed to them.
//!
//! Keys and private endpoints are not here: whether a set may use its key is said by its [`Rights`]. Invariant: what a disk
//! names exists as long as the disk does.

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Provider};
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::world::{Disk, Key, Provisioning, World, group_of, key, name_of};

/// What may be done with a disk encryption set or a disk access.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// All.
    #[default]
    Full,
    /// The caller may not read it, hence not name it: 403 `AuthorizationFailed`, and `LinkedAuthorizationFailed` for
    /// a disk or VM that names it.
    NoRead,
    /// A disk encryption set may not use its key: what needs the key is accepted and fails with
    /// `KeyVaultAccessForbidden`.
    NoKey,
}

/// A disk encryption set or a disk access.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Companion {
    pub(crate) id: String,
    location: String,
    tags: Option<Value>,
    identity: Option<Value>,
    properties: Map<String, Value>,
    pub(crate) state: Provisioning,
    #[serde(default)]
    pub(crate) rights: Rights,
}

/// The kind of a companion, as a path names it and as Azure spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    EncryptionSet,
    DiskAccess,
}

impl Kind {
    /// From a path segment in lower case.
    pub(crate) fn of(segment: &str) -> Option<Self> {
        [Self::EncryptionSet, Self::DiskAccess].into_iter().find(|kind| kind.word().to_lowercase() == segment)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::EncryptionSet => "diskEncryptionSets",
            Self::DiskAccess => "diskAccesses",
        }
    }

    fn resource_type(self) -> String {
        format!("Microsoft.Compute/{}", self.word())
    }

    /// Where a disk or an attach names it.
    fn property(self) -> &'static str {
        match self {
            Self::EncryptionSet => "diskEncryptionSetId",
            Self::DiskAccess => "diskAccessId",
        }
    }
}

/// `…/diskEncryptionSets/N` or `…/diskAccesses/N`.
pub(crate) fn one(model: &mut Model, call: &Call, kind: Kind) -> Outcome {
    let (group, name) = (call.segment(3), call.segment(7));
    model.group(group)?;
    let id = model.id(group, "Microsoft.Compute", kind.word(), name);
    let key = key(&id);
    let found = model.world.companions.get(&key);
    match call.method {
        Method::GET => {
            let found = found.ok_or_else(|| Refusal::no_resource(&kind.resource_type(), name, group))?;
            if found.rights == Rights::NoRead {
                return Err(Refusal::no_right(&format!("{}/read", kind.resource_type()), &found.id));
            }
            Ok(Answer::ok(view(found)).handled(call, &found.location))
        }
        Method::PUT => {
            demand_body(call)?;
            let companion = draft(model, call, kind, id)?;
            Ok(accept(model, call, companion))
        }
        Method::DELETE => {
            let Some(found) = found else { return Ok(Answer::empty(StatusCode::NO_CONTENT)) };
            let location = found.location.clone();
            if let Some(disk) = model.world.disks.values().find(|disk| names(disk, &key)) {
                return Err(Refusal::not_allowed(format!(
                    "{} '{name}' cannot be deleted because disk '{}' uses it.",
                    kind.resource_type(),
                    disk.id
                )));
            }
            let operation = model.accept(call, Provider::Disk, &location, Effect::DeleteCompanion(key));
            Ok(operation.announce(call, Answer::empty(StatusCode::ACCEPTED)).handled(call, &location))
        }
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// Those of the subscription, or of one group, that may be read.
pub(crate) fn list(model: &mut Model, call: &Call, kind: Kind) -> Outcome {
    let prefix = model.scope(call)?;
    let part = format!("/{}/", kind.word().to_lowercase());
    let all = model.world.companions.iter().filter(|(key, companion)| {
        key.starts_with(&prefix) && key.contains(&part) && companion.rights != Rights::NoRead
    });
    let all: Vec<Value> = all.map(|(_, companion)| view(companion)).collect();
    let request = model.guid();
    Ok(Answer::list(all).gathered(&request))
}

/// The companion after a PUT.
fn draft(model: &mut Model, call: &Call, kind: Kind, id: String) -> Result<Companion, Refusal> {
    let body = &call.body;
    let mut new = if let Some(old) = model.world.companions.get(&key(&id)) {
        old.clone()
    } else {
        let location = model.location_in(body);
        seeded(model, kind, id, location)
    };
    if body["tags"].is_object() {
        new.tags = Some(body["tags"].clone());
    }
    if let (Some(identity), Some(kept)) = (body["identity"].as_object(), new.identity.as_mut()) {
        for (name, value) in identity {
            kept[name.as_str()] = value.clone();
        }
    }
    for (name, value) in body["properties"].as_object().into_iter().flatten() {
        new.properties.insert(name.clone(), value.clone());
    }
    if kind == Kind::EncryptionSet && new.properties["activeKey"]["keyUrl"].as_str().is_none() {
        return Err(Refusal::invalid(
            "activeKey",
            "Required parameter 'encryptionSet.activeKey.keyUrl' is missing (null).",
        ));
    }
    new.state = Provisioning::Updating;
    Ok(new)
}

fn accept(model: &mut Model, call: &Call, companion: Companion) -> Answer {
    let (key, location, body) = (key(&companion.id), companion.location.clone(), view(&companion));
    model.world.companions.insert(key.clone(), companion);
    let operation = model.accept(call, Provider::Disk, &location, Effect::ApplyCompanion(key));
    operation.announce(call, Answer::json(StatusCode::ACCEPTED, body)).handled(call, &location)
}

/// One with all that Azure fills in.
fn seeded(model: &mut Model, kind: Kind, id: String, location: String) -> Companion {
    let mut properties = Map::new();
    let mut identity = None;
    match kind {
        Kind::EncryptionSet => {
            properties.insert("activeKey".to_owned(), Value::Null);
            properties.insert("encryptionType".to_owned(), json!("EncryptionAtRestWithCustomerKey"));
            properties.insert("rotationToLatestKeyVersionEnabled".to_owned(), json!(false));
            let (principal, tenant) = (model.guid(), model.subscription.clone());
            identity =
                Some(json!({ "type": "SystemAssigned", "principalId": principal, "tenantId": tenant }));
        }
        Kind::DiskAccess => {
            properties.insert("timeCreated".to_owned(), json!(model.clock.stamp()));
        }
    }
    let (tags, state, rights) = (None, Provisioning::Succeeded, Rights::Full);
    Companion { id, location, tags, identity, properties, state, rights }
}

/// As GET shows it.
pub(crate) fn view(companion: &Companion) -> Value {
    let kind = companion.id.split('/').nth(7).unwrap_or_default();
    let mut properties = companion.properties.clone();
    properties.insert("provisioningState".to_owned(), json!(companion.state.word()));
    let mut view = json!({
        "name": name_of(&companion.id), "id": companion.id, "type": format!("Microsoft.Compute/{kind}"),
        "location": companion.location, "properties": properties,
    });
    for (name, value) in [("tags", &companion.tags), ("identity", &companion.identity)] {
        if let Some(value) = value {
            view[name] = value.clone();
        }
    }
    view
}

/// The ids that a disk names, with their kinds.
fn named(disk: &Disk) -> impl Iterator<Item = (Kind, &str)> {
    let set =
        disk.properties.get("encryption").and_then(|encryption| encryption["diskEncryptionSetId"].as_str());
    let access = disk.properties.get("diskAccessId").and_then(Value::as_str);
    let all = [(Kind::EncryptionSet, set), (Kind::DiskAccess, access)];
    all.into_iter().filter_map(|(kind, id)| id.map(|id| (kind, id)))
}

fn names(disk: &Disk, companion: &Key) -> bool {
    named(disk).any(|(_, id)| key(id) == *companion)
}

/// Refuses a disk that names something it can't have.
pub(crate) fn check_disk(world: &World, disk: &Disk) -> Result<(), Refusal> {
    for (kind, id) in named(disk) {
        check_link(world, kind, id, ("Microsoft.Compute/disks/write", &disk.id), &disk.location)?;
    }
    Ok(())
}

/// Refuses to let a resource at `location` name `id`; `action` is what the caller does, and on which scope.
pub(crate) fn check_link(
    world: &World,
    kind: Kind,
    id: &str,
    action: (&str, &str),
    location: &str,
) -> Result<(), Refusal> {
    let (resource, property) = (kind.resource_type(), kind.property());
    let is_kind = id.split('/').nth(7).is_some_and(|word| word.eq_ignore_ascii_case(kind.word()));
    let Some(found) = world.companions.get(&key(id)).filter(|_| is_kind) else {
        return Err(
            Refusal::new(404, "NotFound", format!("{resource} '{id}' is not found.")).target(property)
        );
    };
    if found.rights == Rights::NoRead {
        return Err(Refusal::no_link(action, &format!("{resource}/read"), &found.id));
    }
    if found.location != location {
        let text = format!(
            "{resource} '{id}' is in region '{}', and '{}' in '{location}': they must be in the same.",
            found.location, action.1
        );
        return Err(Refusal::new(400, "BadRequest", text).target(property));
    }
    if found.state != Provisioning::Succeeded {
        return Err(Refusal::not_allowed(format!("{resource} '{id}' is not ready.")).target(property));
    }
    Ok(())
}

/// Fails what needs the key of a set that may not use it. Asked when an operation ends.
pub(crate) fn check_key(world: &World, disk: &Disk, attached_with: Option<&Value>) -> Result<(), Refusal> {
    let own = named(disk).filter(|(kind, _)| *kind == Kind::EncryptionSet).map(|(_, id)| id);
    let given = attached_with.and_then(|set| set["id"].as_str());
    for set in own.chain(given).filter_map(|id| world.companions.get(&key(id))) {
        if set.rights == Rights::NoKey {
            let vault = set.properties["activeKey"]["keyUrl"].as_str().unwrap_or_default();
            return Err(Refusal::new(
                400,
                "KeyVaultAccessForbidden",
                format!(
                    "Unable to access key vault resource '{vault}' to enable encryption at rest. Please grant get, wrap and unwrap key permissions to disk encryption set '{}'. Please visit https://aka.ms/keyvaultaccessssecmk for more information.",
                    name_of(&set.id)
                ),
            ));
        }
    }
    Ok(())
}

impl Model {
    /// Puts a companion there, ready to use. False if its group is not there.
    pub(crate) fn seed_companion(&mut self, kind: Kind, id: &str, location: &str) -> bool {
        if self.group(group_of(id)).is_err() {
            return false;
        }
        let location = if location.is_empty() { self.location.clone() } else { location.to_owned() };
        let mut companion = seeded(self, kind, id.to_owned(), location);
        if kind == Kind::EncryptionSet {
            let vault = format!("https://{}.vault.azure.net/keys/key/1", name_of(id));
            companion.properties.insert("activeKey".to_owned(), json!({ "keyUrl": vault }));
        }
        self.world.companions.insert(key(id), companion);
        self.is_dirty = true;
        true
    }

    /// Changes what may be done with a companion. False if there is none of this id.
    pub(crate) fn set_rights(&mut self, id: &str, rights: Rights) -> bool {
        let Some(companion) = self.world.companions.get_mut(&key(id)) else { return false };
        companion.rights = rights;
        self.is_dirty = true;
        true
    }
}
