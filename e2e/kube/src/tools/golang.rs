//! Go, as far as we need it: where it is, what it keeps where, and the builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::Failure;

use super::programs::{self, Program};
use super::run::{follow, run};

/// How often a build tells how far it is.
const TELL: Duration = Duration::from_secs(30);

/// The programs carry no debug information; not writing it in the first place saves a tenth of the time.
const NO_DWARF: &str = "-gcflags=all=-dwarf=false";

/// The Go of this machine, seen from our module: Go may have fetched the version that go.mod asks for.
#[derive(Clone, Debug)]
pub(super) struct Go {
    /// `go1.26.8`
    pub(super) version: String,
    /// Where it keeps what it compiled.
    pub(super) build_cache: PathBuf,
    /// Where it keeps the sources of modules.
    pub(super) module_cache: PathBuf,
    /// Our module.
    module: PathBuf,
}

/// Where the official archive of Go is unpacked; it is not always in the PATH.
const USUAL: &str = "/usr/local/go/bin/go";

impl Go {
    /// Asks Go about itself in `module`.
    pub(super) async fn find(module: &Path) -> Result<Go, Failure> {
        let mut command = command(module);
        command.args(["env", "GOVERSION", "GOCACHE", "GOMODCACHE"]);
        let answer = run("go env", &mut command).await?;
        let mut lines = answer.lines().map(str::to_owned);
        let mut next = || lines.next().ok_or("go env says less than it was asked for");
        Ok(Go {
            version: next()?,
            build_cache: next()?.into(),
            module_cache: next()?.into(),
            module: module.to_owned(),
        })
    }

    /// Fetches the sources of all programs, and answers how many packages they are made of; those of the suite come
    /// with its build.
    pub(super) async fn fetch(&self) -> Result<usize, Failure> {
        let what = "fetching Go modules; is the proxy reachable (go env GOPROXY)?";
        let mut tools = command(&self.module);
        tools.args(["list", "-mod=readonly", "-tags", programs::TAGS, "-deps", "tool", "./pause"]);
        Ok(run(what, &mut tools).await?.lines().count())
    }

    /// Builds programs into `bin`; `tell` hears now and then how many packages are compiled.
    pub(super) async fn build(
        &self,
        go_mod: &str,
        programs: &[Program],
        bin: &Path,
        tell: impl Fn(usize),
    ) -> Result<(), Failure> {
        let mut build = command(&self.module);
        build.args(["build", "-v", "-mod=readonly", "-tags", programs::TAGS, NO_DWARF]);
        build.args(programs::stamps(go_mod, programs)?);
        // With a slash at the end it is a folder, also for a single program.
        build.arg("-o").arg(bin.join("")).args(programs.iter().map(|program| program.package));
        follow("building the Go programs", &mut build, TELL, tell).await?;
        for program in programs {
            let built = programs::built_as(program.package);
            if built != program.file {
                fs::rename(bin.join(built), bin.join(program.file))?;
            }
        }
        Ok(())
    }

    /// Builds Kubernetes' own suite into `bin`; `tell` as in [`Go::build`].
    pub(super) async fn build_suite(
        &self,
        go_mod: &str,
        bin: &Path,
        tell: impl Fn(usize),
    ) -> Result<(), Failure> {
        let mut test = command(&self.module);
        test.args(["test", "-v", "-mod=readonly", NO_DWARF, "-c"]).args(programs::stamps(go_mod, &[])?);
        test.arg("-o").arg(bin.join("e2e.test")).arg(programs::SUITE);
        follow("building e2e.test", &mut test, TELL, tell).await
    }

    /// Copies the definitions of the snapshot resources into `folder`.
    pub(super) async fn copy_resources(&self, folder: &Path) -> Result<(), Failure> {
        let mut list = command(&self.module);
        // A module of which no package was used is not fetched by a build.
        list.args(["mod", "download", "-json", programs::SNAPSHOT_RESOURCES]);
        let answer = run("fetching the snapshot resources; is the proxy reachable?", &mut list).await?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let module = answer["Dir"].as_str().ok_or("go mod download says no Dir")?;
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(Path::new(module).join("config/crd"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("snapshot.storage") || name.starts_with("groupsnapshot.storage") {
                fs::write(folder.join(name), fs::read(&path)?)?;
            }
        }
        Ok(())
    }
}

/// The first `go` of the PATH, else the usual place. What a person has set for other work does not steer ours.
fn command(module: &Path) -> Command {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("go").is_file()));
    let mut command = Command::new(if on_path { "go" } else { USUAL });
    command.current_dir(module).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false");
    command.env("GOWORK", "off").env_remove("GOOS").env_remove("GOARCH").env_remove("GOEXPERIMENT");
    command
}
