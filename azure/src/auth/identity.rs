//! Who the driver is towards Azure, and how it proves it. Client secret, federated token and the VM's managed
//! identity are azure_identity's; the identity service of `IDENTITY_ENDPOINT` is asked here, because azure_identity
//! takes its address from the environment only.
//!
//! A new credential is made for each token: [`super::Tokens`] keeps the token, so azure_identity's cache must not
//! give back one that Azure has refused, and the token file is read as it is now.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport as Pipe};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use super::door::{Door, number};
use super::error::{TokenError, TokenErrorKind};
use crate::transport::Transport;

/// A user-assigned identity, as `userAssignedIdentityID` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserAssigned {
    Client(String),
    Resource(String),
}

impl UserAssigned {
    /// Only a resource's id has slashes.
    pub(crate) fn parse(text: &str) -> UserAssigned {
        if text.contains('/') {
            UserAssigned::Resource(text.to_owned())
        } else {
            UserAssigned::Client(text.to_owned())
        }
    }

    fn name(&self) -> &str {
        let (UserAssigned::Client(id) | UserAssigned::Resource(id)) = self;
        id
    }
}

/// Who the driver is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Identity {
    Federated { tenant: String, client: String, file: PathBuf },
    Managed { user: Option<UserAssigned> },
    AppService { endpoint: Url, header: Secret, user: Option<UserAssigned> },
    ClientSecret { tenant: String, client: String, secret: Secret },
}

impl Identity {
    fn name(&self) -> String {
        match self {
            Identity::Federated { client, .. } => format!("federated token of application {client}"),
            Identity::ClientSecret { client, .. } => format!("client secret of application {client}"),
            Identity::Managed { user: None } => "system-assigned managed identity".to_owned(),
            Identity::AppService { user: None, .. } => "managed identity of IDENTITY_ENDPOINT".to_owned(),
            Identity::Managed { user: Some(user) } | Identity::AppService { user: Some(user), .. } => {
                format!("user-assigned managed identity {}", user.name())
            }
        }
    }

    fn advice(&self) -> String {
        match self {
            Identity::Federated { file, .. } => format!(
                "check the application's federated credential, tenantId and the token file {}",
                file.display()
            ),
            Identity::ClientSecret { .. } => "check aadClientId, aadClientSecret and tenantId".to_owned(),
            Identity::Managed { user: None } => {
                "give this VM a system-assigned identity, or set userAssignedIdentityID".to_owned()
            }
            Identity::Managed { user: Some(_) } => {
                "assign this identity to the VM, or correct userAssignedIdentityID".to_owned()
            }
            Identity::AppService { .. } => {
                "check IDENTITY_ENDPOINT, IDENTITY_HEADER and userAssignedIdentityID".to_owned()
            }
        }
    }
}

/// Tokens of one identity.
pub(crate) struct Source {
    pub(crate) identity: Identity,
    /// The identity service of client secrets and federated tokens.
    pub(crate) authority: Url,
    /// The metadata service of the VM.
    pub(crate) metadata: Url,
    pub(crate) transport: Arc<dyn Transport>,
}

/// Where azure_identity looks for the metadata service.
const METADATA: &str = "http://169.254.169.254/";

