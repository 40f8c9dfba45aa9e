//! Requests about virtual machines and their data disks, and the way from a node's name to its VM.

mod choice;
mod full_list;
mod write;

use std::sync::Mutex;

use http::Method;
use serde::Deserialize;

use crate::ask::Ask;
use crate::bulk::Listed;
use crate::client::Arm;
use crate::error::Effect;
use crate::gathering::Gathering;
use crate::model::vm::{AttachDetachBody, DiskChanges, Vm};
use crate::{Deadline, Error, ErrorKind, ResourceGroup, VmId};

pub use choice::{DiskUpdates, FirstWay};
pub use write::{DiskWriter, Written};

const VERSION: &str = "api-version=2025-04-01";

/// A uniform scale set, as far as the names of its VMs are concerned.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleSet {
    name: String,
    properties: ScaleSetProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleSetProperties {
    orchestration_mode: Option<String>,
    virtual_machine_profile: Option<Profile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    os_profile: Option<NamePrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamePrefix {
    computer_name_prefix: Option<String>,
}

impl Listed for Vm {
    const VERSION: &'static str = VERSION;
    const WORDS: [&'static str; 2] = ["read VM", "list VMs"];

    fn id(&self) -> &str {
        &self.id
    }

    fn gathering(arm: &Arm) -> &Mutex<Gathering<Vm>> {
        &arm.inner.vms
    }
}

impl Arm {
    /// A VM as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; and what every request can fail with.
    pub async fn vm(&self, id: &VmId, deadline: Deadline) -> Result<Vm, Error> {
        self.read(&Ask::get("read VM", id.as_str(), VERSION, deadline)).await
    }

    /// The same; where many VMs of a group are asked for at once, a list may tell it. The VMs of a uniform scale set are
    /// read one by one: Azure takes ten of their lists a minute.
    ///
    /// # Errors
    /// As [`Arm::vm`].
    pub async fn vm_of_many(&self, id: &VmId, deadline: Deadline) -> Result<Vm, Error> {
        match id {
            VmId::Standalone(_) => self.one_of_many(id.as_str(), deadline).await,
            VmId::ScaleSet(_) => self.vm(id, deadline).await,
        }
    }

    /// The VM that is the node `name`: a standalone one of that name, or else the one of a uniform scale set
    /// whose host name it is (prefix and six digits of the instance's number in base 36).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if `group` has no such VM; and what every request can fail with.
    pub async fn find_vm(&self, group: &ResourceGroup, name: &str, deadline: Deadline) -> Result<Vm, Error> {
        let none = || {
            let text = format!("no VM of resource group {} is the node {name}", group.name);
            Error::new(ErrorKind::NotFound, "find VM", name, text, Effect::None)
        };
        let id = VmId::standalone(&group.subscription, &group.name, name).map_err(|_| none())?;
        match self.vm_of_many(&id, deadline).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let path = group.collection("virtualMachineScaleSets");
        let sets: Vec<ScaleSet> =
            match self.read_all(&Ask::list("list scale sets", &path, VERSION, deadline)).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(none()),
                sets => sets?,
            };
        for set in sets {
            let Some(instance) = instance_of(&set, name) else { continue };
            let path = format!("{path}/{}/virtualMachines/{instance}", set.name);
            let read: Result<Vm, Error> =
                self.read(&Ask::get("read scale-set VM", &path, VERSION, deadline)).await;
            match read {
                Ok(vm) if vm.computer_name().is_some_and(|host| host.eq_ignore_ascii_case(name)) => {
                    return Ok(vm);
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Err(none())
    }

    /// Attaches and detaches disks in one update that names only these, and follows it to its end. What
    /// became of each disk is for a read of the VM to tell. Where Azure throttles it is not waited: whoever plans
    /// updates has more to put into the next one meanwhile.
    ///
    /// # Errors
    /// What every write can fail with. Not every Azure and identity has this call: [`DiskUpdates`] knows the way
    /// around.
    pub async fn change_disks(
        &self,
        id: &VmId,
        changes: &DiskChanges,
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.change_and_follow(id, changes, deadline, deadline).await
    }

    /// The same, sent before `deadline` and followed until `follow`.
    async fn change_and_follow(
        &self,
        id: &VmId,
        changes: &DiskChanges,
        deadline: Deadline,
        follow: Deadline,
    ) -> Result<(), Error> {
        let path = format!("{id}/attachDetachDataDisks");
        let body = AttachDetachBody::from(changes);
        let operation = "attach and detach disks of";
        let ask = Ask::write(operation, Method::POST, &path, VERSION, Some(&body), deadline)?;
        self.write(&Ask { subject: id.as_str(), is_patient: false, follow, ..ask }).await?;
        Ok(())
    }
}

/// The number that `name` would have in `set`; `None` if its names are made otherwise.
fn instance_of(set: &ScaleSet, name: &str) -> Option<u64> {
    let is_flexible = set
        .properties
        .orchestration_mode
        .as_deref()
        .is_some_and(|mode| mode.eq_ignore_ascii_case("Flexible"));
    let profile = set.properties.virtual_machine_profile.as_ref()?.os_profile.as_ref()?;
    let prefix = profile.computer_name_prefix.as_deref()?;
    let (head, digits) = name.split_at_checked(prefix.len())?;
    let is_number = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_flexible || !head.eq_ignore_ascii_case(prefix) || !is_number {
        return None;
    }
    u64::from_str_radix(digits, 36).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_set_vm_is_found_by_its_host_name() {
        let set = |mode: &str| ScaleSet {
            name: "pool".to_owned(),
            properties: ScaleSetProperties {
                orchestration_mode: Some(mode.to_owned()),
                virtual_machine_profile: Some(Profile {
                    os_profile: Some(NamePrefix { computer_name_prefix: Some("aks-pool-".to_owned()) }),
                }),
            },
        };
        let rows = [
            ("aks-pool-000000", Some(0)),
            ("AKS-POOL-00000z", Some(35)),
            ("aks-pool-000010", Some(36)),
            ("aks-pool-0000", None),
            ("aks-pool-+00001", None),
            ("aks-pool-00000é", None),
            ("aks-other-000000", None),
            ("aks", None),
        ];
        for (name, number) in rows {
            assert_eq!(instance_of(&set("Uniform"), name), number, "{name}");
        }
        assert_eq!(instance_of(&set("Flexible"), "aks-pool-000000"), None);
    }
}
