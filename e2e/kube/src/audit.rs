//! Whether the chart's roles are as small as they can be: what was granted to its accounts, beside what they did in the
//! whole test by the API server's own log. What nobody used must be in `KEPT` with its reason, and nothing that is not
//! granted may have been asked.

pub mod permission;
pub mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use self::permission::{Permission, Roles, account, granted};
use self::request::Request;
use crate::Failure;
use crate::place::Place;
use crate::trial::kubernetes::Kubernetes;
use crate::trial::report::Report;

/// The accounts of the chart have it.
const OURS: &str = "labelSelector=app.kubernetes.io%2Fname%3Dazuredisk-csi-driver";

/// Permissions that stay although no test uses them.
#[derive(Clone, Copy, Debug)]
struct Kept {
    account: &'static str,
    verb: &'static str,
    /// With their groups, as a permission is written.
    resources: &'static [&'static str],
    reason: &'static str,
}

const FALLBACK: &str =
    "caches are filled by a watch that streams the list; an API server that can't is asked to list";
const REPEATED: &str = "an event that repeats is counted up, which a test that ends well does not reach";

/// All of them.
const KEPT: &[Kept] = &[
    Kept {
        account: "csi-azuredisk-controller-sa",
        verb: "list",
        resources: &[
            "csinodes.storage.k8s.io",
            "nodes",
            "persistentvolumeclaims",
            "persistentvolumes",
            "storageclasses.storage.k8s.io",
            "volumeattachments.storage.k8s.io",
            "volumeattributesclasses.storage.k8s.io",
            "volumesnapshotclasses.snapshot.storage.k8s.io",
            "volumesnapshotcontents.snapshot.storage.k8s.io",
            "volumesnapshots.snapshot.storage.k8s.io",
        ],
        reason: FALLBACK,
    },
    Kept {
        account: "csi-snapshot-controller-sa",
        verb: "list",
        resources: &[
            "persistentvolumeclaims",
            "persistentvolumes",
            "volumesnapshotclasses.snapshot.storage.k8s.io",
            "volumesnapshotcontents.snapshot.storage.k8s.io",
            "volumesnapshots.snapshot.storage.k8s.io",
        ],
        reason: FALLBACK,
    },
    Kept { account: "csi-azuredisk-controller-sa", verb: "patch", resources: &["events"], reason: REPEATED },
    Kept { account: "csi-snapshot-controller-sa", verb: "patch", resources: &["events"], reason: REPEATED },
];

/// What an audit came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    used: usize,
    /// Permission → why it is kept.
    kept: BTreeMap<String, &'static str>,
    objections: Vec<String>,
}

/// Judges the roles of the chart by all that was logged so far.
/// `others` are folders with the logs of other clusters that ran parts of the same test.
pub async fn run(place: &Place, others: &[PathBuf], report: &mut Report) -> Result<(), Failure> {
    report.begin("The chart's roles");
    let (roles, accounts) = report.step("are read", read_roles(place)).await?;
    let folders = [&[place.audit()], others].concat();
    let requests = report.step("are seen in use", async { read_requests(&folders, &accounts) }).await?;
    let (permissions, wide) = granted(&roles, &accounts);
    let mut findings = judge(&permissions, &requests, KEPT);
    findings.objections.extend(wide);
    let all = permissions.len();
    report.note(&format!("{} accounts, {all} permissions, {} used", accounts.len(), findings.used));
    for (permission, reason) in &findings.kept {
        report.note(&format!("never used, kept: {permission}: {reason}"));
    }
    let answer = async {
        if findings.objections.is_empty() { Ok(()) } else { Err(findings.objections.join("\n").into()) }
    };
    report.step("grant nothing that is not used, and all that is asked", answer).await
}

fn judge(permissions: &BTreeSet<Permission>, requests: &BTreeSet<Request>, kept: &[Kept]) -> Findings {
    let mut findings = Findings::default();
    let written: BTreeSet<String> = permissions.iter().map(Permission::without_name).collect();
    for permission in permissions {
        let is_used = requests.iter().any(|request| !request.is_forbidden && request.uses(permission));
        match kept.iter().find(|row| row.permissions().any(|kept| kept == permission.without_name())) {
            _ if is_used => findings.used += 1,
            Some(row) => {
                findings.kept.insert(permission.to_string(), row.reason);
            }
            None => findings.objections.push(format!("granted, never used: {permission}")),
        }
    }
    for gone in kept.iter().flat_map(Kept::permissions).filter(|kept| !written.contains(kept)) {
        findings.objections.push(format!("kept, but not granted any more: {gone}"));
    }
    // An API server that has just started refuses what is granted until it has read the roles.
    let is_granted = |request: &Request| permissions.iter().any(|permission| request.uses(permission));
    let refused = requests.iter().filter(|request| request.is_forbidden && !is_granted(request));
    findings.objections.extend(refused.map(|request| format!("asked and refused: {request:?}")));
    findings
}

impl Kept {
    /// As permissions are written.
    fn permissions(&self) -> impl Iterator<Item = String> {
        self.resources.iter().map(|resource| format!("{}: {} {resource}", self.account, self.verb))
    }
}

