//! Who may ask for what: each listener is a gate, and lets through only what its callers have to do with.
//!
//! Whoever reaches the control endpoint can break everything, so it is behind the loopback gate alone. The check comes
//! before scripted faults count a request.

use std::net::IpAddr;

use crate::call::Call;
use crate::refusal::Refusal;

/// The gate through which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Gate {
    /// Loopback, or in process: everything.
    #[default]
    Inside,
    /// https: what Azure shows to the world, that is ARM, tokens and the cloud's description.
    Cloud,
    /// The metadata address as a VM sees it; the VM is told by where the request came from.
    Metadata(IpAddr),
}

impl Gate {
    /// How links to this gate begin.
    pub(crate) fn scheme(self) -> &'static str {
        if self == Self::Cloud { "https" } else { "http" }
    }

    /// Refuses what does not belong here.
    pub(crate) fn check(self, call: &Call) -> Result<(), Refusal> {
        let shape = call.shape();
        let is_served = match self {
            Self::Inside => true,
            Self::Cloud => matches!(
                shape.as_slice(),
                ["subscriptions", ..]
                    | ["metadata", "endpoints"]
                    | ["msi", "token"]
                    | [_, "oauth2", "v2.0", "token"]
            ),
            Self::Metadata(_) => matches!(
                shape.as_slice(),
                ["metadata", "instance", ..]
                    | ["metadata", "versions"]
                    | ["metadata", "identity", "oauth2", "token"]
            ),
        };
        if is_served { Ok(()) } else { Err(Refusal::no_route(&call.path)) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    #[test]
    fn a_gate_lets_through_what_its_callers_have_to_do_with() {
        let vm = Gate::Metadata(IpAddr::from([10, 0, 0, 4]));
        for (path, cloud, metadata) in [
            ("/subscriptions/s/providers/Microsoft.Compute/disks", true, false),
            ("/metadata/endpoints", true, false),
            ("/tenant/oauth2/v2.0/token", true, false),
            ("/msi/token", true, false),
            ("/metadata/instance/compute", false, true),
            ("/Metadata/Versions", false, true),
            ("/metadata/identity/oauth2/token", false, true),
            ("/vms/a/metadata/instance", false, false),
            ("/vms/a/metadata/identity/oauth2/token", false, false),
            ("/_emulator", false, false),
            ("/_EMULATOR/counts", false, false),
            ("//_emulator/vms", false, false),
            ("/%5femulator", false, false),
            ("/", false, false),
        ] {
            let request = Request::builder().uri(format!("http://h{path}")).body(Bytes::new()).unwrap();
            let call = Call::new(request);
            assert!(Gate::Inside.check(&call).is_ok(), "{path}");
            assert_eq!(Gate::Cloud.check(&call).is_ok(), cloud, "{path}");
            assert_eq!(vm.check(&call).is_ok(), metadata, "{path}");
        }
    }
}
