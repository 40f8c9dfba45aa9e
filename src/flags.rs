//! The command line: one table of every flag, and a parser with the habits of Go's `flag` package, because
//! manifests written for the Go driver must start this program as they are (`-flag=v`, `--flag v`, switches
//! that never take the next argument, the last of two wins).
//!
//! **Invariants:** a flag of the Go driver is never an error; one that has no effect here is named in one
//! warning, unless its value asks for what happens anyway. A flag nobody knows is an error. Every error is
//! reported, not only the first.

use std::collections::{BTreeMap, BTreeSet};

/// What a flag is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Nothing, or `=true` / `=false`.
    Switch,
    /// A value, after `=` or as the next argument.
    Value,
}

/// One flag: its name, what it takes and what it does.
#[derive(Debug)]
struct Flag {
    name: &'static str,
    takes: Takes,
    /// For a flag without effect: the values that ask for nothing we don't do anyway. `None`: it is honoured.
    harmless: Option<&'static [&'static str]>,
    help: &'static str,
}

const fn value(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Value, harmless: None, help }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Switch, harmless: None, help }
}

/// A value flag of the Go driver without effect here.
const fn idle(name: &'static str, harmless: &'static [&'static str]) -> Flag {
    Flag { name, takes: Takes::Value, harmless: Some(harmless), help: "" }
}

/// A switch of the Go driver without effect here.
const fn idle_switch(name: &'static str, harmless: &'static [&'static str]) -> Flag {
    Flag { name, takes: Takes::Switch, harmless: Some(harmless), help: "" }
}

/// Every flag; those that are honoured first. Go driver flags: its options file and klog.
const FLAGS: &[Flag] = &[
    value("endpoint", "socket to serve: unix:///csi/csi.sock or tcp://127.0.0.1:PORT [unix:///tmp/csi.sock]"),
    value("mode", "controller, node or all [controller without --nodeid, node with one]"),
    value("nodeid", "name of this node, as Kubernetes knows it"),
    value("drivername", "name of the driver [disk.csi.azure.com]"),
    value("device-root", "directory below which /sys and /dev are looked up [/]"),
    value("imds-endpoint", "instance metadata service [http://169.254.169.254]"),
    value("metrics-address", "HOST:PORT of /metrics and /healthz; empty: not served"),
    value("probe-timeout", "how long /healthz waits for the driver's own Probe [2s]"),
    value("kubelet-registration-path", "CSI socket as the kubelet sees it; given: register with the kubelet"),
    value(
        "plugin-registration-path",
        "folder of registration sockets that the kubelet watches [/registration]",
    ),
    value("log-format", "text or json [text]"),
    value("v", "verbosity: up to 5 is normal, 6 and 7 debug, 8 and above trace [2]"),
    value("drain-seconds", "after a signal, how long calls in flight may still take [300]"),
    value("volume-attach-limit", "data disks per node; -1: by the VM's size [-1]"),
    value("reserved-data-disk-slot-num", "data disks of a node to leave to others [0]"),
    switch("support-zone", "report the zone of this node [true]"),
    switch("enable-disk-online-resize", "offer expansion of volumes in use [true]"),
    value("custom-user-agent", "User-Agent of requests to Azure"),
    value("user-agent-suffix", "appended to that User-Agent"),
    value("disk-update", "how a controller writes the disks of a VM: delta or full-list [delta]"),
    value("kubeconfig", "Kubernetes API of a controller [the pod's own, if it has a token]"),
    switch("pre-stop-hook", "do nothing and exit 0, for pods that call it before they stop"),
    switch("version", "print the version and exit"),
    switch("help", "print this and exit"),
    // The Go driver's, without effect here.
    idle_switch("allow-empty-cloud-config", &["true"]),
    idle("attach-detach-initial-delay-ms", &[]),
    idle_switch("check-disk-count-for-batching", &["true"]),
    idle_switch("check-disk-lun-collision", &["true"]),
    idle("cloud-config-secret-name", &[""]),
    idle("cloud-config-secret-namespace", &[""]),
    idle("concurrent-format-timeout", &[]),
    idle_switch("convert-rw-caching-mode-for-intree-pv", &["false"]),
    idle("detach-operation-min-timeout-seconds", &[]),
    idle_switch("disable-avset-nodes", &["true", "false"]),
    idle_switch("disable-update-cache", &["true", "false"]),
    idle_switch("enable-disk-capacity-check", &["true"]),
    idle_switch("enable-list-snapshots", &["true"]),
    idle_switch("enable-list-volumes", &["true"]),
    idle_switch("enable-migration-monitor", &["false"]),
    idle_switch("enable-minimum-retry-after", &["false"]),
    idle_switch("enable-otel-tracing", &["false"]),
    idle_switch("enable-perf-optimization", &["false"]),
    idle_switch("enable-traffic-manager", &["false"]),
    idle_switch("enable-windows-host-process", &["false"]),
    idle_switch("force-detach-backoff", &["false"]),
    idle("get-disk-timeout-seconds", &[]),
    idle_switch("get-node-info-from-labels", &["false"]),
    idle_switch("get-nodeid-from-imds", &["false"]),
    idle("kube-api-burst", &[]),
    idle("kube-api-qps", &[]),
    idle_switch("list-vmss-with-instance-view", &["false"]),
    idle("max-concurrent-format", &[]),
    idle("max-procs", &[]),
    idle_switch("never-stop-taint-removal", &["false"]),
    idle_switch("remove-not-ready-taint", &["false"]),
    idle("taint-removal-initial-delay-seconds", &[]),
    idle("traffic-manager-port", &["7788"]),
    idle_switch("use-csiproxy-ga-interface", &["true", "false"]),
    idle_switch("use-win-cim-api", &["true", "false"]),
    idle("vm-type", &[""]),
    idle("vmss-cache-ttl-seconds", &[]),
    idle("vmss-detach-timeout-seconds", &[]),
    idle("vol-stats-cache-expire-in-minutes", &[]),
    idle_switch("wait-for-detach", &["true"]),
    idle_switch("wait-for-detach-disk-complete", &["true"]),
    idle_switch("wait-for-snapshot-ready", &["false"]),
    // klog's.
    idle_switch("add_dir_header", &["false"]),
    idle_switch("alsologtostderr", &["true", "false"]),
    idle("log_backtrace_at", &["", ":0"]),
    idle("log_dir", &[""]),
    idle("log_file", &[""]),
    idle("log_file_max_size", &[]),
    idle_switch("logtostderr", &["true"]),
    idle_switch("one_output", &["true", "false"]),
    idle_switch("skip_headers", &["false"]),
    idle_switch("skip_log_headers", &["true", "false"]),
    idle("stderrthreshold", &[]),
    idle("vmodule", &[""]),
];

/// What a command line says.
#[derive(Debug, Default)]
pub struct Flags {
    /// The honoured flags that were given; switches as "true" or "false".
    values: BTreeMap<&'static str, String>,
    /// Flags that were given and change nothing.
    pub without_effect: BTreeSet<&'static str>,
    /// What cannot be understood, one line each.
    pub errors: Vec<String>,
}

impl Flags {
    /// Reads the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Flags {
        let mut flags = Flags::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(text) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                flags.errors.push(format!("unexpected argument {argument:?}: flags start with --"));
                continue;
            };
            let (name, given) = match text.split_once('=') {
                Some((name, given)) => (name, Some(given.to_owned())),
                None => (text, None),
            };
            let name = if name == "h" { "help" } else { name };
            match FLAGS.iter().find(|flag| flag.name == name) {
                None => flags.errors.push(format!("unknown flag --{name} (--help lists them)")),
                Some(flag) => flags.take(flag, given, &mut arguments),
            }
        }
        flags
    }

    fn take(&mut self, flag: &Flag, given: Option<String>, rest: &mut impl Iterator<Item = String>) {
        let text = match (flag.takes, given) {
            (Takes::Switch, None) => "true".to_owned(),
            (Takes::Switch, Some(given)) => match given.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".to_owned(),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".to_owned(),
                _ => {
                    return self.errors.push(format!("--{}: {given:?} is neither true nor false", flag.name));
                }
            },
            (Takes::Value, Some(given)) => given,
            (Takes::Value, None) => match rest.next() {
                Some(next) => next,
                None => return self.errors.push(format!("--{} needs a value", flag.name)),
            },
        };
        match flag.harmless {
            None => {
                self.values.insert(flag.name, text);
            }
            Some(harmless) if harmless.contains(&text.as_str()) => {
                self.without_effect.remove(flag.name);
            }
            Some(_) => {
                self.without_effect.insert(flag.name);
            }
        }
    }

    /// The value of an honoured flag; an empty one counts as not given, as manifests with empty values expect.
    pub fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(FLAGS.iter().any(|flag| flag.name == name && flag.harmless.is_none()), "{name}");
        self.values.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The value of a switch, or `default`.
    pub fn is_on(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |text| text == "true")
    }
}