async fn read_roles(place: &Place) -> Result<(Roles, BTreeSet<String>), Failure> {
    let kubernetes = Kubernetes::open(place).await?;
    let mut roles = Roles::default();
    for (list, kinds) in [
        (&mut roles.roles, ["roles", "clusterroles"]),
        (&mut roles.bindings, ["rolebindings", "clusterrolebindings"]),
    ] {
        for kind in kinds {
            list.extend(kubernetes.list(&format!("/apis/rbac.authorization.k8s.io/v1/{kind}")).await?);
        }
    }
    let accounts: BTreeSet<String> = kubernetes
        .list(&format!("/api/v1/serviceaccounts?{OURS}"))
        .await?
        .iter()
        .filter_map(|found| {
            let about = &found["metadata"];
            Some(account(about["namespace"].as_str()?, about["name"].as_str()?))
        })
        .collect();
    if accounts.is_empty() {
        return Err("the chart made no service account".into());
    }
    Ok((roles, accounts))
}

/// The different requests of `accounts`, from the log and its older parts.
fn read_requests(folders: &[PathBuf], accounts: &BTreeSet<String>) -> Result<BTreeSet<Request>, Failure> {
    let mut requests = BTreeSet::new();
    let logs: Vec<_> = folders.iter().map(|folder| logs(folder)).collect::<Result<_, _>>()?;
    for log in logs.into_iter().flatten() {
        let mut lines = BufReader::new(std::fs::File::open(&log)?);
        let mut line = String::new();
        // What has no end yet is still being written.
        while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
            let line = std::mem::take(&mut line);
            // Most of the log is of others: they are not worth parsing.
            if !accounts.iter().any(|account| line.contains(account.as_str())) {
                continue;
            }
            let request =
                request::read(&line).map_err(|error| format!("{}: {error}: {line}", log.display()))?;
            requests.extend(request.filter(|request| accounts.contains(&request.account)));
        }
    }
    Ok(requests)
}

/// The API server cuts its log: `audit.log` is the newest part.
fn logs(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    let logs: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    if logs.is_empty() { Err(format!("no audit log in {}", folder.display()).into()) } else { Ok(logs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(verb: &str) -> Permission {
        Permission {
            account: account("n", "sa"),
            verb: verb.to_owned(),
            group: "storage.k8s.io".to_owned(),
            resource: "csinodes".to_owned(),
            name: None,
            namespace: None,
        }
    }

    fn request(verb: &str, is_forbidden: bool) -> Request {
        let Permission { account, verb, group, resource, .. } = permission(verb);
        let (name, namespace) = (String::new(), String::new());
        Request { account, verb, group, resource, name, namespace, is_forbidden }
    }

    const KEPT_LIST: Kept = Kept {
        account: "sa",
        verb: "list",
        resources: &["csinodes.storage.k8s.io"],
        reason: "for a rainy day",
    };

    /// The objections against an account that may `get` and `list`.
    fn check(requests: &[Request], kept: &[Kept], wanted: &[&str]) {
        let permissions = ["get", "list"].map(permission).into();
        let found = judge(&permissions, &requests.iter().cloned().collect(), kept).objections;
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (objection, words) in found.iter().zip(wanted) {
            assert!(objection.starts_with(words), "{objection}");
        }
    }

    #[test]
    fn what_nobody_used_must_be_kept_with_a_reason() {
        let get = request("get", false);
        check(&[get.clone(), request("list", false)], &[], &[]);
        check(std::slice::from_ref(&get), &[], &["granted, never used: sa: list csinodes.storage.k8s.io"]);
        check(&[get], &[KEPT_LIST], &[]);
    }

    #[test]
    fn a_refused_request_is_an_objection_and_no_use() {
        let used = [request("get", false), request("list", false)];
        check(&[&used[..], &[request("patch", true)]].concat(), &[], &["asked and refused: "]);
        // Granted: refused by an API server that had not read the roles yet.
        check(&[request("get", false), request("list", true)], &[], &["granted, never used: sa: list"]);
        check(&[&used[..], &[request("list", true)]].concat(), &[], &[]);
    }

    #[test]
    fn a_row_that_keeps_nothing_is_an_objection() {
        let gone = Kept { verb: "delete", ..KEPT_LIST };
        check(&[request("get", false), request("list", false)], &[gone], &["kept, but not granted any more"]);
    }

    #[test]
    fn every_part_of_the_log_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let [audit, other] = ["audit", "other"].map(|name| folder.path().join(name));
        assert!(logs(&audit).is_err());
        for folder in [&audit, &other] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let line = |user: &str, verb: &str| {
            let user = format!(r#"{{"username":"{user}"}}"#);
            format!("{{\"verb\":\"{verb}\",\"user\":{user},\"objectRef\":{{\"resource\":\"pods\"}}}}\n")
        };
        let ours = account("n", "sa");
        std::fs::write(audit.join("audit-2026.log"), line(&ours, "get")).unwrap();
        std::fs::write(audit.join("audit.log"), [line(&ours, "list"), line("admin", "get")].join("\n"))
            .unwrap();
        std::fs::write(audit.join("policy.json"), "{}").unwrap();
        std::fs::write(other.join("audit.log"), line(&ours, "watch")).unwrap();
        let requests = read_requests(&[audit, other], &[ours].into()).unwrap();
        let verbs: Vec<_> = requests.iter().map(|request| request.verb.as_str()).collect();
        assert_eq!(verbs, ["get", "list", "watch"]);
    }
}
