//! Where things are: the checkout, the cache of built tools, and what the running cluster keeps.
//!
//! The cache outlives checkouts and is keyed by what it was built from; the state belongs to one checkout and one
//! run of the cluster, and goes with it.

use std::path::{Path, PathBuf};

use crate::tools;

/// The folders of one checkout.
#[derive(Clone, Debug)]
pub struct Place {
    /// The checkout.
    pub checkout: PathBuf,
    /// What was built once from the pinned versions: `bin/`, `debian/` (unpacked packages), `images/` (OCI
    /// archives), `crd/`.
    pub tools: PathBuf,
    /// What the running cluster keeps: `pki/`, `log/`, `nodes/<name>/`, `azure/`, `images/`, `admin.conf`.
    pub state: PathBuf,
    /// Where this workspace's programs are.
    pub built: PathBuf,
}

impl Place {
    /// A pinned tool by its file name.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.tools.join("bin").join(name)
    }

    /// A pinned tool that only Kubernetes' storage suite needs.
    pub fn suite_tool(&self, name: &str) -> PathBuf {
        tools::suite(&self.tools).join("bin").join(name)
    }

    /// What `component` printed.
    pub fn log(&self, component: &str) -> PathBuf {
        self.state.join("log").join(format!("{component}.log"))
    }

    /// What the API server was asked, by whom.
    pub fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// While this file is there, a `component` that ended is not started again.
    pub fn hold(&self, component: &str) -> PathBuf {
        self.state.join("hold").join(component)
    }

    /// What belongs to one node.
    pub fn node(&self, name: &str) -> PathBuf {
        self.state.join("nodes").join(name)
    }

    /// The credentials of the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.conf")
    }

    /// The root below which the emulator shows `node` its devices.
    pub fn device_root(&self, node: &str) -> PathBuf {
        self.azure().join("vms").join(node)
    }

    /// The emulator's state.
    pub fn azure(&self) -> PathBuf {
        self.state.join("azure")
    }

    /// The place of a second cluster of the same checkout, for tests that run beside others.
    #[must_use]
    pub fn beside(&self) -> Place {
        let mut state = self.state.clone().into_os_string();
        state.push("-beside");
        Place { state: state.into(), ..self.clone() }
    }

    /// What tests found out; beside the state, so that it outlives the cluster.
    pub fn reports(&self) -> PathBuf {
        self.state.with_extension("reports")
    }

    /// A file of the checkout.
    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.checkout.join(path)
    }
}
