//! The validated configuration: a pure function of the flags and the environment, with every error told at
//! once. Nothing is opened or contacted here, so a driver with a broken `azure.json` still starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing::Level;
use url::{Host, Url};

use crate::environment::Environment;
use crate::flags::Flags;

/// The address of the instance metadata service on Azure.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const IMDS_ENDPOINT: &str = "http://169.254.169.254";

/// Which role the process plays. All services answer in every mode; only background work differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Beside the Kubernetes sidecars.
    Controller,
    /// Beside the kubelet.
    Node,
    /// Both.
    All,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Controller => "controller",
            Mode::Node => "node",
            Mode::All => "all",
        })
    }
}

/// Where the CSI services are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket at this absolute path.
    Unix(PathBuf),
    /// A loopback port: the protocol has no authentication of its own.
    Tcp(SocketAddr),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Everything the driver is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// The role.
    pub mode: Mode,
    /// Where to serve.
    pub endpoint: Endpoint,
    /// This node's name; empty in a controller.
    pub node_id: String,
    /// The driver's name, also part of its topology key.
    pub driver_name: String,
    /// Below it lie `/sys` and `/dev`.
    pub device_root: PathBuf,
    /// Base address of the instance metadata service; its path ends with a slash.
    pub imds_endpoint: Url,
    /// Where to serve metrics, if at all.
    pub metrics_address: Option<SocketAddr>,
    /// How to log.
    pub log_format: LogFormat,
    /// How much to log.
    pub log_level: Level,
    /// How long calls in flight may go on after a signal.
    pub drain: Duration,
    /// Data disks per node, whatever its size says.
    pub volume_attach_limit: Option<u32>,
    /// Data disks per node that are left to others.
    pub reserved_slots: u32,
    /// Whether a node tells its zone.
    pub support_zone: bool,
    /// Whether expansion of volumes in use is offered.
    pub online_expansion: bool,
    /// What the driver calls itself towards Azure.
    pub user_agent: String,
    /// What the environment says.
    pub environment: Environment,
    /// Flags that were given and change nothing here.
    pub without_effect: Vec<&'static str>,
}

impl Config {
    /// The configuration, or every reason why there is none.
    pub fn new(flags: &Flags, environment: Environment) -> Result<Config, Vec<String>> {
        let mut errors = flags.errors.clone();
        let mut check = Check { flags, errors: &mut errors };
        let node_id = check.parsed("nodeid", String::new(), node_id);
        let mode = check.mode(&node_id);
        let endpoint = check.parsed("endpoint", Endpoint::Unix("/tmp/csi.sock".into()), endpoint);
        let driver_name = check.parsed("drivername", "disk.csi.azure.com".to_owned(), driver_name);
        let device_root = check.parsed("device-root", "/".into(), absolute);
        let metrics_address = check.parsed("metrics-address", None, |text| metrics_address(text).map(Some));
        let log_format = check.parsed("log-format", LogFormat::Text, log_format);
        let log_level = check.parsed("v", Level::INFO, |text| number(text).map(log_level));
        let drain = check.parsed("drain-seconds", Duration::from_mins(5), seconds);
        let volume_attach_limit = check.parsed("volume-attach-limit", None, attach_limit);
        let reserved_slots = check.parsed("reserved-data-disk-slot-num", 0, number);
        let imds_endpoint = imds_endpoint(flags.get("imds-endpoint").unwrap_or(IMDS_ENDPOINT));
        match imds_endpoint {
            Ok(imds_endpoint) if errors.is_empty() => Ok(Config {
                mode,
                endpoint,
                node_id,
                driver_name,
                device_root,
                imds_endpoint,
                metrics_address,
                log_format,
                log_level,
                drain,
                volume_attach_limit,
                reserved_slots,
                support_zone: flags.is_on("support-zone", true),
                online_expansion: flags.is_on("enable-disk-online-resize", true),
                user_agent: user_agent(flags.get("custom-user-agent"), flags.get("user-agent-suffix")),
                environment,
                without_effect: flags.without_effect.iter().copied().collect(),
            }),
            Ok(_) => Err(errors),
            Err(wrong) => {
                errors.push(format!("--imds-endpoint: {wrong}"));
                Err(errors)
            }
        }
    }
}

