//! What a CreateVolume request asks for, before Azure is looked at: pure.
//!
//! **Invariant:** everything that can be refused from the request alone is refused here.

use std::collections::BTreeMap;

use azure::{DiskId, SnapshotId};
use csi::Error;
use csi::require::Capability;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_content_source::Type;
use csi::v1::{CreateVolumeRequest, VolumeContentSource};

use crate::Settings;
use crate::names::azure_name;
use crate::params::tags::{CREATED_BY, FOR_PV, REQUEST_NAME, Tags};
use crate::params::volume::VolumeParameters;
use crate::size::{GIB, SizeRange};
use crate::zone::{Place, Zones};

/// A volume as a CO wants it.
pub(crate) struct Wish {
    /// The name in the request.
    pub(crate) name: String,
    pub(crate) disk: DiskId,
    pub(crate) parameters: VolumeParameters,
    pub(crate) size: SizeRange,
    pub(crate) location: String,
    pub(crate) zones: Zones,
    /// The places that the CO accepts, best first; `None` if it does not mind.
    pub(crate) accepted: Option<Vec<Place>>,
    pub(crate) source: Option<Source>,
    /// Parameters as they were written, the later word winning.
    context: BTreeMap<String, String>,
    pub(crate) content_source: Option<VolumeContentSource>,
}

/// What the volume starts with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Snapshot(SnapshotId),
    Volume(DiskId),
}

impl Wish {
    /// Reads a request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT naming what is wrong; NOT_FOUND for a source whose id is no id of Azure.
    pub(crate) fn of(request: &CreateVolumeRequest, settings: &Settings) -> Result<Wish, Error> {
        let name = csi::require::field(&request.name, "name")?;
        if name.chars().any(char::is_control) {
            return Err(Error::invalid("name contains control characters"));
        }
        let capabilities = csi::require::capabilities(&request.volume_capabilities)?;
        let size = SizeRange::of(request.capacity_range.as_ref())?;
        let parameters = VolumeParameters::read(&request.parameters, &request.mutable_parameters)?;
        check_capabilities(&capabilities, parameters.max_shares)?;
        let group = parameters.resource_group.as_deref().unwrap_or(&settings.resource_group);
        let subscription = parameters.subscription.as_deref().unwrap_or(&settings.subscription);
        let disk_name = parameters.disk_name.clone().unwrap_or_else(|| azure_name(name));
        let disk = DiskId::new(subscription, group, &disk_name).map_err(|error| {
            Error::invalid("resourceGroup or subscriptionID is not valid").caused_by(error)
        })?;
        if parameters.location.is_none() && settings.location.is_empty() {
            return Err(Error::precondition("azure.json: location is missing; so is the class's location"));
        }
        let location = parameters.location.clone().unwrap_or_else(|| settings.location.clone());
        let zones = Zones::new(&settings.driver, &location);
        let accepted = zones.accepted(request.accessibility_requirements.as_ref());
        let mut context = request.parameters.clone();
        context.extend(request.mutable_parameters.clone());
        Ok(Wish {
            name: name.to_owned(),
            disk,
            size,
            location,
            accepted,
            zones,
            source: request.volume_content_source.as_ref().map(source).transpose()?,
            context,
            content_source: request.volume_content_source.clone(),
            parameters,
        })
    }

    /// The places where an existing disk may be.
    pub(crate) fn accepts(&self, place: &Place) -> bool {
        self.parameters.sku.is_zone_redundant()
            || self.accepted.as_ref().is_none_or(|accepted| accepted.contains(place))
    }

    /// What the node is told of a volume of `gib`: the Go driver's keys. The same for every repetition.
    pub(crate) fn volume_context(&self, gib: u64) -> BTreeMap<String, String> {
        let mut context = self.context.clone();
        context.insert("requestedsizegib".into(), gib.to_string());
        context.insert("kind".into(), "Managed".into());
        if !self.parameters.sku.is_cacheable() {
            context.retain(|key, _| !key.eq_ignore_ascii_case("cachingMode"));
            context.insert("cachingMode".into(), "None".into());
        }
        if self.source.is_some() {
            context.insert("resizeRequired".into(), "true".into());
        }
        context
    }

    /// The size that the node is told: as asked, so that a repetition says the same even after the
    /// volume has grown; `real_bytes` where the size was the source's or Azure's to choose.
    pub(crate) fn requested_gib(&self, real_bytes: u64) -> u64 {
        let floor = self.parameters.floor_gib().max(*self.parameters.sku.sizes_gib().start());
        if self.size.is_open() && self.source.is_some() {
            return real_bytes.div_ceil(GIB);
        }
        self.size.least_bytes.div_ceil(GIB).max(floor)
    }

    /// The tags of the disk; one names the request where the disk's name does not.
    pub(crate) fn tags(&self) -> Tags {
        let mut tags = self.parameters.tags.clone();
        if self.disk.name() != self.name {
            // A tag holds 256 characters of any kind, a name 128 bytes.
            tags.insert(REQUEST_NAME.into(), self.name.chars().take(256).collect());
        }
        tags
    }

    /// Whether a disk with `tags` was made for this request. A disk that people made is nobody's volume,
    /// and a class that chooses the disk's name must not hand one disk to two volumes.
    pub(crate) fn owns(&self, tags: &Tags) -> bool {
        if tags.get(CREATED_BY.0).is_none_or(|by| by != CREATED_BY.1) {
            return false;
        }
        let is_ours = |key: &str| tags.get(key).is_some_and(|value| *value == self.name);
        self.parameters.disk_name.is_none()
            || self.disk.name() == self.name
            || is_ours(REQUEST_NAME)
            || is_ours(FOR_PV)
    }
}

/// Refuses what no Azure disk with so many shares can do.
pub(crate) fn check_capabilities(capabilities: &[Capability], max_shares: u32) -> Result<(), Error> {
    capabilities.iter().try_for_each(|one| check_capability(one, max_shares))
}

/// The same for one capability.
pub(crate) fn check_capability(capability: &Capability, max_shares: u32) -> Result<(), Error> {
    let is_shared = match capability.mode {
        Mode::SingleNodeWriter
        | Mode::SingleNodeReaderOnly
        | Mode::SingleNodeSingleWriter
        | Mode::SingleNodeMultiWriter => false,
        Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter => true,
        Mode::Unknown => return Err(Error::invalid("the access mode is unknown")),
    };
    let mode = capability.mode.as_str_name();
    if is_shared && !capability.is_block() {
        return Err(Error::invalid(format!(
            "{mode} needs a block volume: a disk's file system has one node"
        )));
    }
    if is_shared && max_shares < 2 {
        return Err(Error::invalid(format!("{mode} needs maxShares of 2 or more, and it is {max_shares}")));
    }
    Ok(())
}

fn source(source: &VolumeContentSource) -> Result<Source, Error> {
    match &source.r#type {
        Some(Type::Snapshot(snapshot)) => {
            let id = csi::require::field(&snapshot.snapshot_id, "volume_content_source.snapshot_id")?;
            let unknown = || Error::not_found(format!("source snapshot {id} does not exist"));
            id.parse().map(Source::Snapshot).map_err(|_| unknown())
        }
        Some(Type::Volume(volume)) => {
            let id = csi::require::field(&volume.volume_id, "volume_content_source.volume_id")?;
            let unknown = || Error::not_found(format!("source volume {id} does not exist"));
            id.parse().map(Source::Volume).map_err(|_| unknown())
        }
        None => Err(Error::invalid("volume_content_source names neither a snapshot nor a volume")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
