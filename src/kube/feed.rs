//! The feeds: one task for each kind of object lists it, watches it from there, and keeps its part of the view.
//!
//! ```text
//!            ┌────────── pause, longer each time ◀── broken, refused, not understood ──┐
//!            ▼                                                                         │
//! begin ─▶ list, page by page ─▶ watch from there ──lines──▶ change the view ─▶ watch ─┤
//!            ▲                     ▲                                                   │
//!            │                     └────── ended in good order (its time was over) ◀───┤
//!            └──────────────────────────── 410: too old to go on from ◀────────────────┘
//! ```
//! After an outage the kind is listed again even where the old place might do: an API server that was restored
//! from a backup counts on from an earlier number, and a watch from ours would be silent until it is reached.
//!
//! **Invariants:** the view keeps what was last known while a feed is cut off, and says since when it is, also
//! when its task has ended; each task changes its own kind only; a line that was half-read changes nothing; what
//! keeps a feed from following is in the log once.

#[cfg(test)]
mod tests;

use std::time::Duration;

use controller::cluster::{Change, ClusterView, Kind};
use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Client, Error, Page, refused};
use super::facts::{Facts, page_size, path, plural, resource};
use super::login::Origin;
use super::pace::pause;
use super::wire::{Failed, Happened, Line, List};

/// The server ends a watch after this or up to twice as long; so long a dead connection could go unnoticed.
const SHORTEST_WATCH: Duration = Duration::from_mins(5);
/// How much longer than that a watch may be silent until it counts as dead.
const GRACE: Duration = Duration::from_secs(30);
/// Servers send a bookmark each minute. Where one has come before, a longer silence is that of a dead connection.
const SILENCE: Duration = Duration::from_mins(3);
/// A watch that ends sooner without a word was no watch.
const HASTY: Duration = Duration::from_secs(1);

/// How a client is made of a configuration; called again while it fails. Blocks on files.
type Open = Box<dyn Fn() -> Result<Client, Error> + Send>;

/// Keeps a view up to date as long as it runs.
pub struct Feeds {
    open: Open,
    driver: String,
    seed: u64,
    view: watch::Sender<ClusterView>,
}

/// A view of the cluster at `origin` for `driver`, and the feeds that have to run for it. `client` makes a client of
/// the configuration when the feeds run; nothing is read before.
pub fn follow(
    origin: Origin,
    driver: &str,
    seed: u64,
    client: impl Fn(super::Access) -> Client + Send + 'static,
) -> (watch::Receiver<ClusterView>, Feeds) {
    let (view, receiver) = watch::channel(ClusterView::not_yet());
    let open: Open = Box::new(move || origin.open().map(&client));
    (receiver, Feeds { open, driver: driver.to_owned(), seed, view })
}

impl Feeds {
    /// The feeds of a client that is there already.
    pub fn of_client(client: Client, driver: &str, seed: u64) -> (watch::Receiver<ClusterView>, Feeds) {
        let (view, receiver) = watch::channel(ClusterView::not_yet());
        let open: Open = Box::new(move || Ok(client.clone()));
        (receiver, Feeds { open, driver: driver.to_owned(), seed, view })
    }

    /// Never returns; what it started ends when it is dropped.
    pub async fn run(self) {
        let mut chance = Rng::with_seed(self.seed);
        let client = opened(self.open, &mut chance).await;
        let mut feeds = JoinSet::new();
        for kind in Kind::ALL {
            let feed = Feed {
                client: client.clone(),
                kind,
                facts: Facts::new(self.driver.clone()),
                view: self.view.clone(),
                chance: chance.fork(),
                failures: 0,
                told: Vec::new(),
                has_bookmarks: false,
                heard: Instant::now(),
            };
            feeds.spawn(feed.run());
        }
        // One that panics has said that it is cut off; the others go on.
        while feeds.join_next().await.is_some() {}
    }
}

/// The client, as soon as the configuration can be used.
async fn opened(mut open: Open, chance: &mut Rng) -> Client {
    let mut failures = 0;
    loop {
        let attempt = tokio::task::spawn_blocking(move || (open(), open)).await;
        let error = match attempt {
            Ok((Ok(client), _)) => return client,
            Ok((Err(error), back)) => {
                open = back;
                error
            }
            // The closure is lost with the panic, and the panic is counted and logged where all are.
            Err(_) => return std::future::pending().await,
        };
        failures += 1;
        if failures == 1 {
            tracing::warn!("Kubernetes cannot be asked: {error}; trying again");
        }
        tokio::time::sleep(pause(failures, None, chance.f64())).await;
    }
}

/// One kind's feed.
struct Feed {
    client: Client,
    kind: Kind,
    facts: Facts,
    view: watch::Sender<ClusterView>,
    chance: Rng,
    /// In a row, without anything heard between.
    failures: u32,
    /// What has been said in the log since then: the status of the API server, if it gave one.
    told: Vec<Option<u16>>,
    /// Whether this server sends bookmarks.
    has_bookmarks: bool,
    /// The last moment at which the server was heard of.
    heard: Instant,
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Nobody follows any more: a view that seems fresh for ever would be worse than none.
        self.change([Change::Cut(self.kind, Instant::now())]);
    }
}

impl Feed {
    async fn run(mut self) {
        loop {
            let error = match self.list().await {
                Ok(version) => self.watch_on(version).await,
                Err(error) => error,
            };
            // Silence began before it was noticed.
            let since = if matches!(error, Error::Late(_)) { self.heard } else { Instant::now() };
            self.change([Change::Cut(self.kind, since)]);
            if error.is_forbidden() {
                self.change([Change::Forbidden(self.kind)]);
            }
            self.failures = self.failures.saturating_add(1);
            if error.is_gone() && self.failures == 1 {
                tracing::debug!("{} are listed again: {error}", plural(self.kind));
                continue;
            }
            let pause = pause(self.failures, error.retry_after(), self.chance.f64());
            self.tell(&error, pause);
            tokio::time::sleep(pause).await;
        }
    }

