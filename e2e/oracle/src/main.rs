//! Drives an Azure through the life of two disks and a VM with a client that is not ours, and says at each step
//! whether the answer is what that client, written for the real Azure, makes of it.
//!
//! `oracle <base address> [<subscription> <resource group>]`: one line for each step, exit code 1 at the first
//! difference. It is the second opinion on the emulator: a mistake that our own client and the emulator agree on
//! shows here. It leaves nothing behind, and may be run again.

mod azure;

use std::process::ExitCode;

use azure_core::Url;
use azure_mgmt_compute::package_2024_07_01::models::{
    AttachDetachDataDisksRequest, Caching, CreateOption, CreationData, DataDisk, DataDisksToAttach,
    DataDisksToDetach, Disk, DiskProperties, DiskSku, DiskState, DiskUpdate, DiskUpdateProperties,
    HardwareProfile, ImageReference, ManagedDiskParameters, NetworkInterfaceReference, NetworkProfile,
    OsDisk, OsProfile, Resource, StorageProfile, SubResource, VirtualMachine, VirtualMachineProperties,
    creation_data, disk_sku, hardware_profile,
};
use futures::StreamExt as _;

use azure::{Azure, Difference, refusal, same};

const LOCATION: &str = "eastus2";
const VM: &str = "oracle-vm";
const DISKS: [&str; 2] = ["oracle-a", "oracle-b"];

/// Where everything happens.
struct Oracle {
    azure: Azure,
    subscription: String,
    group: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().and_then(|address| Url::parse(&address).ok());
    let Some(endpoint) = endpoint else {
        eprintln!("usage: oracle <base address> [<subscription> <resource group>]");
        return ExitCode::from(2);
    };
    let subscription = arguments.next().unwrap_or("5ab5c71b-0000-4000-8000-000000000001".to_owned());
    let group = arguments.next().unwrap_or("rg".to_owned());
    match run(&endpoint, subscription, group).await {
        Ok(steps) => {
            println!("{steps} steps, no difference");
            ExitCode::SUCCESS
        }
        Err(Difference(what)) => {
            println!("DIFFERENCE: {what}");
            ExitCode::FAILURE
        }
    }
}

async fn run(endpoint: &Url, subscription: String, group: String) -> Result<u32, Difference> {
    let azure = Azure::connect(endpoint).await?;
    let oracle = Oracle { azure, subscription, group };
    let mut steps = 0;
    macro_rules! step {
        ($what:expr, $does:expr) => {{
            $does.await.map_err(|Difference(why)| Difference(format!("{}: {why}", $what)))?;
            println!("ok  {}", $what);
            steps += 1;
        }};
    }
    let [a, b] = DISKS;
    step!("create two disks", oracle.create_disks());
    step!("get a disk", oracle.disk_is(a, None, 8));
    step!("list the disks", oracle.list_has(&DISKS));
    step!("a disk that is not there", oracle.missing_disk("oracle-none"));
    step!("create a VM", oracle.create_vm());
    step!("get the VM", oracle.vm_has(&[]));
    step!("attach by attachDetachDataDisks", oracle.delta(&[(a, 0)], &[]));
    step!("the disk knows its VM", oracle.disk_is(a, Some(VM), 8));
    step!("the VM knows its disk", oracle.vm_has(&[(0, a)]));
    step!("attach by a PUT of the VM", oracle.put_data_disks(&[(0, a), (5, b)]));
    step!("the VM has both", oracle.vm_has(&[(0, a), (5, b)]));
    step!("an attached disk is not deleted", oracle.delete_is_refused(b));
    step!("resize an attached disk", oracle.resize(b, 16));
    step!("it has its new size and its VM", oracle.disk_is(b, Some(VM), 16));
    step!("detach by a PUT of the VM", oracle.put_data_disks(&[(0, a)]));
    step!("one is free", oracle.disk_is(b, None, 16));
    step!("the VM keeps the other", oracle.vm_has(&[(0, a)]));
    step!("detach by attachDetachDataDisks", oracle.delta(&[], &[a]));
    step!("both are free", oracle.disk_is(a, None, 8));
    step!("the VM has none", oracle.vm_has(&[]));
    step!("delete the VM", oracle.delete_vm());
    step!("delete the disks", oracle.delete_disks());
    step!("a deleted disk is not there", oracle.missing_disk(a));
    step!("nor in the list", oracle.list_has(&[]));
    Ok(steps)
}

