//! GetCapacity: Azure does not tell how much is left, only how large one disk may be. Pure.
//!
//! The quota of a subscription counts disks, not bytes, so the answer is "as much as can be said" where
//! the class and the place are possible, and nothing where they are not.

use csi::Error;
use csi::v1::{GetCapacityRequest, GetCapacityResponse, TopologyRequirement};

use crate::Settings;
use crate::create::wish::check_capabilities;
use crate::params::volume::VolumeParameters;
use crate::size::{GIB, answer_bytes};
use crate::zone::Zones;

/// What could be made of the class in the request, in the place in the request.
pub(crate) fn capacity(
    settings: &Settings,
    request: &GetCapacityRequest,
) -> Result<GetCapacityResponse, Error> {
    let parameters = VolumeParameters::read(&request.parameters, &[].into())?;
    let mut is_possible = true;
    if !request.volume_capabilities.is_empty() {
        let capabilities = csi::require::capabilities(&request.volume_capabilities)?;
        is_possible = check_capabilities(&capabilities, parameters.max_shares).is_ok();
    }
    if let Some(place) = &request.accessible_topology {
        let location = parameters.location.as_deref().unwrap_or(&settings.location);
        let wanted = TopologyRequirement { requisite: vec![place.clone()], preferred: vec![] };
        let accepted = Zones::new(&settings.driver, location).accepted(Some(&wanted));
        is_possible &= place.segments.is_empty() || accepted.is_some_and(|places| !places.is_empty());
    }
    let sizes = parameters.sku.sizes_gib();
    let least = parameters.floor_gib().max(*sizes.start());
    Ok(GetCapacityResponse {
        available_capacity: if is_possible { i64::MAX } else { 0 },
        maximum_volume_size: Some(answer_bytes(sizes.end() * GIB)?),
        minimum_volume_size: Some(answer_bytes(least * GIB)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::wish::tests::settings;
    use csi::v1::Topology;

    fn check(parameters: &[(&str, &str)], zone: Option<&str>, want: Option<(bool, u64)>) {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let segments = |zone: &str| [("topology.disk.csi.azure.com/zone".to_owned(), zone.to_owned())].into();
        let request = GetCapacityRequest {
            parameters: parameters.iter().map(pair).collect(),
            accessible_topology: zone.map(|zone| Topology { segments: segments(zone) }),
            ..Default::default()
        };
        let got = capacity(&settings(), &request).ok().map(|answer| {
            let most = answer.maximum_volume_size.and_then(|bytes| u64::try_from(bytes).ok());
            (answer.available_capacity > 0, most.unwrap_or(0) / GIB)
        });
        assert_eq!(got, want, "{parameters:?} {zone:?}");
    }

    #[test]
    fn what_can_be_made_where() {
        check(&[], None, Some((true, 32_767)));
        check(&[("skuName", "UltraSSD_LRS")], Some("eastus2-1"), Some((true, 65_536)));
        check(&[], Some(""), Some((true, 32_767)));
        check(&[], Some("westus2-1"), Some((false, 32_767)));
        check(&[("skuName", "Gold")], None, None);
    }
}
