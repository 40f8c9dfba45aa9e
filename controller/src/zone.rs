//! Which zone a volume is made in, and where it can be reached from: pure.
//!
//! Topology keys and values are the Go driver's: `topology.<driver>/zone` and
//! `topology.kubernetes.io/zone`, the value `<region>-<n>`; a VM outside every zone says the empty value
//! (or, from the cloud node manager, its fault domain: a bare number). **Invariant:** a volume is never
//! placed outside what the CO allows; where nothing fits the answer is RESOURCE_EXHAUSTED, so that the CO
//! can choose another node (CSI 1.13, CreateVolume errors).

use std::collections::BTreeMap;
use std::fmt;

use csi::Error;
use csi::v1::{Topology, TopologyRequirement};

/// The key that Kubernetes itself puts on nodes.
const KUBERNETES_KEY: &str = "topology.kubernetes.io/zone";
/// Zones that a zone-redundant disk is announced for, as the Go driver does.
const MOST_ZONES: u32 = 4;

/// Where a disk is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// In zone `n` of the region.
    Zone(String),
    /// In no zone.
    #[default]
    Regional,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Zone(zone) => write!(f, "zone {zone}"),
            Place::Regional => f.write_str("no zone"),
        }
    }
}

/// The topology of one driver in one region.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    key: String,
    region: String,
}

impl Zones {
    /// For the driver called `driver` and volumes in `region`.
    pub(crate) fn new(driver: &str, region: &str) -> Zones {
        Zones { key: format!("topology.{driver}/zone"), region: region.to_ascii_lowercase() }
    }

