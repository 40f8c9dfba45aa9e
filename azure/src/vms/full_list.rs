//! The data disks of a VM written as one list, with PUT: where the delta call is not to be had.
//!
//! A list is the new truth about *all* disks of the VM, so it is made from a fresh read, every entry that is not
//! ours goes back as it came, and `If-Match` with the ETag of that read makes Azure refuse it if anything changed
//! in between. **Invariants:** no PUT without the ETag of a VM that exists, so that none can make a VM; no list
//! from an answer that does not show one; a LUN is taken only if no entry has it, leaving ones included.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use super::VERSION;
use super::write::{DiskWriter, Written};
use crate::ask::Ask;
use crate::client::{Arm, decode};
use crate::error::Effect;
use crate::gates::draw::Draw;
use crate::model::vm::{AttachDisk, DiskChanges};
use crate::transport::BoxFuture;
use crate::{Deadline, DiskId, Error, ErrorKind, VmId};

/// How a list says that a disk is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// By `toBeDetached`.
    Marked,
    /// By not naming it: Azure Stack does not know `toBeDetached`.
    LeftOut,
}

/// Writes full lists.
#[derive(Debug)]
pub(super) struct FullList {
    arm: Arm,
    leaving: Leaving,
}

impl FullList {
    pub(super) fn new(arm: Arm, leaving: Leaving) -> FullList {
        FullList { arm, leaving }
    }

    async fn put(
        &self,
        vm: &VmId,
        changes: &DiskChanges,
        deadline: Deadline,
        follow: Deadline,
    ) -> Result<Written, Error> {
        // Not patient, as the write: who hangs up during a pause must not get it after all.
        let read = Ask { is_patient: false, ..Ask::get("read VM", vm.as_str(), VERSION, deadline) };
        let answer = self.arm.send(&read, &self.arm.url(&read)?).await?;
        let document: Value = decode(&read, &answer.body)?;
        let unusable = |what: &str| {
            let text =
                format!("Azure's answer has no {what}: without it, a list of disks is not safe to write");
            read.error(ErrorKind::Protocol, text, Effect::None)
        };
        let text = |name: &str| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let etag = text("etag").map(str::to_owned).or_else(|| answer.header("etag"));
        let etag = etag.filter(|etag| etag.trim() != "*").ok_or_else(|| unusable("ETag"))?;
        let location = text("location").ok_or_else(|| unusable("location"))?;
        let list = document.pointer("/properties/storageProfile/dataDisks").and_then(Value::as_array);
        let list: Option<Vec<&Map<String, Value>>> =
            list.ok_or_else(|| unusable("list of data disks"))?.iter().map(Value::as_object).collect();
        let list = list.ok_or_else(|| unusable("readable list of data disks"))?;
        if self.leaving == Leaving::LeftOut && changes.detach.iter().any(|one| one.force) {
            let text = "Azure Stack knows no forced detach";
            return Err(read.error(ErrorKind::NotAllowed, text, Effect::None));
        }
        let Some(list) = changed(&list, changes, vm, self.leaving) else { return Ok(Written::Changed) };
        let body = json!({ "location": location, "properties": { "storageProfile": { "dataDisks": list } } });
        let operation = "write the list of disks of";
        let ask = Ask::write(operation, Method::PUT, vm.as_str(), VERSION, Some(&body), deadline)?;
        match self.arm.write(&Ask { if_match: Some(etag), is_patient: false, follow, ..ask }).await {
            // Also if an earlier try got through: that one then changed the VM, or will be refused like this one.
            Err(error) if error.kind() == ErrorKind::EtagMismatch => Ok(Written::Changed),
            outcome => outcome.map(|_| Written::Done),
        }
    }
}