/// The text of `--help`: the honoured flags with their meaning, the others by name.
pub fn help() -> String {
    let honoured = FLAGS.iter().filter(|flag| flag.harmless.is_none());
    let lines: Vec<String> = honoured.map(|flag| format!("  --{:<28} {}", flag.name, flag.help)).collect();
    let idle: Vec<&str> = FLAGS.iter().filter(|flag| flag.harmless.is_some()).map(|flag| flag.name).collect();
    format!(
        "azuredisk-csi {}: Azure Disk CSI driver\n\n{}\n\nTaken from the Go driver and without effect here:\n  {}\n",
        env!("CARGO_PKG_VERSION"),
        lines.join("\n"),
        idle.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Flags {
        Flags::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn go_spellings_mean_the_same() {
        for line in ["--nodeid=a -v=5", "-nodeid a --v 5", "--nodeid x --nodeid=a -v 5", "-v=5 --nodeid=a"] {
            let flags = parse(line);
            assert_eq!((flags.get("nodeid"), flags.get("v")), (Some("a"), Some("5")), "{line}");
            assert!(flags.errors.is_empty(), "{line}: {:?}", flags.errors);
        }
    }

    #[test]
    fn a_switch_never_takes_the_next_argument() {
        let flags = parse("--support-zone --nodeid=a");
        assert!(flags.is_on("support-zone", false) && flags.get("nodeid") == Some("a"));
        assert!(!parse("--support-zone=F").is_on("support-zone", true));
        assert!(parse("").is_on("support-zone", true));
    }

    #[test]
    fn every_error_is_told() {
        let flags = parse("--wat=1 stray --support-zone=maybe --endpoint");
        assert_eq!(flags.errors.len(), 4, "{:?}", flags.errors);
    }

    #[test]
    fn an_idle_flag_is_named_only_when_it_asks_for_something() {
        let rows = [
            ("--kube-api-qps=5", Some("kube-api-qps")),
            ("--enable-list-volumes", None),
            ("--enable-list-volumes=false", Some("enable-list-volumes")),
            ("--vm-type=vmss --vm-type=", None),
        ];
        for (line, named) in rows {
            let flags = parse(line);
            assert_eq!(flags.without_effect.first().copied(), named, "{line}");
            assert!(flags.errors.is_empty(), "{line}");
        }
    }

    #[test]
    fn the_table_has_no_twins_and_help_shows_all() {
        let names: BTreeSet<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), FLAGS.len());
        let help = help();
        assert!(FLAGS.iter().all(|flag| help.contains(flag.name)));
        assert!(FLAGS.iter().all(|flag| flag.harmless.is_some() || !flag.help.is_empty()));
    }

    #[test]
    fn the_manual_has_a_row_for_every_flag_that_does_something() {
        let manual = include_str!("../docs/configuration.md");
        let told: BTreeSet<&str> = manual
            .lines()
            .filter_map(|line| line.strip_prefix("| `--")?.split_once('`'))
            .map(|(name, _)| name)
            .collect();
        let real: BTreeSet<&str> =
            FLAGS.iter().filter(|flag| flag.harmless.is_none()).map(|flag| flag.name).collect();
        assert_eq!(told, real);
    }
}
