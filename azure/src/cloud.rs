//! The clouds: where each has its Resource Manager and its identity service, and for whom its tokens are made.
//! A cloud that isn't in the table is described by a file (`AZURE_ENVIRONMENT_FILEPATH`).
//!
//! **Invariant:** no address is plain http unless it is on this machine: tokens and secrets travel to them.

use serde::Deserialize;
use url::Url;

/// The addresses of one cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Azure Resource Manager.
    pub arm: Url,
    /// The identity service (Entra ID).
    pub authority: Url,
    /// Whom a token is for, as the identity service knows Resource Manager.
    pub audience: String,
}

/// What is wrong with the description of a cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// Neither built in nor described by a file.
    #[error(
        "{0:?} is no cloud that is built in ({known}); describe it in a file and name that in \
         AZURE_ENVIRONMENT_FILEPATH",
        known = NAMES
    )]
    Unknown(String),
    /// The file isn't JSON of the right shape.
    #[error("the file of AZURE_ENVIRONMENT_FILEPATH: {0}")]
    File(String),
    /// A key has no address that can be used.
    #[error("{key}: {reason}")]
    Address {
        /// The key, as it is spelled in the file.
        key: &'static str,
        /// Why not.
        reason: String,
    },
}

const NAMES: &str = "AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud";

/// Names of a cloud in lower case, the host of its Resource Manager (also its audience), of its authority.
const CLOUDS: &[(&[&str], &str, &str)] = &[
    (
        &["azurepubliccloud", "azurecloud", ""],
        "https://management.azure.com/",
        "https://login.microsoftonline.com/",
    ),
    (
        &["azureusgovernmentcloud", "azureusgovernment"],
        "https://management.usgovcloudapi.net/",
        "https://login.microsoftonline.us/",
    ),
    (&["azurechinacloud"], "https://management.chinacloudapi.cn/", "https://login.chinacloudapi.cn/"),
];

/// A cloud as a file describes it. Other keys (storage, DNS, gallery…) are of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    resource_manager_endpoint: Option<String>,
    active_directory_endpoint: Option<String>,
    token_audience: Option<String>,
}

impl Cloud {
    /// The cloud called `name` (any case; empty is the public one). What the text of an environment file says
    /// goes before the table.
    pub fn named(name: &str, file: Option<&str>) -> Result<Cloud, CloudError> {
        let file = match file.map(serde_json::from_str::<File>) {
            None => return Cloud::built_in(name).ok_or_else(|| CloudError::Unknown(name.to_owned())),
            Some(file) => file.map_err(|error| CloudError::File(error.to_string()))?,
        };
        let known = Cloud::built_in(name);
        let fallback = |key, part: Option<&Url>| {
            part.cloned().ok_or(CloudError::Address { key, reason: "is missing".to_owned() })
        };
        let arm = match &file.resource_manager_endpoint {
            Some(text) => address("resourceManagerEndpoint", text)?,
            None => fallback("resourceManagerEndpoint", known.as_ref().map(|cloud| &cloud.arm))?,
        };
        let authority = match &file.active_directory_endpoint {
            Some(text) => address("activeDirectoryEndpoint", text)?,
            None => {
                known.as_ref().map_or_else(Cloud::public_authority, |cloud| Ok(cloud.authority.clone()))?
            }
        };
        let known_audience = known.map(|cloud| cloud.audience);
        let audience = file.token_audience.or(known_audience).unwrap_or_else(|| arm.to_string());
        Ok(Cloud { arm, authority, audience })
    }

    fn built_in(name: &str) -> Option<Cloud> {
        let name = name.to_ascii_lowercase();
        let (_, arm, authority) = CLOUDS.iter().find(|(names, ..)| names.contains(&name.as_str()))?;
        let (arm, authority) = (Url::parse(arm).ok()?, Url::parse(authority).ok()?);
        Some(Cloud { audience: arm.to_string(), arm, authority })
    }

    fn public_authority() -> Result<Url, CloudError> {
        address("activeDirectoryEndpoint", CLOUDS[0].2)
    }

    /// The OAuth scope of [`Cloud::audience`].
    pub fn scope(&self) -> String {
        format!("{}/.default", self.audience.trim_end_matches('/'))
    }
}

