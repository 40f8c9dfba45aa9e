//! What `azure.json` and the environment say about Azure: where, which subscription, as whom. Keys are those of
//! the Kubernetes cloud provider, so that an existing file works as it is; those of no use here are ignored.
//!
//! Everything is checked here and nothing is contacted; the error names the key. Secrets are in [`Secret`], which
//! Debug doesn't show.

mod document;

use std::path::PathBuf;
use std::sync::Arc;

use azure_core::credentials::Secret;
use url::Url;

use crate::auth::{Identity, Source, Tokens, UserAssigned};
use crate::cloud::{Cloud, CloudError, address};
use crate::transport::Transport;
use document::Document;

/// What the program found in its environment; `None` is not set or empty.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The content of the file that `AZURE_ENVIRONMENT_FILEPATH` names.
    pub cloud_file: Option<String>,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Secret>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`.
    pub authority_host: Option<String>,
    /// `IDENTITY_ENDPOINT`.
    pub identity_endpoint: Option<String>,
    /// `IDENTITY_HEADER`.
    pub identity_header: Option<Secret>,
}

/// What kind of VMs the nodes are, if `vmType` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmType {
    /// Standalone VMs, also in availability sets.
    Standard,
    /// Instances of uniform scale sets.
    ScaleSet,
    /// VMs of flexible scale sets.
    FlexibleScaleSet,
}

/// Why a configuration cannot be used; one line that names the key, never its value if that may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `azure.json` is no JSON object.
    #[error("azure.json: {0}")]
    File(String),
    /// A key is wrong or missing.
    #[error("azure.json: {key}: {reason}")]
    Key {
        /// As azure.json spells it.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A variable is wrong or missing.
    #[error("{variable}: {reason}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The cloud isn't known or its file is wrong.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// There is nothing to prove who the driver is.
    #[error(
        "azure.json: no credential: give useManagedIdentityExtension, or aadClientId and aadClientSecret, \
         or useFederatedWorkloadIdentityExtension (client certificates are not supported)"
    )]
    NoCredential,
}

impl ConfigError {
    fn key(key: &'static str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Key { key, reason: reason.into() }
    }
}

/// Where, what and as whom.
#[derive(Clone, Debug)]
pub struct CloudConfig {
    /// Azure Resource Manager; https, or http to this machine.
    pub arm_endpoint: Url,
    /// What tokens are asked for: the audience with `/.default`.
    pub scope: String,
    /// `subscriptionId`.
    pub subscription: String,
    /// `resourceGroup`: where disks and snapshots are made.
    pub resource_group: String,
    /// `location`: the region, in lower case without spaces.
    pub location: String,
    /// `vmType`, if it is given.
    pub vm_type: Option<VmType>,
    /// Whether it is an Azure Stack: `cloud` is `AzureStackCloud`, in any case, and `disableAzureStackCloud` does not
    /// say that only the name is.
    pub is_azure_stack: bool,
    authority: Url,
    identity: Identity,
}

impl CloudConfig {
    /// Reads the text of `azure.json`; `environment` goes before it for what workload identity sets.
    pub fn parse(azure_json: &str, environment: &Environment) -> Result<CloudConfig, ConfigError> {
        let document = Document::parse(azure_json)?;
        let name = document.text("cloud")?.unwrap_or_default();
        let cloud = Cloud::named(&name, environment.cloud_file.as_deref())?;
        let authority = match document.text("activeDirectoryEndpoint")? {
            Some(text) => key_address("activeDirectoryEndpoint", &text)?,
            None => match &environment.authority_host {
                Some(text) => variable_address("AZURE_AUTHORITY_HOST", text)?,
                None => cloud.authority.clone(),
            },
        };
        let arm_endpoint = match document.text("resourceManagerEndpoint")? {
            Some(text) => key_address("resourceManagerEndpoint", &text)?,
            None => cloud.arm.clone(),
        };
        let location: String = document.needed("location")?.split_whitespace().collect();
        Ok(CloudConfig {
            arm_endpoint,
            scope: cloud.scope(),
            subscription: document.needed("subscriptionId")?,
            resource_group: document.needed("resourceGroup")?,
            location: location.to_lowercase(),
            vm_type: vm_type(&document)?,
            is_azure_stack: name.eq_ignore_ascii_case("AzureStackCloud")
                && !document.flag("disableAzureStackCloud")?,
            authority,
            identity: identity(&document, environment)?,
        })
    }

    /// Tokens for Resource Manager over `transport`; `metadata` is the base address of the VM's metadata service,
    /// where managed identities are asked for. Nothing is asked before the first token is.
    pub fn tokens(&self, transport: Arc<dyn Transport>, metadata: &Url) -> Tokens {
        let source = Source {
            identity: self.identity.clone(),
            authority: self.authority.clone(),
            metadata: metadata.clone(),
            transport,
        };
        Tokens::new(Arc::new(source), self.scope.clone())
    }
}

/// The first of: federated token, managed identity, client secret, the identity service of the environment.
fn identity(document: &Document, environment: &Environment) -> Result<Identity, ConfigError> {
    let is_federated = document.flag("useFederatedWorkloadIdentityExtension")?;
    if is_federated || environment.federated_token_file.is_some() {
        let in_file = document.text("aadFederatedTokenFile")?.map(PathBuf::from);
        let file = environment.federated_token_file.clone().or(in_file);
        return Ok(Identity::Federated {
            tenant: tenant(document, environment)?,
            client: client(document, environment)?,
            file: file.ok_or_else(|| ConfigError::key("aadFederatedTokenFile", "is missing"))?,
        });
    }
    let secret = document.text("aadClientSecret")?.map(Secret::from).or(environment.client_secret.clone());
    let is_managed = document.flag("useManagedIdentityExtension")?;
    match secret {
        Some(secret) if !is_managed => Ok(Identity::ClientSecret {
            tenant: tenant(document, environment)?,
            client: client(document, environment)?,
            secret,
        }),
        _ if is_managed || environment.identity_endpoint.is_some() => managed(document, environment),
        _ => Err(ConfigError::NoCredential),
    }
}

fn managed(document: &Document, environment: &Environment) -> Result<Identity, ConfigError> {
    let user = document.text("userAssignedIdentityID")?.map(|id| UserAssigned::parse(&id));
    let Some(endpoint) = &environment.identity_endpoint else {
        return Ok(Identity::Managed { user });
    };
    let endpoint = variable_address("IDENTITY_ENDPOINT", endpoint)?;
    let header = environment.identity_header.clone().ok_or_else(|| ConfigError::Variable {
        variable: "IDENTITY_HEADER",
        reason: "is missing beside IDENTITY_ENDPOINT".to_owned(),
    })?;
    Ok(Identity::AppService { endpoint, header, user })
}

fn tenant(document: &Document, environment: &Environment) -> Result<String, ConfigError> {
    let tenant = match &environment.tenant_id {
        Some(tenant) => tenant.clone(),
        None => document.needed("tenantId")?,
    };
    let is_plain = tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    if is_plain { Ok(tenant) } else { Err(ConfigError::key("tenantId", "is neither an id nor a domain")) }
}

fn client(document: &Document, environment: &Environment) -> Result<String, ConfigError> {
    environment.client_id.clone().map_or_else(|| document.needed("aadClientId"), Ok)
}

fn vm_type(document: &Document) -> Result<Option<VmType>, ConfigError> {
    let Some(text) = document.text("vmType")? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "standard" => Ok(Some(VmType::Standard)),
        "vmss" => Ok(Some(VmType::ScaleSet)),
        "vmssflex" => Ok(Some(VmType::FlexibleScaleSet)),
        _ => Err(ConfigError::key("vmType", format!("{text:?} is none of standard, vmss, vmssflex"))),
    }
}

fn key_address(key: &'static str, text: &str) -> Result<Url, ConfigError> {
    address(key, text).map_err(|error| ConfigError::key(key, reason(error)))
}

fn variable_address(variable: &'static str, text: &str) -> Result<Url, ConfigError> {
    address(variable, text).map_err(|error| ConfigError::Variable { variable, reason: reason(error) })
}

fn reason(error: CloudError) -> String {
    match error {
        CloudError::Address { reason, .. } => reason,
        CloudError::Unknown(_) | CloudError::File(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
