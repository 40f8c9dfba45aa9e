//! Updates of many VMs of one group at once: instead of polls of each operation, one list shows which VMs are settled,
//! and only their operations are polled.
//!
//! ```text
//!  few under way ──▶ each is polled at its own pace
//!  many ──▶ a list every 0.3 s ──▶ these VMs are not `Updating` any more ──▶ their operations are polled now
//! ```
//! Polls are reads, of which the Resource Manager grants one identity 25 a second: forty operations would see their
//! ends seconds late. **Invariants:** a list decides only when an operation is polled, never how it ended; an
//! operation that is not over when a list said so is polled at its own pace from then on; without lists all are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::ask::Ask;
use crate::bulk::Listed;
use crate::client::{Arm, Pages};
use crate::follow::rested;
use crate::gates::draw::{Draw, Policy};
use crate::gathering::NO_LISTS;
use crate::model::ProvisioningState;
use crate::model::vm::Vm;
use crate::{Deadline, Error, ErrorKind};

/// So many updates at once are a crowd.
const CROWD: usize = 8;
/// Between two lists, for each page that they have, at least.
const BETWEEN: Duration = Duration::from_millis(300);
/// How long an update waits for a sign before its operation is polled all the same.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a list may take to be read.
const LIST: Duration = Duration::from_secs(15);

/// The updates under way, by the path of their VMs' collection in lower case.
#[derive(Debug, Default)]
pub(crate) struct Crowds {
    groups: HashMap<String, Crowd>,
}

#[derive(Debug, Default)]
struct Crowd {
    /// The VM's path in lower case, and who is to be told that it is settled.
    under_way: Vec<(String, Arc<Notify>)>,
    is_served: bool,
    /// The VMs could not be listed: not before this time again.
    no_lists_until: Option<Instant>,
}

/// An update of a VM that is under way, until this is dropped.
pub(crate) struct UnderWay {
    arm: Arm,
    collection: String,
    settled: Arc<Notify>,
    /// A list showed its VM settled, and its operation was not over.
    was_misled: bool,
}

impl Arm {
    /// The update of the resource at `path` is under way; `None`: such are always followed one by one.
    pub(crate) fn under_way(&self, path: &str) -> Option<UnderWay> {
        if Draw::of(&Method::GET, path).policy != Policy::VmGet {
            return None;
        }
        let key = path.to_ascii_lowercase();
        let collection = key.rsplit_once('/')?.0.to_owned();
        let settled = Arc::new(Notify::new());
        let mut crowds = self.crowds();
        let crowd = crowds.groups.entry(collection.clone()).or_default();
        crowd.under_way.push((key, Arc::clone(&settled)));
        let may_list = crowd.no_lists_until.is_none_or(|until| until <= Instant::now());
        if may_list && crowd.under_way.len() >= CROWD && !std::mem::replace(&mut crowd.is_served, true) {
            tokio::spawn(serve(self.clone(), collection.clone()));
        }
        drop(crowds);
        Some(UnderWay { arm: self.clone(), collection, settled, was_misled: false })
    }

    /// The updates under way now; if they are few, each is left to itself from now on.
    fn crowd(&self, collection: &str) -> Option<Vec<(String, Arc<Notify>)>> {
        let known = self.crowds().groups.get(collection).map(|crowd| crowd.under_way.clone())?;
        if known.len() >= CROWD / 2 {
            return Some(known);
        }
        self.disperse(collection, None);
        None
    }

    /// From now on each update under way is polled at its own pace.
    fn disperse(&self, collection: &str, no_lists_until: Option<Instant>) {
        let mut crowds = self.crowds();
        let Some(crowd) = crowds.groups.get_mut(collection) else { return };
        (crowd.is_served, crowd.no_lists_until) = (false, no_lists_until);
        crowd.under_way.iter().for_each(|(_, settled)| settled.notify_one());
    }

    fn crowds(&self) -> MutexGuard<'_, Crowds> {
        self.inner.crowds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Waits before a poll, `pause` if it has its own pace, and never less than `least`; false if there is no time.
    pub(crate) async fn rest(&mut self, pause: Duration, least: Duration, deadline: Deadline) -> bool {
        if self.was_misled || !self.is_in_a_crowd() {
            return rested(pause.max(least), deadline).await;
        }
        let now = Instant::now();
        let (least, left) = (now + least, deadline.saturating_duration_since(now));
        let told = timeout(PATIENCE.min(left), self.settled.notified()).await;
        self.was_misled = told.is_ok();
        rested(least.saturating_duration_since(Instant::now()), deadline).await
    }

    fn is_in_a_crowd(&self) -> bool {
        self.arm.crowds().groups.get(&self.collection).is_some_and(|crowd| crowd.is_served)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut crowds = self.arm.crowds();
        if let Some(crowd) = crowds.groups.get_mut(&self.collection) {
            crowd.under_way.retain(|(_, settled)| !Arc::ptr_eq(settled, &self.settled));
        }
    }
}

/// Lists the VMs of a collection for as long as many updates are under way there.
async fn serve(arm: Arm, collection: String) {
    let draw = Draw::of(&Method::GET, &collection);
    let mut pages = 1;
    loop {
        let pause = arm.spacing(&draw, BETWEEN) * pages;
        sleep(arm.closed(&draw).unwrap_or_default().max(pause)).await;
        let Some(known) = arm.crowd(&collection) else { return };
        let deadline = Instant::now() + LIST;
        if !arm.has_turn(&draw, deadline).await {
            continue;
        }
        match list(&arm, &collection, deadline).await {
            Ok((read, changing)) => {
                pages = read;
                known
                    .iter()
                    .filter(|(key, _)| !changing.contains(key))
                    .for_each(|(_, sign)| sign.notify_one());
            }
            Err(error) if matches!(error.kind(), ErrorKind::Throttled { .. }) => {}
            Err(error) => {
                tracing::debug!(collection, %error, "the VMs cannot be listed");
                return arm.disperse(&collection, Instant::now().checked_add(NO_LISTS));
            }
        }
    }
}

/// How many pages a list of VMs has, and which of them Azure is changing: their paths in lower case. One that the list
/// does not show is not waited for.
async fn list(arm: &Arm, collection: &str, deadline: Deadline) -> Result<(u32, HashSet<String>), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown {
        id: String,
        properties: Properties,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Properties {
        provisioning_state: Option<ProvisioningState>,
    }
    let ask = Ask::list("list VMs", collection, <Vm as Listed>::VERSION, deadline).in_turn();
    let ask = Ask { is_patient: false, ..ask };
    let (mut pages, mut changing) = (0, HashSet::new());
    let mut rest = Pages::of(arm, &ask)?;
    while let Some(page) = rest.next::<Shown>(arm).await? {
        pages += 1;
        let is_changing = |shown: &Shown| {
            !shown.properties.provisioning_state.as_ref().is_some_and(ProvisioningState::is_terminal)
        };
        changing.extend(page.into_iter().filter(is_changing).map(|shown| shown.id.to_ascii_lowercase()));
    }
    Ok((pages, changing))
}
