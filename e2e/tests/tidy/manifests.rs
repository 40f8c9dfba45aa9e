//! Rules for the manifests and the lockfile: who may depend on whom, and on which outside crates.
//!
//! The arrows are the architecture: `azure` and the emulator know nothing of each other, so that they
//! can't agree on the same mistake; only the root wires the parts together.

use super::source::Source;

/// Our own crates, as keys of `[workspace.dependencies]`.
const OURS: [&str; 6] = ["azure", "azure-emulator", "azuredisk-csi", "controller", "csi", "node"];

/// Each member's folder, and those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 9] = [
    (".", &["azure", "controller", "csi", "node"]),
    ("proto", &[]),
    ("azure", &[]),
    ("controller", &["azure", "csi"]),
    ("node", &["csi"]),
    ("emulator", &[]),
    ("e2e", &["azure-emulator", "azuredisk-csi", "csi"]),
    ("e2e/chaos", &["azure", "azure-emulator", "controller", "csi"]),
    ("e2e/kube", &[]),
];

/// The crate that every test but its own may use.
const FOR_TESTS: &str = "azure-emulator";

/// What a member must not know of the outside: it would mean that it does another's work.
const STRANGERS: [(&str, &[&str]); 5] = [
    ("proto", &["azure_core", "azure_identity", "libc", "nix", "reqwest", "rustix"]),
    ("azure", &["libc", "nix", "prost", "rustix", "tonic"]),
    ("controller", &["azure_core", "libc", "nix", "reqwest", "rustix"]),
    ("node", &["azure_core", "azure_identity", "reqwest", "serde_json"]),
    ("emulator", &["azure_core", "azure_identity", "prost", "reqwest", "tonic"]),
];

/// Crates that must not be in the lockfile: any version (no bound) or those below one that repaired them.
pub(crate) const BANNED: [(&str, Option<&str>); 21] = [
    ("aws-lc-rs", None),
    ("aws-lc-sys", None),
    ("azure_core", Some("0.22.0")),
    ("azure_identity", Some("0.22.0")),
    ("azure_mgmt_compute", None),
    ("governor", None),
    ("h2", Some("0.4.16")),
    ("jemallocator", None),
    ("k8s-openapi", None),
    ("kube", None),
    ("mimalloc", None),
    ("mockall", None),
    ("native-tls", None),
    ("openssl", None),
    ("openssl-sys", None),
    ("rustls", Some("0.23.46")),
    ("rustls-webpki", Some("0.103.16")),
    ("serde_yaml", None),
    ("serde_yml", None),
    ("unsafe-libyaml", None),
    ("wiremock", None),
];

/// The dependency keys of `manifest` in the sections whose name ends with `section`, with their lines.
fn dependencies<'a>(manifest: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let (mut inside, mut found) = (false, Vec::new());
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']');
            let is_section = |name: &str| {
                name == section || (name.starts_with("target.") && name.ends_with(&format!(".{section}")))
            };
            inside = is_section(name);
            if let Some((table, key)) = name.rsplit_once('.').filter(|(table, _)| is_section(table)) {
                _ = table;
                found.push((key, line));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
            found.push((key.trim_matches('"'), line));
        }
    }
    found
}

fn folder(manifest: &Source) -> &str {
    manifest.path.strip_suffix("/Cargo.toml").unwrap_or(".")
}

/// What is wrong with the dependencies of one member.
pub(crate) fn arrows(manifest: &Source) -> Vec<String> {
    let folder = folder(manifest);
    let Some((_, allowed)) = ARROWS.iter().find(|(member, _)| *member == folder) else {
        return vec![format!("{}: a new member: give it a row in ARROWS", manifest.path)];
    };
    let strangers = STRANGERS.iter().find(|(member, _)| *member == folder).map_or(&[][..], |row| row.1);
    let mut complaints = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let is_test = section == "dev-dependencies";
        for (key, line) in dependencies(&manifest.text, section) {
            let ours = OURS.contains(&key);
            let may_test = is_test && key == FOR_TESTS && folder != "emulator";
            if ours && !allowed.contains(&key) && !may_test {
                complaints.push(format!("{}: [{section}] must not know {key}", manifest.path));
            }
            if !is_test && strangers.contains(&key) {
                complaints.push(format!("{}: [{section}] {key} is another's work", manifest.path));
            }
            if !line.contains("workspace = true") {
                complaints.push(format!("{}: [{section}] {key} is not `workspace = true`", manifest.path));
            }
        }
    }
    complaints
}

/// Every member takes the workspace's lints.
pub(crate) fn lints(manifest: &Source) -> Vec<String> {
    let lints = dependencies(&manifest.text, "lints");
    if lints == [("workspace", "workspace = true")] {
        return Vec::new();
    }
    vec![format!("{}: [lints] is not `workspace = true`", manifest.path)]
}

/// The folders of the workspace's members, from the root manifest.
pub(crate) fn members(root: &str) -> Vec<&str> {
    let list = root.lines().find_map(|line| line.strip_prefix("members = [")).unwrap_or_default();
    list.trim_end_matches(']').split(',').map(|name| name.trim().trim_matches('"')).collect()
}

