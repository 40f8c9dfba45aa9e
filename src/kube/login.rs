//! Where the API server is and how the driver shows who it is: a kubeconfig, or what Kubernetes gives a pod.
//!
//! **Invariants:** tokens and keys cannot be printed; a token is sent only to the server of its own
//! configuration. A token file is read for every request: there are few requests, and so a rotated token is
//! never an old one.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use azure::Secret;
use http::HeaderValue;
use url::{Host, Url};

use super::client::Error;
use super::kubeconfig;
use crate::environment::Environment;

/// What Kubernetes mounts into a pod whose account may ask the API.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file in the format of kubectl.
    Kubeconfig(PathBuf),
    /// The pod's environment and service account.
    Pod {
        /// The API server.
        server: Url,
        /// The mounted folder with `token` and `ca.crt`.
        folder: PathBuf,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Kubeconfig(path) => write!(f, "{}", path.display()),
            Origin::Pod { folder, .. } => write!(f, "{}", folder.display()),
        }
    }
}

impl Origin {
    /// The kubeconfig if there is a flag for one, else the pod's own; `None`: there is no API for this process. A
    /// pod without a token has none: every pod's environment names the server.
    pub fn find(kubeconfig: Option<&Path>, environment: &Environment, folder: &Path) -> Option<Origin> {
        if let Some(path) = kubeconfig {
            return Some(Origin::Kubeconfig(path.to_owned()));
        }
        let host = environment.kubernetes_host.as_deref()?;
        let port = environment.kubernetes_port.as_deref().unwrap_or("443");
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let server = Url::parse(&format!("https://{host}:{port}")).ok()?;
        let folder = folder.to_owned();
        folder.join("token").is_file().then_some(Origin::Pod { server, folder })
    }

    /// Reads it. Blocks on files.
    pub fn open(&self) -> Result<Access, Error> {
        match self {
            Origin::Kubeconfig(path) => kubeconfig::open(path),
            Origin::Pod { server, folder } => Ok(Access {
                server: server.clone(),
                trust: Trust {
                    authority: Some(Pem::File(folder.join("ca.crt"))),
                    identity: None,
                    is_direct: true,
                },
                login: Login::TokenFile(folder.join("token")),
            }),
        }
    }
}

/// A server, and how to be let in.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its address.
    pub server: Url,
    /// For the connection.
    pub trust: Trust,
    /// For each request.
    pub login: Login,
}

/// What a connection to the server is built with.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Who may vouch for the server; `None`: whom the machine trusts.
    pub authority: Option<Pem>,
    /// The certificate and the key that the driver shows.
    pub identity: Option<(Pem, Pem)>,
    /// No proxy between: to this machine and to the pod's own cluster, whatever is set for the way to Azure.
    pub is_direct: bool,
}

impl Trust {
    /// Whether reading the driver's certificate again may bring something new.
    pub(super) fn may_change(&self) -> bool {
        let parts = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        parts.into_iter().any(|part| matches!(part, Pem::File(_)))
    }
}

/// A certificate or a key.
#[derive(Clone)]
pub enum Pem {
    /// In a file, read whenever connections are prepared.
    File(PathBuf),
    /// From the configuration itself.
    Inline(Vec<u8>),
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => write!(f, "{}", path.display()),
            Pem::Inline(_) => f.write_str("the kubeconfig's own text"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}

/// How a request shows who sends it.
#[derive(Clone, Debug)]
pub enum Login {
    /// By the connection's certificate, or not at all.
    None,
    /// By this token.
    Token(Secret),
    /// By the token that is in this file at that moment.
    TokenFile(PathBuf),
}

impl Login {
    /// Whether reading it again may bring something new.
    pub(super) fn may_change(&self) -> bool {
        matches!(self, Login::TokenFile(_))
    }

    /// The `Authorization` of a request, marked as not to be printed. Blocks on the token file.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let token = match self {
            Login::None => return Ok(None),
            Login::Token(token) => token.clone(),
            Login::TokenFile(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Error::Configuration(format!("the token {} cannot be read: {error}", path.display()))
                })?;
                Secret::from(text.trim().to_owned())
            }
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret())).map_err(|_| {
            Error::Configuration("the token is not one: it has strange characters".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Whether `server` is this machine, reached in clear text.
///
/// # Errors
/// If it is reached in clear text over a network: everybody on the way would get the token.
pub(super) fn check_server(server: &Url) -> Result<bool, Error> {
    let is_here = match server.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match server.scheme() {
        "https" => Ok(false),
        "http" if is_here => Ok(true),
        _ => Err(Error::Configuration(format!("the server {server} is not reached by https"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(host: &str) -> Environment {
        Environment { kubernetes_host: Some(host.to_owned()), ..Environment::default() }
    }

    #[test]
    fn a_pod_without_a_token_has_no_api() {
        let folder = tempfile::tempdir().unwrap();
        let find = |kubeconfig: Option<&str>, environment: &Environment| {
            Origin::find(kubeconfig.map(Path::new), environment, folder.path())
        };
        assert_eq!(find(None, &environment("10.0.0.1")), None);
        fs::write(folder.path().join("token"), "hunter2").unwrap();
        assert_eq!(find(None, &Environment::default()), None);
        for (host, server) in [("10.0.0.1", "https://10.0.0.1/"), ("fd00::1", "https://[fd00::1]/")] {
            let Some(Origin::Pod { server: found, .. }) = find(None, &environment(host)) else {
                panic!("{host}")
            };
            assert_eq!(found.as_str(), server);
        }
        let named = find(Some("/k"), &environment("10.0.0.1"));
        assert_eq!(named, Some(Origin::Kubeconfig("/k".into())), "what is said wins");
    }

    #[test]
    fn a_rotated_token_is_taken_and_none_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let login = Login::TokenFile(path.clone());
        assert!(login.header().unwrap_err().to_string().contains("token"));
        for token in ["hunter2", "hunter3"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            let header = login.header().unwrap().unwrap();
            assert_eq!(header.to_str().unwrap(), format!("Bearer {token}"));
            assert!(!format!("{header:?}").contains("hunter"));
        }
        let shown = format!("{:?} {:?}", Login::Token("hunter2".into()), Pem::Inline(b"hunter2".to_vec()));
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
