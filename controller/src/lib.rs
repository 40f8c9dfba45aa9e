//! The CSI Controller service on Azure managed disks, and the attach engine.
//!
//! `service` decodes a call, hands it to one verb, and encodes the answer. A verb looks, compares, acts
//! and waits; what it decides, it decides in pure functions. Nothing here remembers what Azure cannot
//! tell again, so a restart at any point and a repeated call converge.

mod arm_error;
mod attach;
mod capacity;
pub mod cluster;
mod create;
mod delete;
mod disk;
mod expand;
mod get;
mod list;
mod modify;
mod names;
mod nodes;
mod params;
mod publish;
mod service;
mod size;
mod sku;
mod snapshot;
mod unpublish;
mod validate;
mod zone;

use std::sync::Arc;

use azure::{Arm, FirstWay, ResourceGroup, VmId};
use csi::{Error, Flights};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use arm_error::{Rpc, csi_error};
use attach::Attachments;
use attach::claims::Claims;
use cluster::ClusterView;
pub use get::capabilities;
use nodes::Nodes;
use service::{Answer, Call};

/// Where volumes are made that do not say otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the driver; it is part of the topology key.
    pub driver: String,
    /// Id of the subscription.
    pub subscription: String,
    /// Name of the resource group: of volumes, and of the nodes' VMs.
    pub resource_group: String,
    /// Region, such as `eastus2`.
    pub location: String,
    /// With which of Azure's two calls the disks of a VM are written first.
    pub first_way: FirstWay,
}

/// The Controller service. Cheap to clone; clones are the same controller.
#[derive(Clone)]
pub struct Controller {
    core: Arc<Core>,
}

impl Controller {
    /// A controller that asks `arm`, and knows of Kubernetes what `cluster` shows; everything it starts is a task of
    /// `tasks`, so that a shutdown can wait for it.
    pub fn new(
        arm: Arm,
        settings: Settings,
        cluster: watch::Receiver<ClusterView>,
        tasks: TaskTracker,
    ) -> Controller {
        // `East US 2` and `eastus2` are one region; Azure answers the latter.
        let location = settings.location.split_whitespace().collect::<String>().to_ascii_lowercase();
        let settings = Settings { location, ..settings };
        let claims = Claims::default();
        let core = Core {
            attachments: Attachments::new(arm.clone(), settings.first_way, claims.clone(), tasks.clone()),
            flights: Flights::new(tasks),
            nodes: Nodes::default(),
            arm,
            settings,
            claims,
            cluster,
        };
        Controller { core: Arc::new(core) }
    }
}

/// What the verbs share.
struct Core {
    arm: Arm,
    settings: Settings,
    attachments: Attachments,
    claims: Claims,
    nodes: Nodes,
    #[expect(dead_code, reason = "the engine asks it next")]
    cluster: watch::Receiver<ClusterView>,
    flights: Flights<Call, Answer>,
}

impl Core {
    /// The resource group of the settings.
    ///
    /// # Errors
    /// FAILED_PRECONDITION if it, or the subscription, is missing or cannot be part of an ARM id.
    fn group(&self) -> Result<ResourceGroup, Error> {
        let Settings { subscription, resource_group, .. } = &self.settings;
        ResourceGroup::new(subscription, resource_group).map_err(|error| {
            let said = format!("subscriptionId {subscription:?}, resourceGroup {resource_group:?}");
            Error::precondition(format!("azure.json: {said} cannot be used")).caused_by(error)
        })
    }

    /// The VM of a node.
    async fn vm(&self, node_id: &str, rpc: Rpc, deadline: Instant) -> Result<VmId, Error> {
        let group = self.group()?;
        let found = self.nodes.vm(&self.arm, &group, node_id, deadline).await;
        let found = found.map_err(|error| csi_error(rpc, &error))?;
        let group = &group.name;
        found.ok_or_else(|| Error::not_found(format!("node {node_id} has no VM in resource group {group}")))
    }
}