/// Reads an address secrets may be sent to: https, or http to this machine, with no password and no query.
pub(crate) fn address(key: &'static str, text: &str) -> Result<Url, CloudError> {
    let wrong = |reason: &str| CloudError::Address { key, reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is no address ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or a password"));
    }
    match url.scheme() {
        "https" if url.host().is_some() => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(wrong("http is allowed to this machine only; use https")),
        _ => return Err(wrong("must be an https address")),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must not hold a query"));
    }
    Ok(url)
}

/// Whether `url` leads to this machine, by its spelling (127.0.0.0/8, ::1, localhost).
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_clouds() {
        for (name, arm, authority, scope) in [
            (
                "",
                "management.azure.com",
                "login.microsoftonline.com",
                "https://management.azure.com/.default",
            ),
            (
                "AZUREPUBLICCLOUD",
                "management.azure.com",
                "login.microsoftonline.com",
                "https://management.azure.com/.default",
            ),
            (
                "AzureUSGovernmentCloud",
                "management.usgovcloudapi.net",
                "login.microsoftonline.us",
                "https://management.usgovcloudapi.net/.default",
            ),
            (
                "AzureChinaCloud",
                "management.chinacloudapi.cn",
                "login.chinacloudapi.cn",
                "https://management.chinacloudapi.cn/.default",
            ),
        ] {
            let cloud = Cloud::named(name, None).unwrap();
            assert_eq!(
                (cloud.arm.host_str(), cloud.authority.host_str()),
                (Some(arm), Some(authority)),
                "{name}"
            );
            assert_eq!(cloud.scope(), scope, "{name}");
        }
        let unknown = Cloud::named("AzureStackCloud", None).unwrap_err().to_string();
        assert!(
            unknown.contains("AzureStackCloud") && unknown.contains("AZURE_ENVIRONMENT_FILEPATH"),
            "{unknown}"
        );
    }

    #[test]
    fn a_file_describes_a_cloud() {
        for (name, file, wanted) in [
            (
                "AzureStackCloud",
                r#"{"name":"AzureStackCloud","resourceManagerEndpoint":"http://127.0.0.1:8","tokenAudience":"https://management.azure.com/","activeDirectoryEndpoint":"https://127.0.0.1:1/","tokens":1}"#,
                "http://127.0.0.1:8/ https://127.0.0.1:1/ https://management.azure.com/.default",
            ),
            (
                "Own",
                r#"{"resourceManagerEndpoint":"https://arm.example.org"}"#,
                "https://arm.example.org/ https://login.microsoftonline.com/ https://arm.example.org/.default",
            ),
            (
                "AzureChinaCloud",
                r#"{"resourceManagerEndpoint":"https://arm.example.org"}"#,
                "https://arm.example.org/ https://login.chinacloudapi.cn/ https://management.chinacloudapi.cn/.default",
            ),
        ] {
            let cloud = Cloud::named(name, Some(file)).unwrap();
            assert_eq!(format!("{} {} {}", cloud.arm, cloud.authority, cloud.scope()), wanted, "{file}");
        }
    }

    #[test]
    fn a_wrong_file_is_told_by_its_key() {
        for (file, part) in [
            ("{", "AZURE_ENVIRONMENT_FILEPATH"),
            ("{}", "resourceManagerEndpoint: is missing"),
            (
                r#"{"resourceManagerEndpoint":"http://arm.example.org"}"#,
                "resourceManagerEndpoint: http is allowed",
            ),
            (
                r#"{"resourceManagerEndpoint":"https://a","activeDirectoryEndpoint":"http://b"}"#,
                "activeDirectoryEndpoint: http is allowed",
            ),
        ] {
            let message = Cloud::named("Own", Some(file)).unwrap_err().to_string();
            assert!(message.contains(part), "{file}: {message}");
        }
    }

    #[test]
    fn secrets_go_to_https_or_to_this_machine() {
        for (text, good) in [
            ("https://management.azure.com", true),
            ("https://10.0.0.1:8443/arm", true),
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://LOCALHOST:1", true),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("http://169.254.169.254", false),
            ("http://[::ffff:8.8.8.8]", false),
            ("http://127.0.0.1@example.org", false),
            ("https://user:word@example.org", false),
            ("https://example.org/?a=b", false),
            ("ftp://localhost", false),
            ("management.azure.com", false),
            ("", false),
        ] {
            assert_eq!(address("key", text).is_ok(), good, "{text}");
        }
    }
}
