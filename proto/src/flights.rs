//! Calls in flight, one per key: the first caller starts the work as a task of its own, the same call
//! again joins it, a different call on the same key is told that the key is busy.
//!
//! The work is a task because tonic drops a handler when its client hangs up or its deadline passes: a
//! half-done mutation must run on, and the caller's retry finds it here. Nothing is remembered once the
//! work has ended. The map is the only state; its lock is never held across an await.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::Error;

/// The calls in flight of one kind; `A` are the arguments by which two calls are the same, `T` the answer.
pub struct Flights<A, T> {
    flights: Arc<Mutex<HashMap<String, Flight<A, T>>>>,
    tasks: TaskTracker,
}

struct Flight<A, T> {
    arguments: A,
    /// What is going on, in the words of a message: "expand".
    verb: &'static str,
    landing: Landing<T>,
}

type Landing<T> = Arc<watch::Sender<Option<Result<T, Error>>>>;

/// Who waits for the answer of a flight. They may all leave, and others may come, until it has ended.
pub struct Callers<T>(Landing<T>);

impl<T> Callers<T> {
    /// Nobody waits at this moment.
    pub fn have_gone(&self) -> bool {
        self.0.is_closed()
    }
}

impl<A, T> Flights<A, T>
where
    A: PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// No flights yet; every work started here is a task of `tasks`, so that a shutdown can wait for it.
    pub fn new(tasks: TaskTracker) -> Self {
        Flights { flights: Arc::default(), tasks }
    }

    /// Runs `work` under `key`, or joins the same call that is running.
    ///
    /// # Errors
    /// What the work returns; [`crate::Kind::Busy`] if another call holds `key`; [`crate::Kind::Internal`]
    /// if the work panicked.
    // Not an async function: its future would hold the work twice.
    pub fn run<W>(
        &self,
        key: &str,
        verb: &'static str,
        arguments: A,
        work: W,
    ) -> impl Future<Output = Result<T, Error>>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.run_for(key, verb, arguments, |_| work)
    }

    /// The same with a work that asks now and then whether somebody waits for it still.
    ///
    /// # Errors
    /// As [`Flights::run`].
    pub async fn run_for<W>(
        &self,
        key: &str,
        verb: &'static str,
        arguments: A,
        work: impl FnOnce(Callers<T>) -> W,
    ) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut outcome = self.join_or_start(key, verb, arguments, work)?;
        let landed = outcome.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(result)) => result.clone(),
            _ => Err(Error::internal(format!("{verb} of {key} ended without an answer: it panicked"))),
        }
    }

    fn join_or_start<W>(
        &self,
        key: &str,
        verb: &'static str,
        arguments: A,
        work: impl FnOnce(Callers<T>) -> W,
    ) -> Result<watch::Receiver<Option<Result<T, Error>>>, Error>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(key) {
            if flight.verb == verb && flight.arguments == arguments {
                return Ok(flight.landing.subscribe());
            }
            let other = flight.verb;
            return Err(Error::busy(format!(
                "{verb} of {key} waits: {other} of it is in progress; try again"
            )));
        }
        let (landing, outcome) = watch::channel(None);
        let landing = Arc::new(landing);
        let work = work(Callers(Arc::clone(&landing)));
        flights.insert(key.to_owned(), Flight { arguments, verb, landing: Arc::clone(&landing) });
        let landed = Landed { flights: Arc::clone(&self.flights), key: key.to_owned() };
        self.tasks.spawn(async move {
            let landed = landed; // dropped after the work, also when it panics
            let result = work.await;
            drop(landed);
            landing.send_replace(Some(result));
        });
        Ok(outcome)
    }
}

/// Frees the key when the work ends.
struct Landed<A, T> {
    flights: Arc<Mutex<HashMap<String, Flight<A, T>>>>,
    key: String,
}

impl<A, T> Drop for Landed<A, T> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn flights() -> Arc<Flights<u32, u32>> {
        Arc::new(Flights::new(TaskTracker::new()))
    }

    async fn slow(runs: Arc<AtomicUsize>) -> Result<u32, Error> {
        runs.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(7)
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_call_joins_and_gets_the_same_answer() {
        let (flights, runs) = (flights(), Arc::new(AtomicUsize::new(0)));
        let (first, second) = tokio::join!(
            flights.run("disk", "expand", 1, slow(runs.clone())),
            flights.run("disk", "expand", 1, slow(runs.clone())),
        );
        assert_eq!((first.unwrap(), second.unwrap(), runs.load(Ordering::SeqCst)), (7, 7, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn another_call_on_the_key_is_busy_and_free_afterwards() {
        let (flights, runs) = (flights(), Arc::new(AtomicUsize::new(0)));
        let (first, other) = tokio::join!(
            flights.run("disk", "expand", 1, slow(runs.clone())),
            flights.run("disk", "delete", 1, slow(runs.clone())),
        );
        assert_eq!((first.unwrap(), other.unwrap_err().kind()), (7, Kind::Busy));
        assert_eq!(flights.run("disk", "delete", 1, slow(runs.clone())).await.unwrap(), 7);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_hangs_up_cancels_nothing() {
        let (flights, runs) = (flights(), Arc::new(AtomicUsize::new(0)));
        let gone = flights.run("disk", "expand", 1, slow(runs.clone()));
        assert!(tokio::time::timeout(Duration::from_secs(1), gone).await.is_err());
        assert_eq!(flights.run("disk", "expand", 1, slow(runs.clone())).await.unwrap(), 7);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_knows_whether_somebody_waits() {
        let flights = Flights::<u32, Vec<bool>>::new(TaskTracker::new());
        let second = Duration::from_secs(1);
        let work = |callers: Callers<Vec<bool>>| async move {
            let mut seen = Vec::new();
            for _ in 0..3 {
                seen.push(callers.have_gone());
                tokio::time::sleep(2 * second).await;
            }
            Ok(seen)
        };
        let gone = flights.run_for("disk", "expand", 1, work);
        assert!(tokio::time::timeout(second, gone).await.is_err());
        tokio::time::sleep(2 * second).await;
        let seen = flights.run_for("disk", "expand", 1, work).await.unwrap();
        assert_eq!(seen, [false, true, false], "there, gone, and another came");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_internal_and_frees_the_key() {
        let flights = flights();
        let boom = async { if true { panic!("boom") } else { Ok(1) } };
        assert_eq!(flights.run("disk", "expand", 1, boom).await.unwrap_err().kind(), Kind::Internal);
        assert_eq!(flights.run("disk", "expand", 1, async { Ok(2) }).await.unwrap(), 2);
    }
}
