//! ValidateVolumeCapabilities: whether a volume can be used as asked.

use azure::DiskId;
use csi::Error;
use csi::v1::validate_volume_capabilities_response::Confirmed;
use csi::v1::{ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse};
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, csi_error};
use crate::create::wish::check_capabilities;
use crate::disk::{self, Facts};
use crate::params::volume::VolumeParameters;

/// Confirms all of it, or answers why not.
pub(crate) async fn validate(
    core: &Core,
    request: ValidateVolumeCapabilitiesRequest,
    deadline: Instant,
) -> Result<ValidateVolumeCapabilitiesResponse, Error> {
    csi::require::field(&request.volume_id, "volume_id")?;
    let capabilities = csi::require::capabilities(&request.volume_capabilities)?;
    let id: DiskId = disk::volume(&request.volume_id)?;
    let found = core.arm.disk(&id, deadline).await.map_err(|error| csi_error(Rpc::GetVolume, &error))?;
    let facts = Facts::of(&found);
    let parameters = VolumeParameters::read(&request.parameters, &request.mutable_parameters);
    let says_sku = !request.parameters.is_empty() || !request.mutable_parameters.is_empty();
    let objection = check_capabilities(&capabilities, facts.max_shares).err().or_else(|| match parameters {
        Err(error) => Some(error),
        Ok(asked) if says_sku && !asked.sku.name().eq_ignore_ascii_case(&facts.sku) => {
            Some(Error::invalid(format!("the disk's SKU is {}, not {}", facts.sku, asked.sku)))
        }
        Ok(_) => None,
    });
    Ok(match objection {
        Some(error) => {
            ValidateVolumeCapabilitiesResponse { confirmed: None, message: error.message().to_owned() }
        }
        None => ValidateVolumeCapabilitiesResponse {
            confirmed: Some(Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: request.parameters,
                mutable_parameters: request.mutable_parameters,
            }),
            message: String::new(),
        },
    })
}