    /// The places that the CO accepts, best first; `None` if it does not mind.
    pub(crate) fn accepted(&self, wanted: Option<&TopologyRequirement>) -> Option<Vec<Place>> {
        let wanted = wanted?;
        if wanted.preferred.is_empty() && wanted.requisite.is_empty() {
            return None;
        }
        let required: Vec<Place> = wanted.requisite.iter().filter_map(|term| self.place(term)).collect();
        let mut places: Vec<Place> = Vec::new();
        let preferred = wanted.preferred.iter().filter_map(|term| self.place(term));
        for place in preferred.filter(|place| wanted.requisite.is_empty() || required.contains(place)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        for place in required {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Some(places)
    }

    /// The place for a new disk: the best accepted one, or `tied` where a source ties it to one.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED if nothing accepted is in this region or agrees with `tied`.
    pub(crate) fn choose(&self, accepted: Option<&[Place]>, tied: Option<&Place>) -> Result<Place, Error> {
        let Some(accepted) = accepted else { return Ok(tied.cloned().unwrap_or(Place::Regional)) };
        let chosen = match tied {
            Some(tied) => accepted.iter().find(|place| *place == tied),
            None => accepted.first(),
        };
        chosen.cloned().ok_or_else(|| {
            let region = &self.region;
            Error::exhausted(match tied {
                Some(tied) => format!(
                    "the source ties the volume to {tied} of {region}, which accessibility_requirements do not allow"
                ),
                None => format!("accessibility_requirements name no zone of {region}, where the volume is to be"),
            })
        })
    }

    /// Where a disk can be reached from: its place, or every zone if it is `redundant`.
    pub(crate) fn reach(&self, place: &Place, redundant: bool) -> Vec<Topology> {
        if !redundant {
            return vec![self.segment(place)];
        }
        let zones = (1..=MOST_ZONES).map(|zone| Place::Zone(zone.to_string()));
        zones.chain([Place::Regional]).map(|place| self.segment(&place)).collect()
    }

    /// The place named by one term, if it is in this region and means one place.
    fn place(&self, term: &Topology) -> Option<Place> {
        let values = [self.key.as_str(), KUBERNETES_KEY].map(|key| term.segments.get(key));
        let mut places = values.into_iter().flatten().map(|value| self.parse(value));
        let first = places.next()??;
        places.all(|place| place.as_ref() == Some(&first)).then_some(first)
    }

    /// `<region>-<n>`, the empty value, or a fault domain.
    fn parse(&self, value: &str) -> Option<Place> {
        if value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Place::Regional);
        }
        let (region, zone) = value.rsplit_once('-')?;
        let named = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_digit());
        (named && region.eq_ignore_ascii_case(&self.region)).then(|| Place::Zone(zone.to_owned()))
    }

    fn segment(&self, place: &Place) -> Topology {
        let value = match place {
            Place::Zone(zone) => format!("{}-{zone}", self.region),
            Place::Regional => String::new(),
        };
        Topology { segments: BTreeMap::from([(self.key.clone(), value)]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;

    const DRIVER_KEY: &str = "topology.disk.csi.azure.com/zone";

    fn zones() -> Zones {
        Zones::new("disk.csi.azure.com", "EastUS2")
    }

    fn terms(list: &[&[(&str, &str)]]) -> Vec<Topology> {
        let one = |pairs: &&[(&str, &str)]| Topology {
            segments: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        list.iter().map(one).collect()
    }

    fn check(
        preferred: &[&[(&str, &str)]],
        requisite: &[&[(&str, &str)]],
        tied: Option<&str>,
        want: Result<&str, Kind>,
    ) {
        let wanted = TopologyRequirement { preferred: terms(preferred), requisite: terms(requisite) };
        let place = |zone: &str| match zone {
            "" => Place::Regional,
            zone => Place::Zone(zone.to_owned()),
        };
        let accepted = zones().accepted(Some(&wanted));
        let got = zones().choose(accepted.as_deref(), tied.map(place).as_ref()).map_err(|error| error.kind());
        assert_eq!(got, want.map(place), "{wanted:?}");
    }

    #[test]
    fn preferred_comes_first_then_requisite() {
        let (one, two): (&[_], &[_]) = (&[(DRIVER_KEY, "eastus2-1")], &[(DRIVER_KEY, "eastus2-2")]);
        check(&[two, one], &[one, two], None, Ok("2"));
        check(&[], &[one, two], None, Ok("1"));
        check(&[], &[], None, Ok(""));
        check(&[two], &[one], None, Ok("1"));
        check(&[two], &[], None, Ok("2"));
    }

    #[test]
    fn both_keys_and_the_values_of_vms_without_a_zone() {
        check(&[], &[&[(KUBERNETES_KEY, "eastus2-3")]], None, Ok("3"));
        check(&[], &[&[(DRIVER_KEY, "eastus2-3"), (KUBERNETES_KEY, "eastus2-3")]], None, Ok("3"));
        check(&[], &[&[(DRIVER_KEY, "")]], None, Ok(""));
        check(&[], &[&[(DRIVER_KEY, ""), (KUBERNETES_KEY, "0")]], None, Ok(""));
        check(&[], &[&[(DRIVER_KEY, "EASTUS2-1")]], None, Ok("1"));
    }

    #[test]
    fn never_elsewhere() {
        check(&[], &[&[(DRIVER_KEY, "westus2-1")]], None, Err(Kind::Exhausted));
        check(&[], &[&[("topology.other/zone", "eastus2-1")]], None, Err(Kind::Exhausted));
        check(&[], &[&[(DRIVER_KEY, "eastus2-x")]], None, Err(Kind::Exhausted));
        check(
            &[],
            &[&[(DRIVER_KEY, "eastus2-1"), (KUBERNETES_KEY, "eastus2-2")]],
            None,
            Err(Kind::Exhausted),
        );
        check(&[], &[&[(DRIVER_KEY, "westus2-1")], &[(DRIVER_KEY, "eastus2-2")]], None, Ok("2"));
    }

    #[test]
    fn a_source_ties_the_volume_to_its_zone() {
        let (one, two): (&[_], &[_]) = (&[(DRIVER_KEY, "eastus2-1")], &[(DRIVER_KEY, "eastus2-2")]);
        check(&[one], &[one, two], Some("2"), Ok("2"));
        check(&[one], &[one], Some("2"), Err(Kind::Exhausted));
        check(&[], &[], Some("2"), Ok("2"));
    }

    #[test]
    fn a_zone_redundant_disk_is_reached_from_everywhere() {
        let values = |topologies: Vec<Topology>| -> Vec<String> {
            topologies.into_iter().map(|one| one.segments[DRIVER_KEY].clone()).collect()
        };
        assert_eq!(values(zones().reach(&Place::Zone("2".into()), false)), ["eastus2-2"]);
        assert_eq!(values(zones().reach(&Place::Regional, false)), [""]);
        assert_eq!(
            values(zones().reach(&Place::Regional, true)),
            ["eastus2-1", "eastus2-2", "eastus2-3", "eastus2-4", ""]
        );
    }
}