/// Collects errors while fields are read.
struct Check<'a> {
    flags: &'a Flags,
    errors: &'a mut Vec<String>,
}

impl Check<'_> {
    /// The flag's value as `parse` sees it, or `default` if it isn't given (or is wrong: then an error is noted).
    fn parsed<T>(&mut self, name: &str, default: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        match self.flags.get(name).map(parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(wrong)) => {
                self.errors.push(format!("--{name}: {wrong}"));
                default
            }
        }
    }

    fn mode(&mut self, node_id: &str) -> Mode {
        let inferred = if node_id.is_empty() { Mode::Controller } else { Mode::Node };
        let mode = self.parsed("mode", inferred, |text| match text {
            "controller" => Ok(Mode::Controller),
            "node" => Ok(Mode::Node),
            "all" => Ok(Mode::All),
            _ => Err(format!("{text:?} is none of controller, node, all")),
        });
        if mode != Mode::Controller && node_id.is_empty() {
            self.errors.push(format!("--mode={mode} needs --nodeid: the name of this node in Kubernetes"));
        }
        mode
    }
}

/// `unix://tmp/csi.sock` is `/tmp/csi.sock`, as the Go driver reads it.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix://") {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        return absolute(&path).map(Endpoint::Unix);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return absolute(path).map(Endpoint::Unix);
    }
    let Some(address) = text.strip_prefix("tcp://") else {
        return Err(format!("{text:?} starts neither with unix: nor with tcp://"));
    };
    let address = SocketAddr::from_str(address).map_err(|_| format!("{address:?} is no IP:PORT"))?;
    if !address.ip().is_loopback() {
        return Err(format!("{address} is not a loopback address, and CSI has no authentication"));
    }
    Ok(Endpoint::Tcp(address))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let whole = path.is_absolute() && path.file_name().is_some() || text == "/";
    if whole { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
}

/// CSI: at most 63 characters, letters, digits, '-' and '.', beginning and ending with a letter or digit.
fn driver_name(text: &str) -> Result<String, String> {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let good = inner && ends && text.len() <= 63;
    if good { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a domain name of at most 63 bytes")) }
}

/// Facts about the machine decide where disks are made, and managed-identity tokens come from here: plain
/// http is fine to the link-local service and to this machine, and to nothing else.
fn imds_endpoint(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|_| format!("{text:?} is no address"))?;
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address == METADATA,
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() != "http" || !is_local {
        return Err(format!("{text:?} must be http:// to {METADATA} or to a loopback address"));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// As Go's listener: an empty host is every address, `localhost` is this machine.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let spelled = match text.rsplit_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    SocketAddr::from_str(&spelled).map_err(|_| format!("{text:?} is no IP:PORT"))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither text nor json")),
    }
}