impl DiskWriter for FullList {
    fn change<'a>(
        &'a self,
        vm: &'a VmId,
        changes: &'a DiskChanges,
        deadline: Deadline,
        follow: Deadline,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(self.put(vm, changes, deadline, follow))
    }

    fn wait(&self, vm: &VmId) -> Option<Duration> {
        self.arm.closed(&Draw::of(&Method::PUT, vm.as_str()))
    }
}

/// What a newer api-version shows of a disk, and takes back for VMs of uniform scale sets only ("Property
/// 'dataDisk.diskIOPSReadWrite' can be enabled only on VMs in a Virtual Machine Scale Set").
const SET_ONLY: [&str; 2] = ["diskIOPSReadWrite", "diskMBpsReadWrite"];

/// The list with the changes made; `None`: it is not the list that they were planned on.
fn changed(
    list: &[&Map<String, Value>],
    changes: &DiskChanges,
    vm: &VmId,
    leaving: Leaving,
) -> Option<Vec<Value>> {
    let is_free = |one: &AttachDisk| {
        let lun = Some(u64::from(one.lun.get()));
        !list.iter().any(|entry| is_of(entry, &one.disk) || entry.get("lun").and_then(Value::as_u64) == lun)
    };
    let is_listed = |disk: &DiskId| list.iter().any(|entry| is_of(entry, disk));
    if !changes.attach.iter().all(is_free) || !changes.detach.iter().all(|one| is_listed(&one.disk)) {
        return None;
    }
    let kept = list.iter().filter_map(|entry| {
        let mut entry = (*entry).clone();
        if let Some(one) = changes.detach.iter().find(|one| is_of(&entry, &one.disk)) {
            if leaving == Leaving::LeftOut {
                return None;
            }
            entry.insert("toBeDetached".to_owned(), json!(true));
            if one.force {
                entry.insert("detachOption".to_owned(), json!("ForceDetach"));
            }
        }
        if matches!(vm, VmId::Standalone(_)) {
            entry.retain(|name, _| !SET_ONLY.contains(&name.as_str()));
        }
        Some(Value::Object(entry))
    });
    Some(kept.chain(changes.attach.iter().map(|one| entry(one, leaving))).collect())
}

fn is_of(entry: &Map<String, Value>, disk: &DiskId) -> bool {
    let id = entry.get("managedDisk").and_then(|managed| managed.get("id")).and_then(Value::as_str);
    id.is_some_and(|id| id.eq_ignore_ascii_case(disk.as_str()))
}

