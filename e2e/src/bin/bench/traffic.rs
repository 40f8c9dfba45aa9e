//! What a driver asked of Azure: the emulator's request log, sorted and counted. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use azure_emulator::LoggedRequest;

/// What one request is for.
#[derive(Debug, PartialEq, Eq)]
enum Purpose {
    /// Changes the disks of the VM with this path.
    Update(String),
    /// Reads one VM.
    VmRead,
    /// Reads one disk.
    DiskRead,
    /// Asks how an operation is going.
    Poll,
    /// Lists, SKUs, writes of disks.
    Other,
}

/// Requests by what they are for. One that was throttled counts as that and as nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// `attachDetachDataDisks`, or PUT of a VM.
    pub(crate) updates: usize,
    pub(crate) vm_reads: usize,
    pub(crate) disk_reads: usize,
    pub(crate) polls: usize,
    pub(crate) other: usize,
    /// Answered 429.
    pub(crate) throttled: usize,
    /// How long each accepted update took, by its VM.
    pub(crate) taken: BTreeMap<String, Vec<Duration>>,
}

impl Traffic {
    /// Counts `requests` in.
    pub(crate) fn add(&mut self, requests: &[LoggedRequest]) {
        for request in requests {
            self.add_one(request);
        }
    }

    fn add_one(&mut self, request: &LoggedRequest) {
        if request.status == 429 {
            self.throttled += 1;
            return;
        }
        match purpose(&request.method, &request.path) {
            Purpose::Update(vm) => {
                self.updates += 1;
                if let Some(operation) = request.operation_ms {
                    let taken = Duration::from_millis(operation.max(request.accept_ms));
                    self.taken.entry(vm).or_default().push(taken);
                }
            }
            Purpose::VmRead => self.vm_reads += 1,
            Purpose::DiskRead => self.disk_reads += 1,
            Purpose::Poll => self.polls += 1,
            Purpose::Other => self.other += 1,
        }
    }

    /// What each VM's updates took.
    pub(crate) fn taken(&self) -> impl Iterator<Item = &[Duration]> {
        self.taken.values().map(Vec::as_slice)
    }
}

/// What a request is for. Azure compares paths without case.
fn purpose(method: &str, path: &str) -> Purpose {
    let path = path.split('?').next().unwrap_or_default().to_lowercase();
    let segments: Vec<&str> = path.split('/').collect();
    let Some(at) = segments.iter().position(|segment| *segment == "microsoft.compute") else {
        return Purpose::Other;
    };
    match (method, &segments[at + 1..]) {
        ("POST", [.., "virtualmachines", _, "attachdetachdatadisks"]) => {
            Purpose::Update(segments[..segments.len() - 1].join("/"))
        }
        ("PUT", [.., "virtualmachines", _]) => Purpose::Update(segments.join("/")),
        ("GET", [.., "virtualmachines", _] | [.., "virtualmachines", _, "instanceview"]) => Purpose::VmRead,
        ("GET", ["disks", _]) => Purpose::DiskRead,
        ("GET", ["locations", _, "operations" | "diskoperations", _]) => Purpose::Poll,
        _ => Purpose::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute";

    #[test]
    fn a_request_is_known_by_its_method_and_path() {
        let vm = format!("{GROUP}/virtualMachines/n").to_lowercase();
        let instance = format!("{GROUP}/virtualMachineScaleSets/ss/virtualMachines/3").to_lowercase();
        for (method, path, expected) in [
            ("POST", "virtualMachines/n/attachDetachDataDisks?api-version=1", Purpose::Update(vm.clone())),
            ("PUT", "virtualMachines/N?api-version=1", Purpose::Update(vm)),
            (
                "POST",
                "virtualMachineScaleSets/ss/virtualMachines/3/attachDetachDataDisks",
                Purpose::Update(instance.clone()),
            ),
            ("PUT", "virtualMachineScaleSets/ss/virtualMachines/3", Purpose::Update(instance)),
            ("GET", "virtualMachines/n?$expand=instanceView", Purpose::VmRead),
            ("GET", "virtualMachines/n/instanceView", Purpose::VmRead),
            ("GET", "virtualMachineScaleSets/ss/virtualMachines/3", Purpose::VmRead),
            ("GET", "disks/virtualMachines", Purpose::DiskRead),
            ("GET", "virtualMachines", Purpose::Other),
            ("GET", "virtualMachineScaleSets/ss", Purpose::Other),
            ("GET", "disks", Purpose::Other),
            ("PUT", "disks/d", Purpose::Other),
            ("POST", "virtualMachines/n/start", Purpose::Other),
            ("DELETE", "virtualMachines/n", Purpose::Other),
        ] {
            assert_eq!(purpose(method, &format!("{GROUP}/{path}")), expected, "{method} {path}");
        }
        let location = "/subscriptions/s/providers/Microsoft.Compute/locations/l";
        assert_eq!(purpose("GET", &format!("{location}/operations/o?monitor=true")), Purpose::Poll);
        assert_eq!(purpose("GET", &format!("{location}/DiskOperations/o")), Purpose::Poll);
        assert_eq!(purpose("GET", "/subscriptions/s/resourceGroups/g"), Purpose::Other);
    }

    fn logged(method: &str, path: &str, status: u16, accept: u64, operation: Option<u64>) -> LoggedRequest {
        LoggedRequest {
            n: 0,
            at: 0,
            method: method.into(),
            path: format!("{GROUP}/{path}"),
            status,
            operation: None,
            accept_ms: accept,
            operation_ms: operation,
        }
    }

    #[test]
    fn requests_are_counted_once_and_updates_keep_what_they_took() {
        let update = "virtualMachines/n/attachDetachDataDisks";
        let mut traffic = Traffic::default();
        traffic.add(&[
            logged("GET", "virtualMachines/n", 200, 5, None),
            logged("GET", "virtualMachines/n", 429, 5, None),
            logged("POST", update, 429, 5, None),
            logged("POST", update, 409, 5, None),
            logged("POST", update, 202, 200, Some(6000)),
            // An answer may come later than the end of its operation.
            logged("POST", update, 202, 200, Some(0)),
            logged("GET", "disks/d", 200, 5, None),
            logged("GET", "disks", 200, 5, None),
        ]);
        let taken = traffic.taken.values().next().cloned().unwrap_or_default();
        assert_eq!(taken, [Duration::from_secs(6), Duration::from_millis(200)]);
        assert_eq!(
            traffic,
            Traffic {
                updates: 3,
                vm_reads: 1,
                disk_reads: 1,
                polls: 0,
                other: 1,
                throttled: 2,
                taken: traffic.taken.clone()
            }
        );
    }
}