/// Manifests of the Go driver ask for 5 as a matter of course, so 5 is still normal.
fn log_level(verbosity: u32) -> Level {
    match verbosity {
        0..=5 => Level::INFO,
        6..=7 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number from 0 to {}", u32::MAX))
}

fn seconds(text: &str) -> Result<Duration, String> {
    number(text).map(|seconds| Duration::from_secs(seconds.into()))
}

fn node_id(text: &str) -> Result<String, String> {
    if text.len() <= 256 { Ok(text.to_owned()) } else { Err("longer than the 256 bytes of CSI".to_owned()) }
}

/// Negative: by the VM's size.
fn attach_limit(text: &str) -> Result<Option<u32>, String> {
    let limit: i64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if limit < 0 {
        return Ok(None);
    }
    u32::try_from(limit).map(Some).map_err(|_| format!("{text} is too many"))
}

fn user_agent(custom: Option<&str>, suffix: Option<&str>) -> String {
    let own = concat!("azuredisk-csi/", env!("CARGO_PKG_VERSION"));
    let agent = custom.unwrap_or(own);
    suffix.map_or_else(|| agent.to_owned(), |suffix| format!("{agent} {suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> Result<Config, Vec<String>> {
        let flags = Flags::parse(line.split_whitespace().map(str::to_owned));
        Config::new(&flags, Environment::default())
    }

    #[test]
    fn the_mode_follows_the_node_id_unless_it_is_said() {
        let rows = [
            ("", Mode::Controller),
            ("--nodeid=", Mode::Controller),
            ("--nodeid=a", Mode::Node),
            ("--nodeid=a --mode=all", Mode::All),
            ("--nodeid=a --mode=controller", Mode::Controller),
        ];
        for (line, mode) in rows {
            assert_eq!(config(line).unwrap().mode, mode, "{line}");
        }
    }

    #[test]
    fn endpoints() {
        let rows = [
            ("unix:///csi/csi.sock", Some(Endpoint::Unix("/csi/csi.sock".into()))),
            ("unix:/csi/csi.sock", Some(Endpoint::Unix("/csi/csi.sock".into()))),
            ("unix://tmp/csi.sock", Some(Endpoint::Unix("/tmp/csi.sock".into()))),
            ("tcp://127.0.0.1:0", Some(Endpoint::Tcp("127.0.0.1:0".parse().unwrap()))),
            ("tcp://[::1]:9", Some(Endpoint::Tcp("[::1]:9".parse().unwrap()))),
            ("tcp://0.0.0.0:9", None),
            ("tcp://10.0.0.1:9", None),
            ("unix:csi.sock", None),
            ("unix:///", Some(Endpoint::Unix("/".into()))),
            ("/csi/csi.sock", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(endpoint(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn metadata_comes_in_clear_only_from_nearby() {
        for (text, good) in [
            ("http://169.254.169.254", true),
            ("http://127.0.0.1:8080/vms/a/", true),
            ("http://[::1]:8080", true),
            ("http://localhost:1", true),
            ("http://example.org", false),
            ("http://169.254.169.254.example.org", false),
            ("https://169.254.169.254", false),
            ("ftp://127.0.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(imds_endpoint(text).is_ok(), good, "{text}");
        }
        for text in ["http://127.0.0.1:1/vms/a", "http://127.0.0.1:1/vms/a/"] {
            assert_eq!(imds_endpoint(text).unwrap().as_str(), "http://127.0.0.1:1/vms/a/");
        }
    }

    #[test]
    fn names_and_addresses() {
        for (text, good) in [
            ("disk.csi.azure.com", true),
            ("-a", false),
            ("a_b", false),
            ("a.", false),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(driver_name(text).is_ok(), good, "{text}");
        }
        for (text, good) in [
            (":29604", true),
            ("localhost:1", true),
            ("0.0.0.0:29605", true),
            ("29604", false),
            ("x:1", false),
        ] {
            assert_eq!(metrics_address(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn every_error_is_told_at_once() {
        let errors = config("--wat --endpoint=x --mode=all --v=loud --imds-endpoint=http://a.b").unwrap_err();
        for part in ["--wat", "--endpoint", "--mode=all needs --nodeid", "--v", "--imds-endpoint"] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
        }
        assert_eq!(errors.len(), 5);
    }

    #[test]
    fn the_attach_limit_of_the_go_driver() {
        assert_eq!(config("--volume-attach-limit=-1").unwrap().volume_attach_limit, None);
        assert_eq!(config("--volume-attach-limit=8").unwrap().volume_attach_limit, Some(8));
        assert!(config("--volume-attach-limit=many").is_err());
    }
}
