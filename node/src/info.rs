//! NodeGetInfo: who this node is, where, and how many disks it takes.
//!
//! The facts come from the machine's metadata service, which may be slow to come up. A node that registers
//! with a wrong zone keeps it until it registers again, so for the first minutes a failure is answered with
//! UNAVAILABLE and the kubelet asks again. But a machine whose metadata can't be reached at all must still
//! mount volumes: after [`GRACE`] the node is told as one without zone and without a known limit. Facts
//! that were read once are kept: a machine changes neither zone nor size without a restart.

use std::time::Duration;

use csi::Error;
use csi::v1::{NodeGetInfoResponse, Topology};
use tokio::time::Instant;

use crate::{Inner, MachineFacts, Settings};

/// How long failing facts are waited for, from the start of the program.
pub(crate) const GRACE: Duration = Duration::from_mins(2);

/// The first pause between two questions to the machine.
const PAUSE: Duration = Duration::from_millis(250);

impl Inner {
    /// The answer to NodeGetInfo.
    ///
    /// # Errors
    /// FAILED_PRECONDITION where nobody said which node this is, as in a controller; UNAVAILABLE while the
    /// machine's facts are waited for.
    pub(crate) async fn info(&self, deadline: Instant) -> Result<NodeGetInfoResponse, Error> {
        if self.settings.node_id.is_empty() {
            return Err(Error::precondition("this process is no node's: it was started without --nodeid"));
        }
        let mut pause = PAUSE;
        loop {
            let answer =
                tokio::time::timeout_at(deadline, self.facts.get_or_try_init(|| (self.machine)())).await;
            let error = match answer {
                Ok(Ok(facts)) => return Ok(response(&self.settings, facts)),
                Ok(Err(error)) => error,
                Err(_) => Error::unavailable("the machine's metadata service did not answer"),
            };
            if self.began.elapsed() >= GRACE {
                tracing::warn!(%error, "no facts about this machine: told as one without zone and limit");
                return Ok(response(&self.settings, &MachineFacts::default()));
            }
            if Instant::now() + pause >= deadline {
                return Err(Error::unavailable(format!("the machine's facts are not known yet: {error}")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

/// The topology key is the driver's; its value is "region-zone", or empty without zones, as the Go driver
/// has it. The well-known Kubernetes key is added only where there is a zone.
fn response(settings: &Settings, facts: &MachineFacts) -> NodeGetInfoResponse {
    let zone = match (&facts.region, &facts.zone) {
        (Some(region), Some(zone)) if !region.is_empty() && !zone.is_empty() => {
            format!("{}-{zone}", region.to_ascii_lowercase())
        }
        _ => String::new(),
    };
    let mut segments: std::collections::BTreeMap<String, String> =
        [(format!("topology.{}/zone", settings.driver_name), zone.clone())].into();
    if !zone.is_empty() {
        segments.insert("topology.kubernetes.io/zone".to_owned(), zone);
    }
    let most = settings.attach_limit.or(facts.max_data_disks).unwrap_or(0);
    NodeGetInfoResponse {
        node_id: settings.node_id.clone(),
        max_volumes_per_node: i64::try_from(most).unwrap_or(i64::MAX),
        accessible_topology: Some(Topology { segments }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topology_is_told_as_the_go_driver_tells_it() {
        let settings = Settings {
            node_id: "n".to_owned(),
            driver_name: "disk.csi.azure.com".to_owned(),
            attach_limit: None,
        };
        let rows = [
            (Some("WestEurope"), Some("2"), "westeurope-2", 2),
            (Some("westus"), None, "", 1),
            (Some("westus"), Some(""), "", 1),
            (None, Some("1"), "", 1),
        ];
        for (region, zone, wanted, keys) in rows {
            let facts = MachineFacts {
                zone: zone.map(str::to_owned),
                region: region.map(str::to_owned),
                max_data_disks: Some(8),
                ..MachineFacts::default()
            };
            let told = response(&settings, &facts);
            let segments = told.accessible_topology.unwrap().segments;
            assert_eq!(segments["topology.disk.csi.azure.com/zone"], wanted, "{region:?} {zone:?}");
            assert_eq!((segments.len(), told.max_volumes_per_node), (keys, 8));
        }
        assert_eq!(response(&settings, &MachineFacts::default()).max_volumes_per_node, 0);
    }
}
