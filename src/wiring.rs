//! Puts the services together: every mode has all three, on the real machine and the real Azure unless a test
//! brings its own [`Seams`]. Nothing is read or contacted here: credentials are opened by the first call that
//! needs Azure, the machine is asked by the first call that needs its facts.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use azure::{Arm, ArmSettings, Exchange, FirstWay, HttpTransport, Imds, Transport};
use controller::cluster::ClusterView;
use controller::{Controller, Counters};
use csi::v1::controller_server::ControllerServer;
use csi::v1::identity_server::IdentityServer;
use csi::v1::node_server::NodeServer;
use node::host::{Host, LinuxHost};
use node::{FactsSource, Node};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::config::{Config, Mode};
use crate::deferred::Deferred;
use crate::identity::Plugin;
use crate::kube::{self, Client, Feeds, HttpApi, Origin, SERVICE_ACCOUNT};
use crate::metrics::Metrics;
use crate::serve::Server;
use crate::{credentials, machine};

/// Where tools are looked up if nobody says.
const TOOLS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the metadata service may take; it answers in milliseconds, or it is not there.
const METADATA_PATIENCE: Duration = Duration::from_secs(10);

/// The outside world.
#[derive(Clone)]
pub struct Seams {
    /// The way to Azure, to its identity service and to the machine's metadata.
    pub transport: Arc<dyn Transport>,
    /// The way to the kernel.
    pub host: Arc<dyn Host>,
    /// Spreads repeated requests in time.
    pub seed: u64,
}

impl Seams {
    /// This machine and the real Azure.
    pub fn real(config: &Config) -> Seams {
        let tools = config.environment.path.clone().unwrap_or_else(|| TOOLS.to_owned());
        Seams {
            transport: Arc::new(HttpTransport::new(config.user_agent.clone())),
            host: Arc::new(LinuxHost::new(&config.device_root, tools)),
            seed: RandomState::new().hash_one(std::process::id()),
        }
    }
}

/// All services of a driver, ready to be served.
pub fn server(config: &Config, seams: &Seams, metrics: &Metrics) -> Server {
    let tasks = TaskTracker::new();
    let plugin =
        Plugin { driver_name: config.driver_name.clone(), online_expansion: config.online_expansion };
    let (view, feeds) = cluster(config, seams);
    metrics.show_cluster(view.clone());
    let controller = controller(config, seams, metrics, view, &tasks);
    let node = node(config, seams, &tasks);
    metrics.show_disks(node.counters());
    let mut routes = Routes::builder();
    routes
        .add_service(IdentityServer::new(plugin))
        .add_service(ControllerServer::new(controller))
        .add_service(NodeServer::new(node));
    Server { routes: routes.routes(), metrics: metrics.clone(), tasks, drain: config.drain, feeds }
}

/// The view of Kubernetes, and what keeps it; without an API configured, and in a node, there is nothing to run.
fn cluster(config: &Config, seams: &Seams) -> (watch::Receiver<ClusterView>, Option<Feeds>) {
    let origin = match config.mode {
        Mode::Node => None,
        Mode::Controller | Mode::All => {
            let folder = Path::new(SERVICE_ACCOUNT);
            Origin::find(config.kubeconfig.as_deref(), &config.environment, folder)
        }
    };
    let Some(origin) = origin else { return (watch::channel(ClusterView::absent()).1, None) };
    tracing::info!("Kubernetes is looked at by {origin}");
    let user_agent = config.user_agent.clone();
    let client = move |access: kube::Access| {
        let api = HttpApi::new(access.trust, user_agent.clone());
        Client::new(Arc::new(api), access.server, access.login)
    };
    let (view, feeds) = kube::follow(origin, &config.driver_name, seams.seed, client);
    (view, Some(feeds))
}

fn controller(
    config: &Config,
    seams: &Seams,
    metrics: &Metrics,
    cluster: watch::Receiver<ClusterView>,
    tasks: &TaskTracker,
) -> Deferred<Controller> {
    let (config, seams, metrics, tasks) = (config.clone(), seams.clone(), metrics.clone(), tasks.clone());
    let counters = Arc::<Counters>::default();
    metrics.show_attachments(Arc::clone(&counters));
    Deferred::new(controller::capabilities(), move || {
        let cloud = credentials::read(&config.environment)?;
        let metrics = metrics.clone();
        let observer = move |exchange: &Exchange| {
            let code = exchange.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            metrics.arm_request(exchange.operation, &code, exchange.took);
        };
        let settings = ArmSettings {
            endpoint: cloud.arm_endpoint.clone(),
            tokens: cloud.tokens(Arc::clone(&seams.transport), &config.imds_endpoint),
            observer: Arc::new(observer),
            seed: seams.seed,
            user_agent: config.user_agent.clone(),
        };
        tracing::info!(
            subscription = cloud.subscription,
            resource_group = cloud.resource_group,
            location = cloud.location,
            endpoint = %cloud.arm_endpoint,
            "credentials read"
        );
        // An Azure Stack knows one way only, whatever the flag says.
        let is_azure_stack = cloud.is_azure_stack;
        let scope = controller::Settings {
            driver: config.driver_name.clone(),
            subscription: cloud.subscription,
            resource_group: cloud.resource_group,
            location: cloud.location,
            first_way: if is_azure_stack { FirstWay::AzureStack } else { config.disk_update },
            counters: Arc::clone(&counters),
        };
        let arm = Arm::new(settings, Arc::clone(&seams.transport));
        Ok(Controller::new(arm, scope, cluster.clone(), tasks.clone()))
    })
}

fn node(config: &Config, seams: &Seams, tasks: &TaskTracker) -> Node {
    let settings = node::Settings {
        node_id: config.node_id.clone(),
        driver_name: config.driver_name.clone(),
        attach_limit: config.volume_attach_limit.map(u64::from),
    };
    let imds = Imds::new(config.imds_endpoint.clone(), Arc::clone(&seams.transport));
    let config = config.clone();
    let facts: FactsSource = Arc::new(move || {
        let (imds, config) = (imds.clone(), config.clone());
        Box::pin(async move {
            let instance = imds.instance(Instant::now() + METADATA_PATIENCE).await;
            let instance = instance.map_err(|error| {
                let text = format!("the metadata service at {}: {error}", config.imds_endpoint);
                csi::Error::unavailable(text).caused_by(error)
            })?;
            Ok(machine::facts(instance, &config))
        })
    });
    Node::new(settings, Arc::clone(&seams.host), facts, tasks.clone())
}
