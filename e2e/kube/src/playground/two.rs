//! The whole test on two clusters at once: story and failures are waited for most of their time, while the storage
//! suite uses the processors. Each cluster has its own Azure, so neither sees what the other does.

use std::path::PathBuf;

use super::{ALONE, Voice, start, within};
use crate::place::Place;
use crate::trial::{Options, Split};
use crate::{Failure, supervisor, tools};

/// Before the lines of the second cluster.
const BESIDE: Voice = "beside | ";

/// Runs the parts of `split`, each where it belongs, and ends both clusters.
pub(super) async fn test(
    place: Place,
    cache: &tools::Cache,
    size: &[String],
    split: Split,
) -> Result<(), Failure> {
    let place = start(place, cache, size, false, ALONE).await?;
    let words = split.here.words();
    let here = within(&place, "try", &words, ALONE);
    let (here, beside) = tokio::join!(here, beside(&place, cache, size, &split.beside));
    let (audit, beside) = beside;
    let last = match split.last {
        Some(last) => {
            let last = Options { audits: audit.into_iter().collect(), ..last };
            within(&place, "try", &last.words(), ALONE).await
        }
        None => Ok(()),
    };
    let ended = supervisor::down(&place).await;
    let outcomes = [here, beside, last, ended].into_iter();
    let failed: Vec<_> =
        outcomes.filter_map(|outcome| outcome.err().map(|failure| failure.to_string())).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// Runs `options` in a second cluster; answers the folder with what its API server was asked, and how it went.
async fn beside(
    first: &Place,
    cache: &tools::Cache,
    size: &[String],
    options: &Options,
) -> (Option<PathBuf>, Result<(), Failure>) {
    let place = first.beside();
    let outcome = async {
        let place = start(place.clone(), cache, size, false, BESIDE).await?;
        within(&place, "try", &options.words(), BESIDE).await
    };
    let outcome = outcome.await;
    let audit = keep_audit(&place);
    let ended = supervisor::down(&place).await;
    match audit {
        Ok(folder) => (Some(folder), outcome.and(ended)),
        Err(failure) => (None, outcome.and(ended).and(Err(failure))),
    }
}

/// What the API server was asked outlives its cluster. It may still write: its files stay the same.
fn keep_audit(place: &Place) -> Result<PathBuf, Failure> {
    let kept = place.reports().join("audit");
    std::fs::create_dir_all(place.reports())?;
    match std::fs::remove_dir_all(&kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => std::fs::rename(place.audit(), &kept).map(|()| kept).map_err(Failure::from),
    }
}
