//! The Go programs as data: which package each is, and the version that is written into it. `go.mod` has the versions.

use crate::Failure;

/// A program of `go.mod`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// Its file name.
    pub(super) file: &'static str,
    pub(super) package: &'static str,
    /// Where it keeps its version, `<package>.<name>`; what has none is asked by nobody.
    stamp: Option<&'static str>,
    /// Whose version that is.
    module: &'static str,
}

const KUBERNETES: &str = "k8s.io/kubernetes";
const CONTAINERD: &str = "github.com/containerd/containerd/v2";
const ETCD: &str = "go.etcd.io/etcd/server/v3";
const HELM: &str = "helm.sh/helm/v3";

const fn kubernetes(file: &'static str, package: &'static str) -> Program {
    Program { file, package, stamp: None, module: KUBERNETES }
}

const fn containerd(file: &'static str, package: &'static str) -> Program {
    Program {
        file,
        package,
        stamp: Some("github.com/containerd/containerd/v2/version.Version"),
        module: CONTAINERD,
    }
}

const fn sidecar(file: &'static str, module: &'static str, package: &'static str) -> Program {
    Program { file, package, stamp: Some("main.version"), module }
}

/// What a cluster is made of; all of it in one build, so that programs are linked while others are compiled.
pub(super) const CLUSTER: &[Program] = &[
    containerd("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    containerd("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    containerd("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    Program { file: "etcd", package: ETCD, stamp: None, module: ETCD },
    Program { file: "pause", package: "./pause", stamp: None, module: KUBERNETES },
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Program {
        file: "helm",
        package: "helm.sh/helm/v3/cmd/helm",
        stamp: Some("helm.sh/helm/v3/internal/version.version"),
        module: HELM,
    },
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    sidecar(
        "csi-provisioner",
        "github.com/kubernetes-csi/external-provisioner/v6",
        "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
    ),
    sidecar(
        "csi-attacher",
        "github.com/kubernetes-csi/external-attacher/v4",
        "github.com/kubernetes-csi/external-attacher/v4/cmd/csi-attacher",
    ),
    sidecar(
        "csi-resizer",
        "github.com/kubernetes-csi/external-resizer/v2",
        "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer",
    ),
    sidecar(
        "csi-snapshotter",
        "github.com/kubernetes-csi/external-snapshotter/v8",
        "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter",
    ),
    sidecar(
        "snapshot-controller",
        "github.com/kubernetes-csi/external-snapshotter/v8",
        "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
    ),
    kubernetes("agnhost", "k8s.io/kubernetes/test/images/agnhost"),
];

/// What runs Kubernetes' own test suite.
pub(super) const SUITE_RUNNER: &[Program] = &[Program {
    file: "ginkgo",
    package: "github.com/onsi/ginkgo/v2/ginkgo",
    stamp: None,
    module: KUBERNETES,
}];

/// Kubernetes' own test suite.
pub(super) const SUITE: &str = "k8s.io/kubernetes/test/e2e";

/// The module that has the custom resources of snapshots.
pub(super) const SNAPSHOT_RESOURCES: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8";

/// What is left out of containerd: ways to keep images that need other libraries.
pub(super) const TAGS: &str = "no_btrfs,no_zfs,no_devmapper";

/// The version of `module` in `go_mod`, with its `v`.
pub(crate) fn version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str, Failure> {
    go_mod
        .lines()
        .filter(|line| !line.contains("=>"))
        .find_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word == "require");
            (words.next()? == module).then(|| words.next())?
        })
        .ok_or_else(|| format!("go.mod names no version of {module}").into())
}

/// The flags that write versions into programs: Kubernetes' libraries are in all of them, and the control plane
/// and the kubelet refuse to work without one.
pub(super) fn stamps(go_mod: &str, programs: &[Program]) -> Result<Vec<String>, Failure> {
    let kubernetes = version(go_mod, KUBERNETES)?;
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let stamp = |at: &str| {
        format!(
            "-X {at}.gitVersion={kubernetes} -X {at}.gitMajor={major} -X {at}.gitMinor={minor} \
             -X {at}.gitTreeState=clean"
        )
    };
    let everywhere = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(stamp).join(" ");
    let mut flags = vec![format!("-ldflags=-s -w {everywhere}")];
    for program in programs {
        if let Some(stamp) = program.stamp {
            let version = version(go_mod, program.module)?;
            // Of several that fit a package Go takes the last.
            flags.push(format!("-ldflags={}=-s -w {everywhere} -X {stamp}={version}", program.package));
        }
    }
    Ok(flags)
}

/// The file name that Go gives a package's program: its last word that is not a major version.
pub(super) fn built_as(package: &str) -> &str {
    let is_major = |word: &str| {
        word.strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    package.rsplit('/').find(|word| !is_major(word)).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const GO_MOD: &str = include_str!("../../go.mod");

    #[test]
    fn every_tool_of_go_mod_is_built_once() {
        let (_, tools) = GO_MOD.split_once("\ntool (").unwrap();
        let named: BTreeSet<_> = tools.split_once(')').unwrap().0.split_whitespace().collect();
        let built: Vec<_> = CLUSTER.iter().chain(SUITE_RUNNER).map(|program| program.package).collect();
        let ours = BTreeSet::from(["./pause"]);
        assert_eq!(built.iter().copied().collect::<BTreeSet<_>>(), &named | &ours);
        assert_eq!(built.len(), named.len() + 1);
    }

    #[test]
    fn versions_are_read_from_go_mod() {
        let text = "require k8s.io/a v1.2.3\nrequire (\n\tk8s.io/b/v2 v2.0.0 // indirect\n)\n\
                    replace (\n\tk8s.io/c => k8s.io/c v0.1.0\n)\n";
        assert_eq!(version(text, "k8s.io/a").unwrap(), "v1.2.3");
        assert_eq!(version(text, "k8s.io/b/v2").unwrap(), "v2.0.0");
        assert_eq!(version(text, "k8s.io/c").unwrap_err().to_string(), "go.mod names no version of k8s.io/c");
    }

    #[test]
    fn programs_know_their_versions() {
        let flags = stamps(GO_MOD, CLUSTER).unwrap();
        assert!(flags[0].contains("component-base/version.gitVersion=v1.36."), "{flags:?}");
        assert!(flags[0].contains("client-go/pkg/version.gitMinor=36 "), "{flags:?}");
        let provisioner = flags.iter().find(|flag| flag.contains("/csi-provisioner=")).unwrap();
        assert!(provisioner.ends_with("-X main.version=v6.3.0"), "{provisioner}");
    }

    #[test]
    fn a_major_version_is_no_file_name() {
        assert_eq!(built_as("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(built_as("github.com/onsi/ginkgo/v2/ginkgo"), "ginkgo");
        assert_eq!(built_as("./pause"), "pause");
        assert_eq!(built_as("a/v"), "v");
    }
}
