//! What a user does: starts everything with one command, and tries the driver in it.
//!
//! These run outside of the cluster's namespaces; what has to reach the API server is this same program, started once
//! more inside.

mod two;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::Instant;

use crate::deploy::{Azure, Kubectl};
use crate::place::Place;
use crate::shape::{EMULATOR_TLS, GROUP, LOCATION, SUBSCRIPTION};
use crate::{Failure, deploy, inside, supervisor, tools, trial};

/// Starts a cluster with the driver, and ends with a pod that wrote to its disk; `is_bare`: without both. `size` is
/// that of the cluster, as words of the command line.
pub async fn up(place: Place, cache: &tools::Cache, size: &[String], is_bare: bool) -> Result<(), Failure> {
    let place = start(place, cache, size, is_bare, ALONE).await?;
    say("");
    say("  make kubectl ARGS='get pods --all-namespaces'");
    say(&format!("  {} shell   # a shell with KUBECONFIG set", place.built.join("k8s").display()));
    say("  make k8s-down   # ends it and leaves nothing");
    Ok(())
}

/// Runs tests in the cluster that is up, or in one that lives for them only; where that is faster, in two.
pub async fn test(
    place: Place,
    cache: &tools::Cache,
    size: &[String],
    options: &trial::Options,
) -> Result<(), Failure> {
    let wants_suite = options.chosen().contains(&trial::Part::Suite);
    let is_up = supervisor::is_up(&place)?;
    let place = if is_up { place } else { with_tools(place, cache).await? };
    if wants_suite {
        tools::suite_ready(&place.checkout, &cache.folder()?, &place.state, &place.tools).await?;
    }
    if is_up {
        return within(&place, "try", &options.words(), ALONE).await;
    }
    if let Some(split) = options.split() {
        return two::test(place, cache, size, split).await;
    }
    let place = start(place, cache, size, false, ALONE).await?;
    let outcome = within(&place, "try", &options.words(), ALONE).await;
    let ended = supervisor::down(&place).await;
    outcome.and(ended)
}

/// Ends the cluster, and the one beside it that a test which was cut short left.
pub async fn down(place: &Place) -> Result<(), Failure> {
    let beside = supervisor::down(&place.beside()).await;
    supervisor::down(place).await.and(beside)
}

/// Brings the driver into the running cluster; inside its namespaces.
pub async fn deploy(place: &Place) -> Result<(), Failure> {
    let kubectl = Kubectl::of(place);
    let azure = Azure {
        endpoint: format!("https://{EMULATOR_TLS}"),
        subscription: SUBSCRIPTION.to_owned(),
        group: GROUP.to_owned(),
        location: LOCATION.to_owned(),
    };
    let start = Instant::now();
    deploy::driver(place, &kubectl, &azure).await?;
    say(&format!("   + {:4.1} s  the driver serves on every node", start.elapsed().as_secs_f32()));
    let pod = deploy::first_pod(&kubectl).await?;
    say(&format!("   + {:4.1} s  a pod wrote to its disk\n\n{pod}", start.elapsed().as_secs_f32()));
    Ok(())
}

async fn start(
    place: Place,
    cache: &tools::Cache,
    size: &[String],
    is_bare: bool,
    voice: Voice,
) -> Result<Place, Failure> {
    let start = Instant::now();
    let tell = |line: &str| say(&format!("{voice}{:8.1} s  {line}", start.elapsed().as_secs_f32()));
    if supervisor::is_up(&place)? {
        return Err("the cluster is up already; `make k8s-down` ends it".into());
    }
    let place = with_tools(place, cache).await?;
    supervisor::up(&place, size, tell).await?;
    if is_bare {
        tell("the cluster is up");
        return Ok(place);
    }
    tell("the cluster is up; the driver comes by its chart");
    within(&place, "deploy", &[], voice).await?;
    tell("all is there");
    Ok(place)
}

/// The place with its tools, which are built where there are none.
async fn with_tools(place: Place, cache: &tools::Cache) -> Result<Place, Failure> {
    if !place.tools.as_os_str().is_empty() {
        return Ok(place);
    }
    let tools = tools::ready(&place.checkout, &cache.folder()?, &place.state).await?;
    Ok(Place { tools, ..place })
}

/// What stands before each line of a cluster's, where two speak at once.
type Voice = &'static str;

/// Nothing, where one speaks alone.
const ALONE: Voice = "";

/// Most lines of what a program said last that its failure repeats: where two ran for an hour, nobody finds them above.
const LAST_WORDS: usize = 40;

/// Runs `verb` of this program inside, and fails with it and what it said last.
async fn within(place: &Place, verb: &str, words: &[String], voice: Voice) -> Result<(), Failure> {
    let program = place.built.join("k8s").into_os_string();
    let words: Vec<OsString> =
        [program, verb.into()].into_iter().chain(words.iter().map(OsString::from)).collect();
    let mut command = Command::from(inside::command(place, &words)?);
    command.stderr(Stdio::piped());
    if voice != ALONE {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn()?;
    let (output, complaints) = (child.stdout.take(), child.stderr.take());
    let (_, last) = tokio::try_join!(passed_on(output, voice, say), passed_on(complaints, voice, complain))?;
    let status = child.wait().await?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{verb}` ended with {status}{}", last.into_iter().collect::<String>()).into())
}

/// Passes on what a program says, line by line, and answers its last lines, each after a line break.
async fn passed_on(
    from: Option<impl AsyncRead + Unpin>,
    voice: Voice,
    tell: fn(&str),
) -> Result<VecDeque<String>, Failure> {
    let mut last = VecDeque::new();
    let Some(from) = from else { return Ok(last) };
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        tell(&format!("{voice}{line}"));
        last.push_back(format!("\n{line}"));
        if last.len() > LAST_WORDS {
            last.pop_front();
        }
    }
    Ok(last)
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// One line for the user.
pub fn say(line: &str) {
    // A reader that went away is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_words_are_kept() {
        let said: Vec<_> = (0..LAST_WORDS + 2).map(|line| line.to_string()).collect();
        let said = said.join("\n");
        let last = passed_on(Some(said.as_bytes()), ALONE, |_| ()).await.unwrap();
        assert_eq!((last.len(), last[0].as_str(), last[1].as_str()), (LAST_WORDS, "\n2", "\n3"));
        assert!(passed_on(None::<&[u8]>, ALONE, |_| ()).await.unwrap().is_empty());
    }
}
