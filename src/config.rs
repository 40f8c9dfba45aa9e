//! The validated configuration: a pure function of the flags and the environment, with every error told at
//! once. Nothing is opened or contacted here, so a driver with a broken `azure.json` still starts.

mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use azure::FirstWay;
use tracing::Level;
use url::Url;

use crate::environment::Environment;
use crate::flags::Flags;
use crate::registration::Plugin;
use values::{
    absolute, attach_limit, disk_update, driver_name, duration, endpoint, imds_endpoint, log_format,
    log_level, metrics_address, node_id, number, seconds, user_agent,
};

/// Where the instance metadata service is on Azure.
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "{address}"),
        }
    }
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
    /// How long the driver's own Probe may take.
    pub probe_timeout: Duration,
    /// What the kubelet is told of this driver, if it is told by us.
    pub plugin: Option<Plugin>,
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
    /// With which way of writing the disks of a VM to begin, unless the cloud knows only one.
    pub disk_update: FirstWay,
    /// Where the Kubernetes API is, if a file says it.
    pub kubeconfig: Option<PathBuf>,
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
        let probe_timeout = check.parsed("probe-timeout", Duration::from_secs(2), duration);
        let plugin = check.plugin(mode, &driver_name, &endpoint);
        let log_format = check.parsed("log-format", LogFormat::Text, log_format);
        let log_level = check.parsed("v", Level::INFO, |text| number(text).map(log_level));
        let drain = check.parsed("drain-seconds", Duration::from_mins(5), seconds);
        let volume_attach_limit = check.parsed("volume-attach-limit", None, attach_limit);
        let reserved_slots = check.parsed("reserved-data-disk-slot-num", 0, number);
        let disk_update = check.parsed("disk-update", FirstWay::Delta, disk_update);
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
                probe_timeout,
                plugin,
                log_format,
                log_level,
                drain,
                volume_attach_limit,
                reserved_slots,
                support_zone: flags.is_on("support-zone", true),
                online_expansion: flags.is_on("enable-disk-online-resize", true),
                disk_update,
                kubeconfig: flags.get("kubeconfig").map(PathBuf::from),
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

    /// The folder has the registrar's default, so it alone asks for nothing.
    fn plugin(&mut self, mode: Mode, driver_name: &str, endpoint: &Endpoint) -> Option<Plugin> {
        let folder = self.parsed("plugin-registration-path", "/registration".into(), absolute);
        let socket = self.parsed("kubelet-registration-path", None, |text| absolute(text).map(Some))?;
        if mode == Mode::Controller {
            self.errors.push("--kubelet-registration-path is for nodes, and this is a controller".to_owned());
        }
        if let Endpoint::Tcp(_) = endpoint {
            self.errors.push("--kubelet-registration-path needs a socket as --endpoint".to_owned());
        }
        let endpoint = socket.display().to_string();
        Some(Plugin { name: driver_name.to_owned(), endpoint, folder })
    }
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
    fn every_error_is_told_at_once() {
        let errors = config("--wat --endpoint=x --mode=all --v=loud --imds-endpoint=http://a.b").unwrap_err();
        for part in ["--wat", "--endpoint", "--mode=all needs --nodeid", "--v", "--imds-endpoint"] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:?}");
        }
        assert_eq!(errors.len(), 5);
    }

    #[test]
    fn only_a_node_with_a_socket_registers_itself() {
        let registration = "--kubelet-registration-path=/var/lib/kubelet/plugins/d/csi.sock";
        let rows = [
            ("--nodeid=a", Ok(None)),
            ("--nodeid=a --plugin-registration-path=/r", Ok(None)),
            ("--nodeid=a REGISTRATION", Ok(Some("/registration/csi@disk.csi.azure.com-reg.sock"))),
            ("--nodeid=a --mode=all --drivername=d REGISTRATION", Ok(Some("/registration/csi@d-reg.sock"))),
            (
                "--nodeid=a --plugin-registration-path=/r REGISTRATION",
                Ok(Some("/r/csi@disk.csi.azure.com-reg.sock")),
            ),
            ("--nodeid=a --plugin-registration-path=r REGISTRATION", Err("--plugin-registration-path")),
            ("--nodeid=a --kubelet-registration-path=csi.sock", Err("--kubelet-registration-path")),
            ("--nodeid=a --endpoint=tcp://127.0.0.1:1 REGISTRATION", Err("needs a socket")),
            ("REGISTRATION", Err("this is a controller")),
        ];
        for (line, wanted) in rows {
            let told = config(&line.replace("REGISTRATION", registration));
            match (told, wanted) {
                (Ok(config), Ok(socket)) => {
                    let found = config.plugin.map(|plugin| plugin.socket());
                    assert_eq!(found, socket.map(PathBuf::from), "{line}");
                }
                (Err(errors), Err(part)) => {
                    assert!(matches!(&errors[..], [error] if error.contains(part)), "{line}: {errors:?}");
                }
                (told, _) => panic!("{line}: {told:?}"),
            }
        }
    }

    #[test]
    fn the_way_of_writing_disks_is_one_of_two_words() {
        let rows = [
            ("", Some(FirstWay::Delta)),
            ("--disk-update=", Some(FirstWay::Delta)),
            ("--disk-update=delta", Some(FirstWay::Delta)),
            ("--disk-update full-list", Some(FirstWay::FullList)),
            ("--disk-update=azure-stack", None),
            ("--disk-update=Delta", None),
        ];
        for (line, way) in rows {
            assert_eq!(config(line).ok().map(|config| config.disk_update), way, "{line}");
        }
        assert!(
            matches!(&config("--disk-update=x").unwrap_err()[..], [error] if error.contains("full-list"))
        );
    }

    #[test]
    fn the_attach_limit_of_the_go_driver() {
        assert_eq!(config("--volume-attach-limit=-1").unwrap().volume_attach_limit, None);
        assert_eq!(config("--volume-attach-limit=8").unwrap().volume_attach_limit, Some(8));
        assert!(config("--volume-attach-limit=many").is_err());
    }
}