/// A disk that comes, as an entry.
fn entry(one: &AttachDisk, leaving: Leaving) -> Value {
    let mut entry = json!({
        "lun": one.lun.get(),
        "name": one.disk.name(),
        "createOption": "Attach",
        "caching": one.caching,
        "managedDisk": { "id": one.disk.as_str() },
        "writeAcceleratorEnabled": one.write_accelerator,
    });
    if let Some(set) = &one.disk_encryption_set {
        entry["managedDisk"]["diskEncryptionSet"] = json!({ "id": set });
    }
    if leaving == Leaving::Marked {
        // The disk outlives the VM: it is somebody's volume. Azure Stack knows nothing else.
        entry["deleteOption"] = json!("Detach");
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::vm::DetachDisk;
    use crate::{Caching, Lun};

    const GROUP: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute";

    fn disk(name: &str) -> DiskId {
        DiskId::new("s", "rg", name).unwrap()
    }

    fn come(name: &str, lun: u8) -> AttachDisk {
        AttachDisk {
            disk: disk(name),
            lun: Lun::new(lun).unwrap(),
            caching: Caching::None,
            disk_encryption_set: Some("set".to_owned()),
            write_accelerator: true,
        }
    }

    fn go(name: &str, force: bool) -> DetachDisk {
        DetachDisk { disk: disk(name), force }
    }

    /// As Azure shows it: two disks of others, one of which is leaving, one that is still being made.
    fn shown() -> Vec<Value> {
        let id = |name: &str| disk(name).as_str().to_uppercase();
        vec![
            json!({ "lun": 0, "name": "a", "createOption": "Empty", "caching": "ReadWrite", "unheard": [1.5, null],
                "managedDisk": { "id": id("a"), "storageAccountType": "Premium_LRS" }, "diskSizeGB": 8,
                "diskIOPSReadWrite": 3000, "diskMBpsReadWrite": 125, "deleteOption": "Delete" }),
            json!({ "lun": 3, "name": "b", "managedDisk": { "id": id("b") }, "toBeDetached": true }),
            json!({ "lun": 5, "name": "new", "createOption": "Empty", "managedDisk": {} }),
        ]
    }

    fn run(shown: &[Value], changes: &DiskChanges, is_set: bool, leaving: Leaving) -> Option<Vec<Value>> {
        let path =
            if is_set { "virtualMachineScaleSets/set/virtualMachines/0" } else { "virtualMachines/vm" };
        let list: Vec<_> = shown.iter().map(|entry| entry.as_object().unwrap()).collect();
        changed(&list, changes, &format!("{GROUP}/{path}").parse().unwrap(), leaving)
    }

    #[test]
    fn what_is_not_ours_goes_back_as_it_came() {
        let changes = DiskChanges { attach: vec![come("c", 1)], detach: Vec::new() };
        for is_set in [true, false] {
            let list = run(&shown(), &changes, is_set, Leaving::Marked).unwrap();
            let mut expected = shown();
            if !is_set {
                expected[0].as_object_mut().unwrap().retain(|name, _| !SET_ONLY.contains(&name.as_str()));
            }
            assert_eq!(list[..3], expected);
            assert_eq!(
                list[3],
                json!({ "lun": 1, "name": "c", "createOption": "Attach", "caching": "None",
                    "managedDisk": { "id": disk("c").as_str(), "diskEncryptionSet": { "id": "set" } },
                    "writeAcceleratorEnabled": true, "deleteOption": "Detach" })
            );
        }
    }

    #[test]
    fn what_leaves_is_marked_or_left_out() {
        for force in [true, false] {
            let changes = DiskChanges { attach: Vec::new(), detach: vec![go("a", force)] };
            let list = run(&shown(), &changes, true, Leaving::Marked).unwrap();
            let mut expected = shown();
            expected[0]["toBeDetached"] = json!(true);
            if force {
                expected[0]["detachOption"] = json!("ForceDetach");
            }
            assert_eq!(list, expected);
        }
        let changes = DiskChanges { attach: vec![come("c", 1)], detach: vec![go("a", false)] };
        let list = run(&shown(), &changes, true, Leaving::LeftOut).unwrap();
        assert_eq!(list[..2], shown()[1..]);
        assert_eq!(list[2].get("deleteOption"), None);
    }

    #[test]
    fn a_list_that_was_not_planned_on_is_not_written() {
        let attach = |name, lun| DiskChanges { attach: vec![come(name, lun)], detach: Vec::new() };
        let detach = |name| DiskChanges { attach: Vec::new(), detach: vec![go(name, false)] };
        let swap = DiskChanges { attach: vec![come("c", 0)], detach: vec![go("a", false)] };
        let rows = [
            ("free", attach("c", 1), true),
            ("the LUN is taken", attach("c", 0), false),
            ("by one that is leaving", attach("c", 3), false),
            ("by one that is being made", attach("c", 5), false),
            ("the disk is there", attach("a", 1), false),
            ("and leaving", attach("b", 1), false),
            ("a LUN is not handed on in one update", swap, false),
            ("there", detach("a"), true),
            ("leaving, asked again", detach("b"), true),
            ("not there", detach("c"), false),
        ];
        for (what, changes, is_made) in rows {
            for leaving in [Leaving::Marked, Leaving::LeftOut] {
                assert_eq!(run(&shown(), &changes, false, leaving).is_some(), is_made, "{what} {leaving:?}");
            }
        }
    }
}
