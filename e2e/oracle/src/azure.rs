//! The client under which the emulator is examined: `azure_mgmt_compute`, and the polling that it lacks.
//!
//! Every request goes out by `.send()`. The crate's own `.await` sends the same PUT again instead of polling, looks
//! for the state under a key that is never there, and follows a POST's result with a GET of the POST's
//! address; none of that says anything about the service. So an operation is followed here, by
//! `Azure-AsyncOperation`, else by `Location`.

use std::sync::Arc;
use std::time::Duration;

use azure_core::auth::{AccessToken, TokenCredential};
use azure_core::error::HttpError;
use azure_core::headers::{AUTHORIZATION, HeaderName};
use azure_core::{HttpClient, Method, Request, Response, StatusCode, Url};
use azure_mgmt_compute::package_2024_07_01 as compute;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

/// How long one operation may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait between polls at most, whatever `Retry-After` says.
const PAUSE: Duration = Duration::from_millis(200);

/// What was not as it should be.
#[derive(Debug)]
pub(crate) struct Difference(pub(crate) String);

impl From<azure_core::Error> for Difference {
    fn from(error: azure_core::Error) -> Difference {
        Difference(error.to_string())
    }
}

/// Fails with `what`, unless `is` is `wanted`.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, wanted: &T) -> Result<(), Difference> {
    if is == wanted { Ok(()) } else { Err(Difference(format!("{what} is {is:?}, not {wanted:?}"))) }
}

/// One subscription of one Azure.
pub(crate) struct Azure {
    client: compute::Client,
    http: Arc<dyn HttpClient>,
    token: String,
}

/// A bearer token got once.
#[derive(Debug)]
struct Fixed(String);

#[async_trait::async_trait]
impl TokenCredential for Fixed {
    async fn get_token(&self, _scopes: &[&str]) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new(self.0.clone(), OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1 << 33)))
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        Ok(())
    }
}

impl Azure {
    /// Logs in with a client secret at the service's own token endpoint.
    pub(crate) async fn connect(endpoint: &Url) -> Result<Azure, Difference> {
        let http = azure_core::new_http_client();
        let mut address = endpoint.clone();
        address.set_path("/72f988bf-0000-4000-8000-000000000001/oauth2/v2.0/token");
        let mut request = Request::new(address, Method::Post);
        request.insert_header("content-type", "application/x-www-form-urlencoded");
        request.set_body(
            "grant_type=client_credentials&client_id=oracle&client_secret=oracle\
             &scope=https%3A%2F%2Fmanagement.azure.com%2F.default",
        );
        let answer = http.execute_request_check_status(&request).await?;
        let answer: Value = azure_core::from_json(answer.body())?;
        let token = answer["access_token"].as_str().ok_or_else(|| Difference("no access_token".into()))?;
        let credential = Arc::new(Fixed(token.to_owned()));
        let client = compute::Client::builder(credential).endpoint(endpoint.clone()).build()?;
        Ok(Azure { client, http, token: token.to_owned() })
    }

    pub(crate) fn disks(&self) -> compute::disks::Client {
        self.client.disks_client()
    }

    pub(crate) fn vms(&self) -> compute::virtual_machines::Client {
        self.client.virtual_machines_client()
    }

    /// Follows the operation that an answer started, until it has succeeded.
    pub(crate) async fn follow(&self, answer: Response) -> Result<(), Difference> {
        let accepted = matches!(answer.status(), StatusCode::Created | StatusCode::Accepted);
        let header = |name| answer.headers().get_optional_string(&HeaderName::from_static(name));
        let (operation, location) = (header("azure-asyncoperation"), header("location"));
        let address = match (operation.as_ref(), location.as_ref()) {
            (None, None) if !accepted => return Ok(()),
            (None, None) => return Err(Difference(format!("{} names no operation", answer.status()))),
            (Some(address), _) | (None, Some(address)) => address,
        };
        let address =
            Url::parse(address).map_err(|error| Difference(format!("operation {address:?}: {error}")))?;
        let polls = async {
            loop {
                if self.poll(&address, operation.is_some()).await? {
                    return Ok(());
                }
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, polls)
            .await
            .map_err(|_| Difference(format!("the operation is not over after {} s", PATIENCE.as_secs())))?
    }

    /// Whether the operation has succeeded.
    async fn poll(&self, address: &Url, has_status: bool) -> Result<bool, Difference> {
        let mut request = Request::new(address.clone(), Method::Get);
        request.insert_header(AUTHORIZATION, format!("Bearer {}", self.token));
        let answer = self.http.execute_request_check_status(&request).await?;
        if !has_status {
            return Ok(*answer.status() != StatusCode::Accepted);
        }
        let body: Value = azure_core::from_json(answer.body())?;
        match body["status"].as_str() {
            Some("Succeeded") => Ok(true),
            Some("Failed" | "Canceled") | None => Err(Difference(format!("the operation ended: {body}"))),
            Some(_) => Ok(false),
        }
    }
}

/// Status and code of a refusal; an answer that is none is a difference.
pub(crate) fn refusal<T>(answer: azure_core::Result<T>) -> Result<(u16, String), Difference> {
    let error = answer.err().ok_or_else(|| Difference("it was not refused".into()))?;
    let http: &HttpError = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .ok_or_else(|| Difference(format!("no answer: {error}")))?;
    Ok((http.status().into(), http.error_code().unwrap_or_default().to_owned()))
}
