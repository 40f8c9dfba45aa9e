//! What the cluster is made of: Kubernetes, containerd, etcd, the CSI sidecars, helm and the images, built once
//! into a folder that is named after all that it was built from.
//!
//! ```text
//! <cache>/kube-<digest>/                 complete, and never written again
//! <cache>/kube-<digest>-suite/           what only Kubernetes' storage suite needs: built when it is asked for
//! <cache>/kube-<digest>*.partial-<pid>/  being built; renamed at the end
//! <cache>/kube.lock                      held by the one that builds
//! ```
//! **Invariant:** a folder without `.partial` in its name is whole, whatever was killed at any time.

mod debian;
mod golang;
mod key;
pub mod programs;
mod progress;
pub mod run;

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::images::shelf;
use crate::needs;

use golang::Go;
use progress::Progress;

/// How the folders of tools begin.
const PREFIX: &str = "kube-";
/// How the name of a folder with the suite's goes on.
const SUITE: &str = "-suite";

/// Where the tools are kept, from the command line or the environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Cache {
    /// Where the built tools are kept (1.5 GB for each set of versions; older ones may be deleted at any time)
    /// [default: azuredisk-csi in the user's cache folder]
    #[arg(long = "cache", env = "KUBE_CACHE", value_name = "FOLDER")]
    chosen: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    xdg_cache_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

impl Cache {
    /// The folder that holds the folders of tools.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        let user = || self.xdg_cache_home.clone().or_else(|| Some(self.home.as_ref()?.join(".cache")));
        let folder = self.chosen.clone().or_else(|| Some(user()?.join("azuredisk-csi")));
        let folder = folder.ok_or("neither HOME nor XDG_CACHE_HOME is set: name a folder with --cache")?;
        Ok(std::path::absolute(folder)?)
    }
}

/// A set of tools: of one digest, in a folder of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// What a cluster is made of.
    Cluster,
    /// What runs Kubernetes' storage suite on it. It takes a fifth of all the time, and most people never ask for it.
    Suite,
}

/// The folder of tools for this checkout: checks what the machine must have, for the build and for a cluster that
/// keeps its state in `state`, and builds what is not there yet.
pub async fn ready(checkout: &Path, cache: &Path, state: &Path) -> Result<PathBuf, Failure> {
    set_ready(Set::Cluster, checkout, cache, state).await
}

/// The same for what the storage suite needs besides, in the folder that belongs to the cluster's `tools`.
pub async fn suite_ready(checkout: &Path, cache: &Path, state: &Path, tools: &Path) -> Result<(), Failure> {
    let wanted = suite(tools);
    if wanted.is_dir() {
        return Ok(());
    }
    let found = set_ready(Set::Suite, checkout, cache, state).await?;
    if found == wanted {
        return Ok(());
    }
    let (found, wanted) = (found.display(), wanted.display());
    Err(format!("the cluster is of other tools: the suite for it would be {wanted}, and is {found}").into())
}

/// Where the tools of the suite are that belong to a cluster's `tools`.
pub fn suite(tools: &Path) -> PathBuf {
    let mut folder = tools.as_os_str().to_owned();
    folder.push(SUITE);
    folder.into()
}

async fn set_ready(set: Set, checkout: &Path, cache: &Path, state: &Path) -> Result<PathBuf, Failure> {
    let module = checkout.join("e2e/kube");
    let go = Go::find(&module).await;
    let named = match &go {
        Ok(go) => {
            let tools = cache.join(key::folder(checkout, &go.version)?);
            Some(if set == Set::Suite { suite(&tools) } else { tools })
        }
        Err(_) => None,
    };
    let tools = named.clone().filter(|folder| folder.is_dir());
    let mut rooms = vec![needs::Room::new(state, needs::STATE)];
    if tools.is_none() {
        rooms.push(needs::Room::new(cache, needs::TOOLS));
        if let Ok(go) = &go {
            rooms.push(needs::Room::new(&go.build_cache, needs::GO_BUILD));
            rooms.push(needs::Room::new(&go.module_cache, needs::GO_MODULES));
        }
    }
    let refused = go.as_ref().err().map(ToString::to_string);
    needs::check(&needs::gather(refused, rooms))?;
    let (Ok(go), Some(folder)) = (go, named) else {
        return Err("Go is not there".into());
    };
    if let Some(tools) = tools {
        return Ok(tools);
    }
    build_once(set, &go, checkout, &folder).await?;
    Ok(folder)
}

