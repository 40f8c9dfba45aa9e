//! The environment variables the driver knows, read once at start; nothing else in the workspace reads the
//! environment (libraries look at `SSL_CERT_FILE` and the proxy variables themselves). **Invariant:** secrets
//! are in [`Secret`], so that no log can show them.

use std::path::PathBuf;

use azure::Secret;

/// The variables; empty ones count as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `AZURE_CREDENTIAL_FILE`: where `azure.json` is; by default /etc/kubernetes/azure.json.
    pub credential_file: PathBuf,
    /// `AZURE_ENVIRONMENT_FILEPATH`: a file with the endpoints of a cloud that is not built in.
    pub cloud_file: Option<PathBuf>,
    /// `PATH`: where tools such as mkfs are looked up.
    pub path: Option<String>,
    /// `KUBERNETES_SERVICE_HOST`: the API server of the cluster that this pod is in.
    pub kubernetes_host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`: its port.
    pub kubernetes_port: Option<String>,
    /// What the Azure client takes beside `azure.json`.
    pub azure: azure::Environment,
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
            cloud_file: text("AZURE_ENVIRONMENT_FILEPATH").map(PathBuf::from),
            path: text("PATH"),
            kubernetes_host: text("KUBERNETES_SERVICE_HOST"),
            kubernetes_port: text("KUBERNETES_SERVICE_PORT"),
            azure: azure::Environment {
                cloud_file: None, // its content is read when it is needed
                tenant_id: text("AZURE_TENANT_ID"),
                client_id: text("AZURE_CLIENT_ID"),
                client_secret: text("AZURE_CLIENT_SECRET").map(Secret::from),
                federated_token_file: text("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
                authority_host: text("AZURE_AUTHORITY_HOST"),
                identity_endpoint: text("IDENTITY_ENDPOINT"),
                identity_header: text("IDENTITY_HEADER").map(Secret::from),
            },
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
        assert_eq!(environment.azure.client_id, None);
        assert_eq!(environment.credential_file, PathBuf::from("/etc/kubernetes/azure.json"));
        assert_eq!(environment.azure.client_secret.as_ref().unwrap().secret(), "hunter2");
        assert!(!format!("{environment:?}").contains("hunter2"));
    }
}
