//! Reads of a resource that may be answered by a list of its collection, where many are asked for at once. Whom a
//! read is for is decided by `gathering`; here it is made, by one task for each collection that somebody waits for.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::admission::{CLOSED, TOO_MANY};
use crate::ask::Ask;
use crate::client::{Arm, Pages};
use crate::error::{Effect, ErrorKind};
use crate::gates::draw::Draw;
use crate::gates::turns::Purpose;
use crate::gathering::{BETWEEN, Gathering, Next, Waiter, last_deadline};
use crate::{Deadline, Error};

/// Where many come at once, for how long the others are waited for.
const GATHER: Duration = Duration::from_millis(25);

/// What can be read by itself and in a list, with the same content.
pub(crate) trait Listed: DeserializeOwned + Clone + Send + 'static {
    /// The `api-version` of both.
    const VERSION: &'static str;
    /// What reading one, and the list, are called.
    const WORDS: [&'static str; 2];

    /// Its ARM id.
    fn id(&self) -> &str;

    /// Who waits for such.
    fn gathering(arm: &Arm) -> &Mutex<Gathering<Self>>;
}

impl Arm {
    /// The resource at `path` as it is now: read by itself, or, where many of its collection are asked for, shown by
    /// a list that was asked for later than this.
    pub(crate) async fn one_of_many<T: Listed>(&self, path: &str, deadline: Deadline) -> Result<T, Error> {
        let ask = Ask::get(T::WORDS[0], path, T::VERSION, deadline);
        let draw = Draw::of(&Method::GET, path);
        let passed = self.pass(&ask, &draw).await;
        passed.map_err(|unanswered| self.unanswered(&ask, unanswered, false))?;
        // Reading lies apart: hundreds wait here to be told by a list, and each would hold the state of a request.
        let Some((collection, _)) = path.rsplit_once('/') else { return Box::pin(self.read(&ask)).await };
        let collection = collection.to_ascii_lowercase();
        if let Some(_reading) = Reading::<T>::enter(self, &collection)
            && self.has_turn_at_once(&draw)
        {
            return Box::pin(self.read(&ask.in_turn())).await;
        }
        let (tell, told) = oneshot::channel();
        let waiter = Waiter { path: path.to_owned(), key: path.to_ascii_lowercase(), deadline, tell };
        let is_first = waiting::<T>(self).join(&collection, waiter);
        if is_first {
            tokio::spawn(serve::<T>(self.clone(), collection));
        }
        match timeout_at(deadline, told).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ask.error(ErrorKind::Protocol, "whoever reads it panicked", Effect::None)),
            Err(_) => Err(ask.error(ErrorKind::Timeout, "the time for this call is over", Effect::None)),
        }
    }
}

/// Somebody who reads by himself, until this is dropped.
struct Reading<'a, T: Listed> {
    arm: &'a Arm,
    collection: &'a str,
    of: PhantomData<fn() -> T>,
}

impl<'a, T: Listed> Reading<'a, T> {
    fn enter(arm: &'a Arm, collection: &'a str) -> Option<Reading<'a, T>> {
        let has_entered = waiting::<T>(arm).enter(collection, Instant::now());
        has_entered.then(|| Reading { arm, collection, of: PhantomData })
    }
}

impl<T: Listed> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        waiting::<T>(self.arm).left(self.collection, Instant::now());
    }
}

fn waiting<T: Listed>(arm: &Arm) -> MutexGuard<'_, Gathering<T>> {
    T::gathering(arm).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads for those who wait for something in `collection`, until nobody does.
