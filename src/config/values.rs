//! What the text of one flag means, or why it means nothing: pure functions, one for each kind of value.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use azure::FirstWay;
use tracing::Level;
use url::{Host, Url};

use super::{Endpoint, LogFormat};

/// The address of the instance metadata service on Azure.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// `unix://tmp/csi.sock` is `/tmp/csi.sock`, as the Go driver reads it.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
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

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let whole = path.is_absolute() && path.file_name().is_some() || text == "/";
    if whole { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
}

/// CSI: at most 63 characters, letters, digits, '-' and '.', beginning and ending with a letter or digit.
pub(super) fn driver_name(text: &str) -> Result<String, String> {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let good = inner && ends && text.len() <= 63;
    if good { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a domain name of at most 63 bytes")) }
}

/// Facts about the machine decide where disks are made, and managed-identity tokens come from here: plain
/// http is fine to the link-local service and to this machine, and to nothing else.
pub(super) fn imds_endpoint(text: &str) -> Result<Url, String> {
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
pub(super) fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let spelled = match text.rsplit_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    SocketAddr::from_str(&spelled).map_err(|_| format!("{text:?} is no IP:PORT"))
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither text nor json")),
    }
}

/// Manifests of the Go driver ask for 5 as a matter of course, so 5 is still normal.
pub(super) fn log_level(verbosity: u32) -> Level {
    match verbosity {
        0..=5 => Level::INFO,
        6..=7 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number from 0 to {}", u32::MAX))
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    number(text).map(|seconds| Duration::from_secs(seconds.into()))
}

/// As Go spells a duration, in one unit: `2s`, `500ms`, `1m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time above 0, such as 2s or 500ms");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(end);
    let count: u32 = digits.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        _ => return Err(wrong()),
    };
    if count == 0 { Err(wrong()) } else { Ok(unit * count) }
}

pub(super) fn node_id(text: &str) -> Result<String, String> {
    if text.len() <= 256 { Ok(text.to_owned()) } else { Err("longer than the 256 bytes of CSI".to_owned()) }
}

/// Negative: by the VM's size.
pub(super) fn attach_limit(text: &str) -> Result<Option<u32>, String> {
    let limit: i64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if limit < 0 {
        return Ok(None);
    }
    u32::try_from(limit).map(Some).map_err(|_| format!("{text} is too many"))
}

/// Azure Stack has no word here: `azure.json` says it.
pub(super) fn disk_update(text: &str) -> Result<FirstWay, String> {
    match text {
        "delta" => Ok(FirstWay::Delta),
        "full-list" => Ok(FirstWay::FullList),
        _ => Err(format!("{text:?} is neither delta nor full-list")),
    }
}

pub(super) fn user_agent(custom: Option<&str>, suffix: Option<&str>) -> String {
    let own = concat!("azuredisk-csi/", env!("CARGO_PKG_VERSION"));
    let agent = custom.unwrap_or(own);
    suffix.map_or_else(|| agent.to_owned(), |suffix| format!("{agent} {suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn durations_are_spelled_as_in_go() {
        for (text, milliseconds) in [
            ("2s", Some(2000)),
            ("500ms", Some(500)),
            ("1m", Some(60_000)),
            ("0s", None),
            ("2", None),
            ("s", None),
        ] {
            assert_eq!(duration(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
