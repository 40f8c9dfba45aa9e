//! What a Hyper-V guest's sysfs shows of its SCSI disks, as texts: which files and links, with what in them.
//! Pure; [`super::root`] writes it.
//!
//! ```text
//! sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/
//!   f8b3781a-…/host0/target0:0:0/0:0:0:0/block/sda      OS disk            ] decoys: on the other
//!                                0:0:0:1/block/sdb      temp disk, blank   ] controller
//!   f8b3781b-…/host1/target1:0:0/1:0:0:<LUN>/block/sdc  data disk
//! sys/bus/vmbus/devices/<guid>, sys/bus/scsi/devices/H:C:T:L, sys/class/{block,scsi_host}/…, sys/block/sdX,
//! sys/dev/block/7:N                                     links into it
//! ```
//! `scan`, `rescan` and `delete` are plain files: a node may write them, and nothing happens, because disks
//! and sizes are shown without being asked for. As on Azure, a name like sdc says nothing about the LUN.

/// The VMBus class of a synthetic SCSI controller.
const SCSI_CLASS: &str = "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f";

const VMBUS: &str = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00";

/// The two SCSI controllers of a generation 2 VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    /// With the OS disk at LUN 0 and the temp disk at LUN 1.
    OsAndTemp,
    /// With the data disks.
    Data,
}

impl Controller {
    pub(super) const ALL: [Controller; 2] = [Controller::OsAndTemp, Controller::Data];

    /// Its VMBus `device_id`, which is how a guest tells it from the other.
    fn guid(self) -> &'static str {
        match self {
            Controller::OsAndTemp => "f8b3781a-1e82-4818-a1c3-63d806ec15bb",
            Controller::Data => "f8b3781b-1e82-4818-a1c3-63d806ec15bb",
        }
    }

    fn host(self) -> u8 {
        match self {
            Controller::OsAndTemp => 0,
            Controller::Data => 1,
        }
    }

    fn directory(self) -> String {
        format!("{VMBUS}/{}", self.guid())
    }

    /// Where its SCSI devices are, below `sys`.
    pub(super) fn target(self) -> String {
        let host = self.host();
        format!("{}/host{host}/target{host}:0:0", self.directory())
    }

    /// Files below `sys` and their texts.
    pub(super) fn files(self) -> Vec<(String, String)> {
        let (directory, host) = (self.directory(), self.host());
        let scsi_host = format!("{directory}/host{host}/scsi_host/host{host}");
        vec![
            (format!("{directory}/device_id"), format!("{{{}}}\n", self.guid())),
            (format!("{directory}/class_id"), format!("{{{SCSI_CLASS}}}\n")),
            (format!("{scsi_host}/scan"), String::new()),
            (format!("{scsi_host}/proc_name"), "storvsc_host_t\n".to_owned()),
        ]
    }

    /// Links below `sys` and where they lead.
    pub(super) fn links(self) -> Vec<(String, String)> {
        let (directory, host) = (self.directory(), self.host());
        vec![
            (
                format!("class/scsi_host/host{host}"),
                format!("../../{directory}/host{host}/scsi_host/host{host}"),
            ),
            (format!("bus/scsi/devices/host{host}"), format!("../../../{directory}/host{host}")),
            (format!("bus/vmbus/devices/{}", self.guid()), format!("../../../{directory}")),
        ]
    }
}

/// A place for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) controller: Controller,
    pub(super) lun: u8,
}

impl Slot {
    /// `H:C:T:L`.
    pub(super) fn address(self) -> String {
        format!("{}:0:0:{}", self.controller.host(), self.lun)
    }

    /// The SCSI device's directory, below `sys`.
    pub(super) fn directory(self) -> String {
        format!("{}/{}", self.controller.target(), self.address())
    }

    /// The links that lead to the device, below `sys`: the last one is what a search starts from, so it is
    /// made last and removed first.
    pub(super) fn links(self, name: &str, dev: (u32, u32)) -> Vec<(String, String)> {
        let directory = self.directory();
        vec![
            (format!("dev/block/{}:{}", dev.0, dev.1), format!("../../{directory}/block/{name}")),
            (format!("block/{name}"), format!("../{directory}/block/{name}")),
            (format!("class/block/{name}"), format!("../../{directory}/block/{name}")),
            (format!("bus/scsi/devices/{}", self.address()), format!("../../../{directory}")),
        ]
    }
}

