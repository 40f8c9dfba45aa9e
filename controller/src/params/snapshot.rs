//! The parameters of a snapshot class: keys and defaults of the Go driver.
//!
//! `location` may only repeat the region of the source: copies to other regions are not made by this
//! version, and a class that asks for one is refused. `userAgent` is taken and without effect.

use std::collections::BTreeMap;

use csi::Error;

use super::Parameters;
use super::tags::{self, Tags};
use super::volume::{NETWORK_POLICIES, PUBLIC_ACCESS};

const KEYS: [&str; 11] = [
    "incremental",
    "resourceGroup",
    "subscriptionID",
    "location",
    "tags",
    "tagValueDelimiter",
    "userAgent",
    "dataAccessAuthMode",
    "networkAccessPolicy",
    "publicNetworkAccess",
    "instantAccessDurationMinutes",
];
const AUTH_MODES: [&str; 2] = ["None", "AzureActiveDirectory"];

/// The snapshot that a class describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotParameters {
    pub(crate) incremental: bool,
    pub(crate) resource_group: Option<String>,
    pub(crate) subscription: Option<String>,
    /// Lower case, without blanks.
    pub(crate) location: Option<String>,
    pub(crate) tags: Tags,
    pub(crate) auth_mode: Option<&'static str>,
    pub(crate) network_policy: Option<&'static str>,
    pub(crate) public_access: Option<&'static str>,
    pub(crate) instant_access_minutes: Option<u32>,
}

impl SnapshotParameters {
    /// Reads `parameters` of a CreateSnapshot.
    pub(crate) fn read(parameters: &BTreeMap<String, String>) -> Result<SnapshotParameters, Error> {
        let mut all = Parameters::read("parameters", parameters)?;
        let p = &mut all;
        p.take(&["userAgent"])?;
        let mut choice =
            |key: &str, allowed: &[&'static str]| p.take(&[key])?.map(|one| one.one_of(allowed)).transpose();
        let incremental = choice("incremental", &["true", "false"])? != Some("false");
        let auth_mode = choice("dataAccessAuthMode", &AUTH_MODES)?;
        let network_policy = choice("networkAccessPolicy", &NETWORK_POLICIES)?;
        let public_access = choice("publicNetworkAccess", &PUBLIC_ACCESS)?;
        let minutes = p.take(&["instantAccessDurationMinutes"])?;
        if let Some(one) = minutes.filter(|_| !incremental) {
            return Err(one.out_of_place("which goes with incremental snapshots only"));
        }
        let minutes = minutes.map(|one| one.number(&(60..=300))).transpose()?;
        let (subscription, resource_group) = p.group()?;
        let location = p.take(&["location"])?;
        let read = SnapshotParameters {
            incremental,
            resource_group,
            subscription,
            location: location.map(|one| one.value.replace(' ', "").to_ascii_lowercase()),
            tags: tags::snapshot_tags(p)?,
            auth_mode,
            network_policy,
            public_access,
            instant_access_minutes: minutes.and_then(|minutes| u32::try_from(minutes).ok()),
        };
        all.finish(&KEYS)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], said: Option<&str>) -> Option<SnapshotParameters> {
        let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match (SnapshotParameters::read(&map), said) {
            (Ok(read), None) => Some(read),
            (Err(error), Some(said)) => {
                assert_eq!(error.kind(), csi::Kind::Invalid);
                assert!(error.message().contains(said), "{pairs:?}: {error}");
                None
            }
            (got, _) => panic!("{pairs:?}: {got:?}"),
        }
    }

    #[test]
    fn defaults_and_values() {
        let plain = check(&[("csi.storage.k8s.io/volumesnapshot/name", "s")], None).unwrap();
        assert!(plain.incremental && plain.network_policy.is_none());
        assert_eq!(plain.tags["kubernetes.io-created-for-snapshot-name"], "s");
        assert!(!check(&[("Incremental", "FALSE")], None).unwrap().incremental);
        let minutes = check(&[("instantAccessDurationMinutes", "60")], None).unwrap();
        assert_eq!(minutes.instant_access_minutes, Some(60));
        let place = check(&[("location", "East US 2")], None).unwrap();
        assert_eq!(place.location.as_deref(), Some("eastus2"));
    }

    #[test]
    fn what_is_refused() {
        check(&[("colour", "red")], Some("unknown key in parameters: colour"));
        check(&[("incremental", "maybe")], Some("allowed is true, false"));
        check(&[("instantAccessDurationMinutes", "59")], Some("60 to 300"));
        check(&[("instantAccessDurationMinutes", "90"), ("incremental", "false")], Some("incremental"));
        check(&[("dataAccessAuthMode", "x")], Some("None, AzureActiveDirectory"));
        check(&[("subscriptionID", "s")], Some("needs resourceGroup"));
    }
}