async fn build_once(set: Set, go: &Go, checkout: &Path, folder: &Path) -> Result<(), Failure> {
    let cache = folder.parent().ok_or("the cache can't be the root of the machine")?;
    fs::create_dir_all(cache)?;
    let progress = Progress::new();
    let lock = locked(cache, &progress).await?;
    if folder.is_dir() {
        return Ok(());
    }
    // Whoever left one did not come to its end: we hold the lock.
    for partial in siblings(cache, |name| name.starts_with(PREFIX) && name.contains(".partial-"))? {
        fs::remove_dir_all(partial)?;
    }
    let what = if set == Set::Suite { "suite" } else { "tools" };
    progress.say(&format!("building the {what} into {} (minutes, once)", folder.display()));
    let partial = PathBuf::from(format!("{}.partial-{}", folder.display(), std::process::id()));
    let outcome = match set {
        Set::Cluster => build(go, checkout, &partial, &progress).await,
        Set::Suite => build_suite(go, checkout, &partial, &progress).await,
    };
    if outcome.is_err() {
        // The failure is what matters; the next build removes what could not be removed.
        let _ = fs::remove_dir_all(&partial);
    }
    outcome?;
    fs::rename(&partial, folder)?;
    progress.say(&format!("{what}: all is there"));
    let digest = folder.file_name().unwrap_or_default().to_string_lossy();
    let digest = digest.trim_end_matches(SUITE);
    let older = siblings(cache, |name| name.starts_with(PREFIX) && !name.starts_with(digest))?;
    if !older.is_empty() {
        let names: Vec<_> = older.iter().map(|path| path.display().to_string()).collect();
        progress.say(&format!(
            "tools of other versions, to delete when no checkout needs them: {}",
            names.join(" ")
        ));
    }
    drop(lock);
    Ok(())
}

/// Everything, into `to`.
async fn build(go: &Go, checkout: &Path, to: &Path, progress: &Progress) -> Result<(), Failure> {
    let go_mod = fs::read_to_string(checkout.join("e2e/kube/go.mod"))?;
    let bin = to.join("bin");
    fs::create_dir_all(&bin)?;
    progress.say(&format!("from Debian: {}", debian::PACKAGES.join(", ")));
    debian::unpack(&to.join("debian")).await?;
    progress.say("Kubernetes, containerd, etcd, CSI sidecars, helm: sources, and one build of all of them");
    let all = Cell::new(0);
    let fetch = async {
        all.set(go.fetch().await?);
        go.copy_resources(&to.join("crd")).await
    };
    // Go fetches what it needs by itself: compiling need not wait for all sources. It also names what it links.
    let build = go.build(&go_mod, programs::CLUSTER, &bin, |packages| match all.get() {
        0 => progress.say(&format!("{packages} packages compiled")),
        all => progress.say(&format!("{} of {all} packages compiled", packages.min(all))),
    });
    tokio::try_join!(fetch, build)?;
    progress.say("images");
    let to = to.to_owned();
    tokio::task::spawn_blocking(move || shelf::fill(&to, &go_mod)).await??;
    Ok(())
}

/// What the suite needs, into `to`.
async fn build_suite(go: &Go, checkout: &Path, to: &Path, progress: &Progress) -> Result<(), Failure> {
    let go_mod = fs::read_to_string(checkout.join("e2e/kube/go.mod"))?;
    let bin = to.join("bin");
    fs::create_dir_all(&bin)?;
    let tell = |packages: usize| progress.say(&format!("{packages} packages compiled"));
    progress.say("ginkgo");
    go.build(&go_mod, programs::SUITE_RUNNER, &bin, tell).await?;
    progress.say("e2e.test");
    go.build_suite(&go_mod, &bin, tell).await
}

/// The lock of the cache; it is let go by the kernel, however we end.
async fn locked(cache: &Path, progress: &Progress) -> Result<File, Failure> {
    let file = File::options().create(true).truncate(false).write(true).open(cache.join("kube.lock"))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress.say("another build is running: waiting for it");
    Ok(tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await??)
}

fn siblings(cache: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && wanted(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