/// Clippy reads one file: a second one would replace the house bans, not add to them.
pub(crate) fn one_clippy(source: &Source) -> Vec<String> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    if name.ends_with("clippy.toml") && source.path != "clippy.toml" {
        return vec![format!("{}: the house bans are in the root's clippy.toml", source.path)];
    }
    Vec::new()
}

fn version(text: &str) -> Vec<u64> {
    let plain = text.split(['-', '+']).next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

/// Banned crates of a `Cargo.lock`.
pub(crate) fn lockfile(lock: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches([' ', '=', '"']))
        };
        let (Some(name), Some(found)) = (value("name"), value("version")) else {
            complaints.push(format!("a package without name or version: {package}"));
            continue;
        };
        for (banned, repaired) in BANNED {
            if banned == name && repaired.is_none_or(|repaired| version(found) < version(repaired)) {
                complaints.push(format!("{name} {found} is banned{}", why(repaired)));
            }
        }
    }
    complaints
}

fn why(repaired: Option<&str>) -> String {
    repaired.map_or_else(String::new, |version| format!(" below {version}"))
}

/// Banned crates that `deny.toml` does not name.
pub(crate) fn unnamed_bans(deny: &str) -> Vec<&'static str> {
    let is_named = |(name, repaired): &&(&str, Option<&str>)| match repaired {
        None => deny.contains(&format!("{{ crate = \"{name}\", ")),
        Some(version) => deny.contains(&format!("{{ crate = \"{name}:<{version}\", ")),
    };
    BANNED.iter().filter(|row| !is_named(row)).map(|(name, _)| *name).collect()
}

#[test]
fn a_new_arrow_is_noticed() {
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(arrows(&Source::new(path, text)), expected, "{text}");
    }
    check(
        "controller/Cargo.toml",
        "[dependencies]\nazure.workspace = true\n\n# why\ncsi.workspace = true",
        &[],
    );
    check(
        "azure/Cargo.toml",
        "[dependencies]\ncsi.workspace = true",
        &["azure/Cargo.toml: [dependencies] must not know csi"],
    );
    check(
        "node/Cargo.toml",
        "[dependencies]\nnode2 = { path = \"../azure\" }",
        &["node/Cargo.toml: [dependencies] node2 is not `workspace = true`"],
    );
    check(
        "node/Cargo.toml",
        "[target.'cfg(unix)'.dependencies]\nazure = { workspace = true }",
        &["node/Cargo.toml: [dependencies] must not know azure"],
    );
    check(
        "node/Cargo.toml",
        "[dependencies.azure]\nworkspace = true",
        &[
            "node/Cargo.toml: [dependencies] must not know azure",
            "node/Cargo.toml: [dependencies] azure is not `workspace = true`",
        ],
    );
    check("node/Cargo.toml", "[dev-dependencies]\nazure-emulator.workspace = true", &[]);
    check(
        "emulator/Cargo.toml",
        "[dev-dependencies]\nazure.workspace = true",
        &["emulator/Cargo.toml: [dev-dependencies] must not know azure"],
    );
    check(
        "controller/Cargo.toml",
        "[build-dependencies]\nnix.workspace = true",
        &["controller/Cargo.toml: [build-dependencies] nix is another's work"],
    );
    check("new/Cargo.toml", "", &["new/Cargo.toml: a new member: give it a row in ARROWS"]);
}

#[test]
fn lints_and_clippy_files_of_its_own_are_noticed() {
    let lints = |text| lints(&Source::new("node/Cargo.toml", text)).len();
    assert_eq!(lints("[lints]\nworkspace = true"), 0);
    assert_eq!(lints("[package]\nname = \"node\""), 1);
    assert_eq!(lints("[lints.rust]\nunsafe_code = \"allow\""), 1);
    assert_eq!(one_clippy(&Source::new("clippy.toml", "")).len(), 0);
    assert_eq!(one_clippy(&Source::new("node/clippy.toml", "")).len(), 1);
    assert_eq!(one_clippy(&Source::new("node/.clippy.toml", "")).len(), 1);
    assert_eq!(members("[workspace]\nmembers = [\".\", \"node\"]\n"), [".", "node"]);
}

#[test]
fn a_banned_version_is_noticed() {
    #[track_caller]
    fn check(name: &str, version: &str, expected: &[&str]) {
        let lock = format!("version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        assert_eq!(lockfile(&lock), expected);
    }
    check("rustls", "0.23.46", &[]);
    check("rustls", "0.23.45", &["rustls 0.23.45 is banned below 0.23.46"]);
    check("rustls", "0.24.0", &[]);
    check("h2", "0.3.27", &["h2 0.3.27 is banned below 0.4.16"]);
    check("azure_core", "1.1.0", &[]);
    check("azure_core", "0.21.0", &["azure_core 0.21.0 is banned below 0.22.0"]);
    check("openssl", "99.0.0", &["openssl 99.0.0 is banned"]);
    assert_eq!(unnamed_bans("").len(), BANNED.len());
    let unnamed =
        unnamed_bans("{ crate = \"rustls:<0.23.46\", }, { crate = \"kube\", }, { crate = \"h2@<0.4.16\", }");
    assert_eq!(["rustls", "kube", "h2"].map(|name| unnamed.contains(&name)), [false, false, true]);
}