async fn serve<T: Listed>(arm: Arm, collection: String) {
    let draw = Draw::of(&Method::GET, &collection);
    // So many of those who wait have been gathered.
    let mut gathered: usize = 0;
    loop {
        // Whoever comes at the same moment waits as well.
        tokio::task::yield_now().await;
        let Some(deadline) = waiting::<T>(&arm).last_deadline(&collection) else { return };
        if let Some(wait) = arm.closed_to_all(&draw) {
            let now = Instant::now();
            tell_late::<T>(&arm, &collection, now + wait, CLOSED);
            sleep(wait.min(deadline - now)).await;
            continue;
        }
        if gathered == 0 {
            gathered = waiting::<T>(&arm).crowd(&collection);
            if gathered > 0 {
                sleep(GATHER).await;
            }
        }
        let asked = Instant::now();
        if let Err(wait) = arm.turn(Purpose::Call, &draw, deadline).await {
            tell_late::<T>(&arm, &collection, Instant::now() + wait, TOO_MANY);
            continue;
        }
        let now = Instant::now();
        let spacing = arm.closed(&draw).is_none().then(|| arm.spacing(&draw, BETWEEN));
        let next = waiting::<T>(&arm).next(&collection, spacing, now > asked, now);
        match next {
            None => arm.give_back(&draw),
            Some(Next::One(waiters)) => {
                gathered = gathered.saturating_sub(waiters.len());
                tokio::spawn(read_one(arm.clone(), waiters));
            }
            Some(Next::All(waiters)) => {
                gathered = 0;
                read_all(&arm, &collection, waiters).await;
            }
            Some(Next::Later(until)) => {
                arm.give_back(&draw);
                sleep_until(until.min(deadline)).await;
            }
        }
    }
}

/// Tells those who give up before `until` that nothing is sent before.
fn tell_late<T: Listed>(arm: &Arm, collection: &str, until: Instant, why: &str) {
    let late = waiting::<T>(arm).impatient(collection, until);
    let wait = until.saturating_duration_since(Instant::now());
    for waiter in late {
        let ask = Ask::get(T::WORDS[0], &waiter.path, T::VERSION, waiter.deadline);
        let _ = waiter.tell.send(Err(ask.throttled(wait, why)));
    }
}

/// Reads what these wait for; the turn has been taken.
async fn read_one<T: Listed>(arm: Arm, mut waiters: Vec<Waiter<T>>) {
    let Some(path) = waiters.first().map(|waiter| waiter.path.clone()) else { return };
    let deadline = last_deadline(&waiters).unwrap_or_else(Instant::now);
    let ask = Ask::get(T::WORDS[0], &path, T::VERSION, deadline).in_turn();
    let answer = tokio::select! {
        answer = arm.read::<T>(&ask) => answer,
        // They hung up.
        _ = join_all(waiters.iter_mut().map(|waiter| waiter.tell.closed())) => return,
    };
    tell_all(waiters, &answer);
}

/// Tells everybody the same.
fn tell_all<T: Listed>(waiters: Vec<Waiter<T>>, answer: &Result<T, Error>) {
    for waiter in waiters {
        let _ = waiter.tell.send(answer.clone());
    }
}

/// Reads pages of the list until everybody is answered; the turn of the first page has been taken.
async fn read_all<T: Listed>(arm: &Arm, collection: &str, waiters: Vec<Waiter<T>>) {
    let deadline = last_deadline(&waiters).unwrap_or_else(Instant::now);
    let mut missing: HashMap<String, Vec<Waiter<T>>> = HashMap::new();
    for waiter in waiters {
        missing.entry(waiter.key.clone()).or_default().push(waiter);
    }
    let ask = Ask::list(T::WORDS[1], collection, T::VERSION, deadline).in_turn();
    // Whoever waits has a deadline of his own, and may be read by himself.
    let ask = Ask { is_patient: false, ..ask };
    let read = answer_from_list(arm, &ask, &mut missing).await;
    let missing = missing.into_values().flatten().collect();
    match read {
        Ok(pages) => waiting::<T>(arm).listed(collection, pages, missing),
        Err(error) => {
            tracing::debug!(collection, %error, "the list cannot be read: each is read by itself");
            waiting::<T>(arm).refused(collection, missing, Instant::now());
        }
    }
}

/// Answers whom the list shows; says how many pages were read.
async fn answer_from_list<T: Listed>(
    arm: &Arm,
    ask: &Ask<'_>,
    missing: &mut HashMap<String, Vec<Waiter<T>>>,
) -> Result<usize, Error> {
    let mut list = Pages::of(arm, ask)?;
    let mut pages = 0;
    while !missing.is_empty()
        && let Some(page) = list.next::<T>(arm).await?
    {
        pages += 1;
        for item in page {
            if let Some(waiters) = missing.remove(&item.id().to_ascii_lowercase()) {
                tell_all(waiters, &Ok(item));
            }
        }
        missing.retain(|_, waiters| waiters.iter().any(|waiter| !waiter.tell.is_closed()));
    }
    Ok(pages)
}