    /// Each trouble once, until changes are heard of again.
    fn tell(&mut self, error: &Error, pause: Duration) {
        let (kind, resource) = (plural(self.kind), resource(self.kind));
        if self.told.contains(&error.status()) {
            tracing::debug!("{kind}: {error}; attempt {} in {pause:?}", self.failures);
            return;
        }
        self.told.push(error.status());
        if error.is_forbidden() {
            tracing::error!(
                "{kind} cannot be followed: the driver's account lacks the permission to list and watch \
                 {resource} in the whole cluster; grant it by a ClusterRole, as the chart does. {error}; \
                 trying again"
            );
        } else {
            tracing::warn!("changes of {kind} are not heard of: {error}; trying again");
        }
    }

    fn change(&self, changes: impl IntoIterator<Item = Change>) {
        self.view.send_modify(|view| changes.into_iter().for_each(|change| view.change(change)));
    }

    /// The server has said something of use.
    fn hear(&mut self) {
        self.heard = Instant::now();
        self.failures = 0;
        if !self.told.is_empty() {
            self.told.clear();
            tracing::info!("changes of {} are heard of again", plural(self.kind));
        }
    }

    /// Reads all objects of the kind; gives the version to watch from.
    async fn list(&mut self) -> Result<String, Error> {
        let mut page = Page { limit: page_size(self.kind), next: String::new() };
        let mut all = Vec::new();
        loop {
            let body = self.client.list(path(self.kind), &page).await?;
            let list: List<'_> = serde_json::from_slice(&body).map_err(|error| garbled(&error))?;
            let objects = list.items.iter().flatten();
            all.extend(objects.filter_map(|object| self.facts.fact(self.kind, object)));
            list.metadata.next.as_deref().unwrap_or_default().clone_into(&mut page.next);
            if page.next.is_empty() {
                let version = list.metadata.resource_version.as_deref().unwrap_or_default().to_owned();
                // Every list has one. What has none is no list, and must not be taken for an empty one.
                if version.is_empty() {
                    return Err(Error::Garbled(format!("a list of {} has no version", plural(self.kind))));
                }
                tracing::debug!("{} {} are there", all.len(), plural(self.kind));
                self.change([Change::All(self.kind, all)]);
                self.heard = Instant::now();
                self.facts.sweep();
                return Ok(version);
            }
        }
    }

    /// Watches from `version` until something goes wrong.
    async fn watch_on(&mut self, mut version: String) -> Error {
        loop {
            let begin = Instant::now();
            match self.watch(&mut version).await {
                Err(error) => return error,
                Ok(0) if begin.elapsed() < HASTY => {
                    return Error::Garbled("a watch ended at once without a word".to_owned());
                }
                Ok(_) => self.hear(),
            }
        }
    }

    /// Takes in what one watch says until its end; gives how many pieces it said.
    async fn watch(&mut self, version: &mut String) -> Result<usize, Error> {
        let lasting = SHORTEST_WATCH.mul_f64(1.0 + self.chance.f64());
        let end = Instant::now() + lasting + GRACE;
        let mut lines = self.client.watch(path(self.kind), version, lasting).await?;
        self.change([Change::Heard(self.kind)]);
        self.heard = Instant::now();
        let mut said = 0;
        loop {
            let until = if self.has_bookmarks { end.min(self.heard + SILENCE) } else { end };
            let next = tokio::time::timeout_at(until, lines.next()).await;
            let next = next.unwrap_or_else(|_| Err(Error::Late(self.heard.elapsed())));
            let Some(some) = next? else { return Ok(said) };
            self.take(&some, version)?;
            said += 1;
            self.hear();
        }
    }

    /// Takes whole lines in, those before a bad one as well, and shows them together.
    fn take(&mut self, lines: &[u8], version: &mut String) -> Result<(), Error> {
        let mut changes = Vec::new();
        let mut result = Ok(());
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match self.line(line, version) {
                Ok(change) => changes.extend(change),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if !changes.is_empty() {
            self.change(changes);
        }
        result
    }

    fn line(&mut self, line: &[u8], version: &mut String) -> Result<Option<Change>, Error> {
        let what: Line<'_> = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
        if &*what.what == "ERROR" {
            let failed: Failed<'_> = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
            return Err(refused(failed.object.code.unwrap_or(500), &failed.object, None));
        }
        let happened: Happened<'_> = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
        let (object, metadata) = (&happened.object, &happened.object.metadata);
        let fact = self.facts.fact(self.kind, object).filter(|_| &*what.what != "DELETED");
        if let Some(newer) = metadata.resource_version.as_deref() {
            newer.clone_into(version);
        }
        let name = metadata.name.as_deref().unwrap_or_default();
        Ok(match (&*what.what, fact) {
            ("BOOKMARK", _) => {
                self.has_bookmarks = true;
                None
            }
            (_, Some(fact)) => Some(Change::Is(fact)),
            // Also one that was ours and is not any more: a node whose driver went.
            (_, None) => Some(Change::Gone(self.kind, name.into())),
        })
    }
}

/// The place is told, the text is not: it may be anything.
fn garbled(error: &serde_json::Error) -> Error {
    Error::Garbled(format!("JSON at column {}, {:?}", error.column(), error.classify()))
}