/// A disk as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) slot: Slot,
    /// sdc …
    pub(super) name: String,
    pub(super) dev: (u32, u32),
    pub(super) bytes: u64,
    /// Bytes of a logical sector.
    pub(super) sector: u32,
}

impl Disk {
    /// Files and their texts, below the SCSI device's directory.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let block = format!("block/{}", self.name);
        let (major, minor) = self.dev;
        let rows = [
            ("vendor", "Msft    \n".to_owned()),
            ("model", "Virtual Disk    \n".to_owned()),
            ("rev", "1.0 \n".to_owned()),
            ("type", "0\n".to_owned()),
            ("state", "running\n".to_owned()),
            ("rescan", String::new()),
            ("delete", String::new()),
        ];
        let block_rows = [
            ("dev", format!("{major}:{minor}\n")),
            ("size", size(self.bytes)),
            ("ro", "0\n".to_owned()),
            ("removable", "0\n".to_owned()),
            ("uevent", format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={}\nDEVTYPE=disk\n", self.name)),
            ("queue/logical_block_size", format!("{}\n", self.sector)),
            ("queue/physical_block_size", "4096\n".to_owned()),
            ("queue/rotational", "0\n".to_owned()),
        ];
        let files = rows.into_iter().map(|(file, text)| (file.to_owned(), text));
        files.chain(block_rows.into_iter().map(|(file, text)| (format!("{block}/{file}"), text))).collect()
    }

    /// Links and where they lead, below the SCSI device's directory.
    pub(super) fn inner_links(&self) -> Vec<(String, String)> {
        let up = "../".repeat(self.slot.directory().split('/').count());
        vec![
            ("subsystem".to_owned(), format!("{up}bus/scsi")),
            (format!("block/{}/subsystem", self.name), format!("{up}../../class/block")),
            (format!("block/{}/device", self.name), format!("../../../{}", self.slot.address())),
        ]
    }
}

/// The text of a `size` file: always in units of 512 bytes, whatever the sector size.
pub(super) fn size(bytes: u64) -> String {
    format!("{}\n", bytes / 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA_3: Slot = Slot { controller: Controller::Data, lun: 3 };

    fn disk() -> Disk {
        Disk { slot: DATA_3, name: "sdc".into(), dev: (7, 12), bytes: 8 << 30, sector: 4096 }
    }

    #[test]
    fn a_disk_looks_as_hyper_v_shows_it() {
        let files = disk().files();
        let check = |file: &str, text: &str| {
            let found = files.iter().find(|(name, _)| name == file).map(|(_, text)| text.as_str());
            assert_eq!(found, Some(text), "{file}");
        };
        check("vendor", "Msft    \n");
        check("model", "Virtual Disk    \n");
        check("block/sdc/dev", "7:12\n");
        check("block/sdc/size", "16777216\n");
        check("block/sdc/queue/logical_block_size", "4096\n");
        assert_eq!(DATA_3.address(), "1:0:0:3");
    }

    #[test]
    fn a_search_finds_a_disk_only_when_all_of_it_is_there() {
        let links = DATA_3.links("sdc", (7, 12));
        assert_eq!(links.last().unwrap().0, "bus/scsi/devices/1:0:0:3");
    }

    #[test]
    fn every_link_leads_into_the_tree() {
        let within = |from: &str, to: &str| {
            let mut path: Vec<&str> = from.split('/').collect();
            path.pop();
            for part in to.split('/') {
                match part {
                    ".." => assert!(path.pop().is_some(), "{from} leaves the tree"),
                    part => path.push(part),
                }
            }
            path.join("/")
        };
        let block = format!("{}/block/sdc", DATA_3.directory());
        let leads = |(from, to): &(String, String)| within(from, to);
        let links: Vec<String> = DATA_3.links("sdc", (7, 12)).iter().map(leads).collect();
        assert_eq!(links, [block.as_str(), &block, &block, &DATA_3.directory()]);
        let inner: Vec<String> = disk()
            .inner_links()
            .iter()
            .map(|(from, to)| within(&format!("{}/{from}", DATA_3.directory()), to))
            .collect();
        assert_eq!(inner, ["bus/scsi", "class/block", DATA_3.directory().as_str()]);
        for controller in Controller::ALL {
            let directory = controller.directory();
            let links: Vec<String> = controller.links().iter().map(leads).collect();
            assert!(links.iter().all(|to| to.starts_with(&directory)), "{links:?}");
        }
    }
}
