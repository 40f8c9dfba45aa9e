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
mod dangling;
mod delete;
mod disk;
mod expand;
mod get;
mod left;
mod list;
mod modify;
mod names;
mod nodes;
mod params;
mod publish;
mod readonly;
mod service;
mod size;
mod sku;
mod snapshot;
mod unpublish;
mod validate;
mod zone;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use azure::{Arm, FirstWay, ResourceGroup, VmId};
use csi::{Error, Flights};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use arm_error::{Rpc, csi_error};
use attach::Attachments;
use attach::claims::Claims;
use cluster::{ClusterView, Standing};
pub use get::capabilities;
use left::Leavings;
use nodes::Nodes;
use readonly::marks::Marks;
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
    /// Counts what operators should know of.
    pub counters: Arc<Counters>,
}

/// What operators should know of, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Forced detaches, each of which may have lost writes that the VM had not made yet.
    pub forced_detaches: AtomicU64,
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
        let attachments =
            Attachments::new(arm.clone(), &settings, claims.clone(), cluster.clone(), tasks.clone());
        let marks = Marks::new(arm.clone(), cluster.clone(), tasks.clone());
        let core = Core {
            attachments,
            flights: Flights::new(tasks),
            nodes: Nodes::default(),
            leavings: Leavings::default(),
            arm,
            settings,
            claims,
            cluster,
            marks,
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
    leavings: Leavings,
    cluster: watch::Receiver<ClusterView>,
    marks: Marks,
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
    ///
    /// # Errors
    /// NOT_FOUND if it has none.
    async fn vm(&self, node_id: &str, rpc: Rpc, deadline: Instant) -> Result<VmId, Error> {
        let group = &self.settings.resource_group;
        let found = self.find_vm(node_id, rpc, deadline).await?;
        found.ok_or_else(|| Error::not_found(format!("node {node_id} has no VM in resource group {group}")))
    }

    /// The VM of a node, if it has one. Kubernetes knows it by the node's `providerID`, without a request.
    async fn find_vm(&self, node_id: &str, rpc: Rpc, deadline: Instant) -> Result<Option<VmId>, Error> {
        if let Standing::Synced(cluster) = self.cluster.borrow().standing()
            && let Some(vm) = cluster.vm(node_id)
        {
            return Ok(Some(vm));
        }
        // Apart, since it is seldom asked for: it would be a part of each call that waits.
        let found = Box::pin(self.nodes.vm(&self.arm, &self.group()?, node_id, deadline)).await;
        found.map_err(|error| csi_error(rpc, &error))
    }
}
