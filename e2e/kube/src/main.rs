//! The program `k8s`: the playground's commands, and the processes that the cluster starts of itself.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use cluster::cluster::Cluster;
use cluster::place::Place;
use cluster::shape::{MOST_NODES, Shape};
use cluster::{
    Failure, bring_up, containerd, init, inside, loops, node, playground, supervisor, tools, trial,
};

/// A real Kubernetes on this machine, on an emulated Azure.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    cache: tools::Cache,
    /// The folder of one set of tools; for those who have it at hand, and the processes that the cluster starts itself.
    #[arg(long, env = "KUBE_TOOLS", hide = true, global = true)]
    tools: Option<PathBuf>,
    /// Where the cluster keeps what it needs while it runs [default: target/k8s of the checkout].
    #[arg(long, env = "KUBE_STATE", global = true)]
    state: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start a cluster with the driver in it, and show a pod that writes to a disk.
    Up {
        #[command(flatten)]
        size: Size,
        /// Kubernetes alone: no driver, no pod.
        #[arg(long)]
        bare: bool,
    },
    /// Build what the cluster is made of, and say where it is.
    Tools,
    /// Try the driver in the running cluster, or in one that is started for it.
    Test {
        #[command(flatten)]
        size: Size,
        #[command(flatten)]
        options: trial::Options,
    },
    /// End the cluster and take away all that it left.
    Down,
    /// Say what runs.
    Status,
    /// Run kubectl as the cluster's administrator.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Open a shell in which kubectl reaches the cluster.
    Shell {
        /// The shell.
        #[arg(env = "SHELL", default_value = "/bin/sh")]
        shell: OsString,
    },
    /// Run a program where it reaches the API server and the emulator.
    Inside {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    Deploy,
    #[command(hide = true)]
    Try(trial::Options),
    #[command(hide = true)]
    Supervise(Size),
    #[command(hide = true)]
    Init,
    #[command(hide = true)]
    AwaitApi,
    #[command(hide = true)]
    BringUp,
    #[command(hide = true)]
    BootNode { name: String },
    #[command(hide = true)]
    Node { name: String },
    #[command(hide = true)]
    ImportImages,
}

#[derive(Args)]
struct Size {
    /// How many nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_NODES)))]
    nodes: u8,
    /// Put the nodes into zones 1, 2, 3, 1, …
    #[arg(long)]
    zones: bool,
}

impl Size {
    fn shape(&self) -> Shape {
        Shape::new(self.nodes, self.zones)
    }

    fn options(&self) -> Vec<String> {
        let zones = self.zones.then(|| "--zones".to_owned());
        std::iter::once(format!("--nodes={}", self.nodes)).chain(zones).collect()
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // A reader that went away is no reason to say more.
            let _ = writeln!(std::io::stderr(), "k8s: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let mut words = std::env::args();
    let own = words.next().unwrap_or_default();
    if Path::new(&own).file_name().is_some_and(|name| name == "losetup") {
        return loops::losetup(&words.collect::<Vec<_>>());
    }
    let arguments = Arguments::parse();
    let place = place(arguments.tools, arguments.state)?;
    act(arguments.verb, place, &arguments.cache)?;
    Ok(ExitCode::SUCCESS)
}

fn act(verb: Verb, place: Place, cache: &tools::Cache) -> Result<(), Failure> {
    match verb {
        Verb::Up { size, bare } => block(playground::up(place, cache, &size.options(), bare)),
        Verb::Tools => block(async {
            let tools = tools::ready(&place.checkout, &cache.folder()?, &place.state).await?;
            playground::say(&tools.display().to_string());
            Ok(())
        }),
        Verb::Test { size, options } => block(playground::test(place, cache, &size.options(), &options)),
        Verb::Deploy => block(playground::deploy(&place)),
        Verb::Try(options) => block(async { trial::run::run(&Cluster::open(place)?, &options).await }),
        Verb::Down => block(playground::down(&place)),
        Verb::Status => status(&place),
        Verb::Kubectl { arguments } => {
            let kubectl = place.tool("kubectl").into_os_string();
            inside::become_inside(&place, &[vec![kubectl], arguments].concat())
        }
        Verb::Shell { shell } => inside::become_inside(&place, &[shell]),
        Verb::Inside { command } => inside::become_inside(&place, &command),
        Verb::Supervise(size) => block(supervisor::supervise(&place, &size.shape())),
        Verb::Init => block(init::run(&place)),
        Verb::AwaitApi => block(async { bring_up::await_api(&place).await }),
        Verb::BringUp => block(async { bring_up::bring_up(&place).await }),
        Verb::BootNode { name } => block(node::boot(&place, &name)),
        Verb::Node { name } => {
            let node = node::enter(&place, &name)?;
            block(node::live(&node))
        }
        Verb::ImportImages => block(containerd::import_images(&node::image_folders())),
    }
}

/// One thread: process 1 of a node enters its namespaces with it.
fn block(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn place(tools: Option<PathBuf>, state: Option<PathBuf>) -> Result<Place, Failure> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no checkout")?;
    let built = std::env::current_exe()?.parent().ok_or("this program has no folder")?.to_owned();
    let state = match state {
        Some(state) => std::path::absolute(state)?,
        None => checkout.join("target").join("k8s"),
    };
    let place = Place { checkout: checkout.to_owned(), tools: PathBuf::new(), state, built };
    // A cluster that runs knows its tools; those of one that was killed may be of other versions.
    let known = || std::fs::read_link(supervisor::tools_link(&place.state)).ok();
    let tools = if supervisor::is_up(&place)? { tools.or_else(known) } else { tools };
    Ok(Place { tools: tools.map(std::path::absolute).transpose()?.unwrap_or_default(), ..place })
}

fn status(place: &Place) -> Result<(), Failure> {
    if !supervisor::is_up(place)? {
        playground::say("the cluster is not up");
        return Ok(());
    }
    let kubectl = place.tool("kubectl").into_os_string();
    let words = ["get", "nodes", "--output=wide"].map(OsString::from);
    inside::become_inside(place, &[&[kubectl][..], &words].concat())
}
