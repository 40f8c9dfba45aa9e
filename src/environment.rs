//! The environment variables the driver knows, read once at start; nothing else in the workspace reads the
//! environment (rustls looks at `SSL_CERT_FILE` itself). **Invariant:** secrets are in [`Secret`], so that
//! no log can show them.

use std::fmt;
use std::path::PathBuf;

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself, for the one who has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The variables; empty ones count as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `AZURE_CREDENTIAL_FILE`: where `azure.json` is; by default /etc/kubernetes/azure.json.
    pub credential_file: PathBuf,
    /// `AZURE_ENVIRONMENT_FILEPATH`: the endpoints of a cloud that is not built in.
    pub environment_file: Option<PathBuf>,
    /// `AZURE_TENANT_ID`, set by workload identity.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`, set by workload identity.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Secret>,
    /// `AZURE_FEDERATED_TOKEN_FILE`, set by workload identity.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`, set by workload identity.
    pub authority_host: Option<String>,
    /// `IDENTITY_ENDPOINT`: a managed identity service other than the instance's.
    pub identity_endpoint: Option<String>,
    /// `IDENTITY_HEADER`: what that service wants to see.
    pub identity_header: Option<Secret>,
    /// `PATH`: where tools such as mkfs are looked up.
    pub path: Option<String>,
}

impl Environment {
    /// The variables of this process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process() -> Environment {
        Environment::read(|name| std::env::var(name).ok())
    }

    /// The variables as `variable` tells them.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Environment {
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        Environment {
            credential_file: text("AZURE_CREDENTIAL_FILE")
                .unwrap_or_else(|| "/etc/kubernetes/azure.json".to_owned())
                .into(),
            environment_file: text("AZURE_ENVIRONMENT_FILEPATH").map(PathBuf::from),
            tenant_id: text("AZURE_TENANT_ID"),
            client_id: text("AZURE_CLIENT_ID"),
            client_secret: text("AZURE_CLIENT_SECRET").map(Secret::new),
            federated_token_file: text("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
            authority_host: text("AZURE_AUTHORITY_HOST"),
            identity_endpoint: text("IDENTITY_ENDPOINT"),
            identity_header: text("IDENTITY_HEADER").map(Secret::new),
            path: text("PATH"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set_and_secrets_stay_hidden() {
        let environment = Environment::read(|name| match name {
            "AZURE_CLIENT_SECRET" | "IDENTITY_HEADER" => Some("hunter2".to_owned()),
            "AZURE_CLIENT_ID" => Some(String::new()),
            _ => None,
        });
        assert_eq!(environment.client_id, None);
        assert_eq!(environment.credential_file, PathBuf::from("/etc/kubernetes/azure.json"));
        assert_eq!(environment.client_secret.as_ref().unwrap().reveal(), "hunter2");
        assert!(!format!("{environment:?}").contains("hunter2"));
    }
}