impl Source {
    async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let door = self.door()?;
        if let Identity::AppService { endpoint, header, user } = &self.identity {
            return app_service(&door, endpoint, header, user.as_ref(), scope).await;
        }
        let door = Arc::new(door);
        let credential = self.credential(&door)?;
        let answer = credential.get_token(&[scope], None).await;
        let token = answer.map_err(|error| find(&error).unwrap_or_else(|| door.nonsense()))?;
        if token.token.secret().is_empty() { Err(door.nonsense()) } else { Ok(token) }
    }

    fn credential(&self, door: &Arc<Door>) -> Result<Arc<dyn TokenCredential>, TokenError> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.secure_authority()?.into();
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Pipe::new(Arc::clone(door) as _)),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        let made: azure_core::Result<Arc<dyn TokenCredential>> = match self.identity.clone() {
            Identity::Federated { tenant, client, file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: Some(client),
                    tenant_id: Some(tenant),
                    token_file_path: Some(file),
                }))
                .map(|credential| credential as _)
            }
            Identity::ClientSecret { tenant, client, secret } => {
                let options = ClientSecretCredentialOptions { client_options };
                ClientSecretCredential::new(&tenant, client, secret, Some(options))
                    .map(|credential| credential as _)
            }
            Identity::Managed { user } | Identity::AppService { user, .. } => {
                let user_assigned_id = user.map(|user| match user {
                    UserAssigned::Client(id) => UserAssignedId::ClientId(id),
                    UserAssigned::Resource(id) => UserAssignedId::ResourceId(id),
                });
                let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
                ManagedIdentityCredential::new(Some(options)).map(|credential| credential as _)
            }
        };
        made.map_err(|error| self.misconfigured(&innermost(&error)))
    }

    fn door(&self) -> Result<Door, TokenError> {
        let detour = match self.identity {
            Identity::Managed { .. } => Some((self.known_metadata()?, self.metadata.clone())),
            Identity::AppService { .. } => None,
            Identity::Federated { .. } | Identity::ClientSecret { .. } => {
                Some((self.secure_authority()?, self.authority.clone()))
            }
        };
        let (name, advice) = (self.identity.name(), self.identity.advice());
        Ok(Door { transport: Arc::clone(&self.transport), name, advice, detour })
    }

    fn known_metadata(&self) -> Result<Url, TokenError> {
        Url::parse(METADATA).map_err(|error| self.misconfigured(&error.to_string()))
    }

    /// The authority as azure_identity wants it, which refuses one without TLS even on this machine.
    fn secure_authority(&self) -> Result<Url, TokenError> {
        let place = &self.authority[url::Position::BeforeHost..url::Position::AfterPort];
        Url::parse(&format!("https://{place}/")).map_err(|error| self.misconfigured(&error.to_string()))
    }

    fn misconfigured(&self, reason: &str) -> TokenError {
        let (name, advice) = (self.identity.name(), self.identity.advice());
        TokenError::new(TokenErrorKind::Misconfigured, format!("{name}: {reason}; {advice}"))
    }
}

#[async_trait::async_trait]
impl TokenCredential for Source {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        self.token(scopes.first().unwrap_or(&"")).await.map_err(TokenError::into_azure)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.identity.name()).finish()
    }
}

/// The identity service that App Service and its look-alikes have beside the program.
async fn app_service(
    door: &Door,
    endpoint: &Url,
    header: &Secret,
    user: Option<&UserAssigned>,
    scope: &str,
) -> Result<AccessToken, TokenError> {
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let mut url = endpoint.clone();
    url.query_pairs_mut().append_pair("api-version", "2019-08-01").append_pair("resource", resource);
    match user {
        None => {}
        Some(UserAssigned::Client(id)) => drop(url.query_pairs_mut().append_pair("client_id", id)),
        Some(UserAssigned::Resource(id)) => drop(url.query_pairs_mut().append_pair("mi_res_id", id)),
    }
    let request = http::Request::get(url.as_str()).header("x-identity-header", header.secret());
    let request = request.body(Bytes::new()).map_err(|_| {
        let reason = "IDENTITY_HEADER cannot be sent as a header";
        TokenError::new(TokenErrorKind::Misconfigured, format!("{}: {reason}", door.name))
    })?;
    let answer: Value = serde_json::from_slice(&door.ask(request).await?).unwrap_or_default();
    let token = answer["access_token"].as_str().filter(|token| !token.is_empty());
    let ends = number(&answer["expires_on"]).and_then(|end| OffsetDateTime::from_unix_timestamp(end).ok());
    match (token, ends) {
        (Some(token), Some(ends)) => Ok(AccessToken::new(token.to_owned(), ends)),
        _ => Err(door.nonsense()),
    }
}

impl TokenError {
    /// As azure_core carries it. A credential's error is not one that its pipeline tries again.
    pub(crate) fn into_azure(self) -> azure_core::Error {
        azure_core::Error::new(ErrorKind::Credential, self)
    }
}

/// What a credential's failure says, ours or not.
pub(crate) fn told(error: &azure_core::Error) -> TokenError {
    find(error).unwrap_or_else(|| match error.http_status().map(u16::from) {
        Some(400..=499) => TokenError::new(TokenErrorKind::Unauthenticated, "the identity service refused"),
        _ => TokenError::unreachable("the credential failed"),
    })
}

fn find(error: &azure_core::Error) -> Option<TokenError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<TokenError>() {
            return Some(found.clone());
        }
        cause = error.source();
    }
    None
}

/// The innermost cause: "no such file" rather than "failed".
fn innermost(error: &azure_core::Error) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