impl Oracle {
    fn id(&self, kind: &str, name: &str) -> String {
        let Oracle { subscription, group, .. } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}/{name}")
    }

    fn disk_id(&self, name: &str) -> String {
        self.id("Microsoft.Compute/disks", name)
    }

    async fn get_disk(&self, name: &str) -> azure_core::Result<Disk> {
        self.azure.disks().get(&self.subscription, &self.group, name).send().await?.into_body().await
    }

    async fn get_vm(&self) -> Result<VirtualMachine, Difference> {
        let answer = self.azure.vms().get(&self.group, VM, &self.subscription).send().await?;
        Ok(answer.into_body().await?)
    }

    async fn create_disks(&self) -> Result<(), Difference> {
        for name in DISKS {
            let mut properties = DiskProperties::new(CreationData::new(creation_data::CreateOption::Empty));
            properties.disk_size_gb = Some(8);
            let mut disk = Disk::new(Resource::new(LOCATION.to_owned()));
            disk.sku = Some(DiskSku { name: Some(disk_sku::Name::PremiumLrs), tier: None });
            disk.properties = Some(properties);
            let request = self.azure.disks().create_or_update(&self.subscription, &self.group, name, disk);
            self.azure.follow(request.send().await?.into_raw_response()).await?;
        }
        Ok(())
    }

    /// The disk is as created: of that size, on that VM or free.
    async fn disk_is(&self, name: &str, vm: Option<&str>, gib: i32) -> Result<(), Difference> {
        let disk = self.get_disk(name).await?;
        let holder = disk.managed_by.as_deref().and_then(|id| id.rsplit('/').next());
        same("managedBy", &holder, &vm)?;
        same("id", &disk.resource.id.map(|id| id.to_lowercase()), &Some(self.disk_id(name).to_lowercase()))?;
        same("type", &disk.resource.type_.as_deref(), &Some("Microsoft.Compute/disks"))?;
        same("location", &disk.resource.location.as_str(), &LOCATION)?;
        same("sku", &disk.sku.and_then(|sku| sku.name), &Some(disk_sku::Name::PremiumLrs))?;
        let is = disk.properties.ok_or_else(|| Difference("it has no properties".into()))?;
        let state = if vm.is_some() { DiskState::Attached } else { DiskState::Unattached };
        same("diskState", &is.disk_state, &Some(state))?;
        same("diskSizeGB", &is.disk_size_gb, &Some(gib))?;
        same("diskSizeBytes", &is.disk_size_bytes, &Some(i64::from(gib) << 30))?;
        same("provisioningState", &is.provisioning_state.as_deref(), &Some("Succeeded"))?;
        same("createOption", &is.creation_data.create_option, &creation_data::CreateOption::Empty)?;
        same("having a uniqueId", &is.unique_id.is_some(), &true)?;
        same("having a timeCreated", &is.time_created.is_some(), &true)
    }

    /// Of our disks, both lists have exactly `names`.
    async fn list_has(&self, names: &[&str]) -> Result<(), Difference> {
        let disks = self.azure.disks();
        let lists = [
            ("the group", disks.list_by_resource_group(&self.subscription, &self.group).into_stream()),
            ("the subscription", disks.list(&self.subscription).into_stream()),
        ];
        for (whose, mut pages) in lists {
            let mut found = Vec::new();
            while let Some(page) = pages.next().await {
                found.extend(page?.value.into_iter().filter_map(|disk| disk.resource.name));
            }
            found.retain(|name| DISKS.contains(&name.as_str()));
            found.sort();
            same(
                &format!("the list of {whose}"),
                &found,
                &names.iter().map(|name| (*name).to_owned()).collect(),
            )?;
        }
        Ok(())
    }

    async fn missing_disk(&self, name: &str) -> Result<(), Difference> {
        same("the refusal", &refusal(self.get_disk(name).await)?, &(404, "ResourceNotFound".to_owned()))
    }

    async fn create_vm(&self) -> Result<(), Difference> {
        let mut os_disk = OsDisk::new(CreateOption::FromImage);
        os_disk.name = Some(format!("{VM}-os"));
        os_disk.caching = Some(Caching::ReadWrite);
        let image_reference = Some(ImageReference {
            publisher: Some("Canonical".to_owned()),
            offer: Some("ubuntu-24_04-lts".to_owned()),
            sku: Some("server".to_owned()),
            version: Some("latest".to_owned()),
            ..ImageReference::new()
        });
        let nic = self.id("Microsoft.Network/networkInterfaces", "oracle-nic");
        let nic = NetworkInterfaceReference { sub_resource: SubResource { id: Some(nic) }, properties: None };
        let size = hardware_profile::VmSize::StandardD2sV3;
        let mut vm = VirtualMachine::new(Resource::new(LOCATION.to_owned()));
        vm.properties = Some(VirtualMachineProperties {
            hardware_profile: Some(HardwareProfile { vm_size: Some(size), ..HardwareProfile::new() }),
            storage_profile: Some(StorageProfile {
                image_reference,
                os_disk: Some(os_disk),
                ..StorageProfile::new()
            }),
            os_profile: Some(OsProfile {
                computer_name: Some(VM.to_owned()),
                admin_username: Some("azureuser".to_owned()),
                admin_password: Some("not-a-secret-1".to_owned()),
                ..OsProfile::new()
            }),
            network_profile: Some(NetworkProfile { network_interfaces: vec![nic], ..NetworkProfile::new() }),
            ..VirtualMachineProperties::new()
        });
        self.put_vm(vm, None).await
    }

    async fn put_vm(&self, vm: VirtualMachine, etag: Option<String>) -> Result<(), Difference> {
        let mut request = self.azure.vms().create_or_update(&self.group, VM, vm, &self.subscription);
        if let Some(etag) = etag {
            request = request.if_match(etag);
        }
        self.azure.follow(request.send().await?.into_raw_response()).await
    }

    /// The VM's data disks are exactly these.
    async fn vm_has(&self, wanted: &[(i32, &str)]) -> Result<(), Difference> {
        let properties = self.get_vm().await?.properties.unwrap_or_default();
        same("provisioningState", &properties.provisioning_state.as_deref(), &Some("Succeeded"))?;
        let disks = properties.storage_profile.unwrap_or_default().data_disks;
        let mut has: Vec<(i32, String)> = Vec::new();
        for disk in &disks {
            same("toBeDetached", &disk.to_be_detached.unwrap_or_default(), &false)?;
            let id = disk.managed_disk.as_ref().and_then(|managed| managed.sub_resource.id.as_deref());
            has.push((disk.lun, id.and_then(|id| id.rsplit('/').next()).unwrap_or_default().to_lowercase()));
        }
        has.sort();
        same("dataDisks", &has, &wanted.iter().map(|(lun, name)| (*lun, (*name).to_owned())).collect())
    }

    async fn delta(&self, attach: &[(&str, i32)], detach: &[&str]) -> Result<(), Difference> {
        let attach = attach.iter().map(|(name, lun)| DataDisksToAttach {
            lun: Some(*lun),
            caching: Some(Caching::ReadOnly),
            ..DataDisksToAttach::new(self.disk_id(name))
        });
        let detach = detach.iter().map(|name| DataDisksToDetach::new(self.disk_id(name)));
        let request = AttachDetachDataDisksRequest {
            data_disks_to_attach: attach.collect(),
            data_disks_to_detach: detach.collect(),
        };
        let request = self.azure.vms().attach_detach_data_disks(&self.group, VM, request, &self.subscription);
        self.azure.follow(request.send().await?.into_raw_response()).await
    }

    /// Reads the VM and writes it back with these data disks. Never none: the client drops an empty list, and
    /// then nothing would be detached.
    async fn put_data_disks(&self, wanted: &[(i32, &str)]) -> Result<(), Difference> {
        let mut vm = self.get_vm().await?;
        let profile = vm.properties.as_mut().and_then(|properties| properties.storage_profile.as_mut());
        let profile = profile.ok_or_else(|| Difference("the VM has no storageProfile".into()))?;
        profile.data_disks.retain(|disk| wanted.iter().any(|(lun, _)| *lun == disk.lun));
        for (lun, name) in wanted {
            if !profile.data_disks.iter().any(|disk| disk.lun == *lun) {
                let sub_resource = SubResource { id: Some(self.disk_id(name)) };
                let managed = ManagedDiskParameters { sub_resource, ..ManagedDiskParameters::new() };
                profile.data_disks.push(DataDisk {
                    managed_disk: Some(managed),
                    ..DataDisk::new(*lun, CreateOption::Attach)
                });
            }
        }
        let etag = vm.etag.clone();
        same("having an etag", &etag.is_some(), &true)?;
        self.put_vm(vm, etag).await
    }

    async fn resize(&self, name: &str, gib: i32) -> Result<(), Difference> {
        let properties = DiskUpdateProperties { disk_size_gb: Some(gib), ..DiskUpdateProperties::new() };
        let update = DiskUpdate { properties: Some(properties), ..DiskUpdate::new() };
        let request = self.azure.disks().update(&self.subscription, &self.group, name, update);
        self.azure.follow(request.send().await?.into_raw_response()).await
    }

    async fn delete_is_refused(&self, name: &str) -> Result<(), Difference> {
        let answer = self.azure.disks().delete(&self.subscription, &self.group, name).send().await;
        same("the refusal", &refusal(answer)?, &(409, "OperationNotAllowed".to_owned()))
    }

    async fn delete_disks(&self) -> Result<(), Difference> {
        for name in DISKS {
            let request = self.azure.disks().delete(&self.subscription, &self.group, name);
            self.azure.follow(request.send().await?.into_raw_response()).await?;
        }
        Ok(())
    }

    async fn delete_vm(&self) -> Result<(), Difference> {
        let request = self.azure.vms().delete(&self.group, VM, &self.subscription);
        self.azure.follow(request.send().await?.into_raw_response()).await
    }
}
