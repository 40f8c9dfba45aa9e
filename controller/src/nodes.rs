//! From node ids to VMs and back.
//!
//! A node id is the node's name in Kubernetes: the name of a standalone VM, the computer name of a
//! scale-set VM; an ARM id is taken as well. Owned here: which VM has which name, which never changes
//! while the VM exists; an entry is forgotten when its VM turns out to be gone. Whether a VM is there is
//! never answered from here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use azure::{Arm, Error, ErrorKind, ResourceGroup, VmId};
use tokio::time::Instant;

/// Names seen so far.
#[derive(Default)]
pub(crate) struct Nodes {
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    /// By lower-case node id.
    vms: HashMap<String, VmId>,
    /// By which name each VM was asked for, or said to have.
    nodes: HashMap<VmId, String>,
}

impl Nodes {
    /// The VM of `node_id` in `group`; `None` if there is none.
    pub(crate) async fn vm(
        &self,
        arm: &Arm,
        group: &ResourceGroup,
        node_id: &str,
        deadline: Instant,
    ) -> Result<Option<VmId>, Error> {
        if let Ok(id) = node_id.parse::<VmId>() {
            return Ok(Some(id));
        }
        let key = node_id.to_ascii_lowercase();
        if let Some(known) = self.lock().vms.get(&key) {
            return Ok(Some(known.clone()));
        }
        let found = match arm.find_vm(group, node_id, deadline).await {
            Ok(vm) => vm.vm_id(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(id) = found else { return Ok(None) };
        let mut names = self.lock();
        names.nodes.insert(id.clone(), key.clone());
        names.vms.insert(key, id.clone());
        Ok(Some(id))
    }

    /// The node id of `vm`, as NodeGetInfo says it there; `None` if the VM does not exist.
    pub(crate) async fn node(
        &self,
        arm: &Arm,
        vm: &VmId,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        if let Some(known) = self.lock().nodes.get(vm) {
            return Ok(Some(known.clone()));
        }
        if let VmId::Standalone(_) = vm {
            return Ok(Some(vm.name().to_ascii_lowercase()));
        }
        let name = match arm.vm(vm, deadline).await {
            Ok(found) => found.computer_name().map(str::to_ascii_lowercase),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(name) = &name {
            self.lock().nodes.insert(vm.clone(), name.clone());
        }
        Ok(name)
    }

    /// Forgets a VM that is gone.
    pub(crate) fn forget(&self, vm: &VmId) {
        let mut names = self.lock();
        names.vms.retain(|_, known| known != vm);
        names.nodes.remove(vm);
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
