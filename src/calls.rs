//! The calls in flight. The table is what a shutdown waits for and, if the wait ends too early, what it
//! tells of. **Invariant:** once [`Calls::refuse_new`] has returned, no call enters any more: the flag and
//! the table are behind one lock, which is never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::methods::Method;

/// More calls than this at once are turned away: it bounds memory, far above what sidecars do.
const MOST: usize = 4096;

/// The table; clones share it.
#[derive(Clone, Debug)]
pub struct Calls {
    table: Arc<Mutex<Table>>,
    open: Arc<watch::Sender<usize>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    refusing: bool,
    calls: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    method: &'static Method,
    volume: Option<String>,
    since: Instant,
}

/// One call in the table, until it is dropped.
#[derive(Debug)]
pub struct Entered {
    calls: Calls,
    /// Tells this call from all others of this process, in the log.
    pub id: u64,
    /// When it came.
    pub since: Instant,
}

impl Default for Calls {
    fn default() -> Self {
        Calls { table: Arc::default(), open: Arc::new(watch::Sender::new(0)) }
    }
}

impl Calls {
    /// Enters a call.
    ///
    /// # Errors
    /// [`csi::Kind::Unavailable`] once new calls are refused, or while there are too many.
    pub fn enter(&self, method: &'static Method) -> Result<Entered, csi::Error> {
        let mut table = self.lock();
        if table.refusing {
            return Err(csi::Error::unavailable("the driver is shutting down; repeat the call"));
        }
        if table.calls.len() >= MOST {
            return Err(csi::Error::unavailable(format!(
                "{MOST} calls are in flight already; try again later"
            )));
        }
        table.next += 1;
        let (id, since) = (table.next, Instant::now());
        table.calls.insert(id, Open { method, volume: None, since });
        self.open.send_replace(table.calls.len());
        Ok(Entered { calls: self.clone(), id, since })
    }

    /// Lets no further call in.
    pub fn refuse_new(&self) {
        self.lock().refusing = true;
    }

    /// Waits until no call is in flight.
    pub async fn all_ended(&self) {
        let mut open = self.open.subscribe();
        // The sender lives in self: it can't be gone.
        let _ = open.wait_for(|count| *count == 0).await;
    }

    /// What is in flight, one line per call, oldest first.
    pub fn list(&self) -> Vec<String> {
        let table = self.lock();
        let line = |call: &Open| {
            let volume = call.volume.as_deref().map(|volume| format!(" of {volume}")).unwrap_or_default();
            format!("{}{volume}, for {} s", call.method.name, call.since.elapsed().as_secs())
        };
        table.calls.values().map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// Notes which volume the call is about.
    pub fn concerns(&self, volume: &str) {
        if let Some(call) = self.calls.lock().calls.get_mut(&self.id) {
            call.volume = Some(volume.to_owned());
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut table = self.calls.lock();
        table.calls.remove(&self.id);
        self.calls.open.send_replace(table.calls.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::find;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_table_empties_as_calls_end() {
        let calls = Calls::default();
        let stage = calls.enter(find("/csi.v1.Node/NodeStageVolume")).unwrap();
        stage.concerns("disk-a");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(calls.list(), ["NodeStageVolume of disk-a, for 3 s"]);
        let waiting = tokio::time::timeout(Duration::from_secs(1), calls.all_ended());
        assert!(waiting.await.is_err(), "a call is in flight");
        drop(stage);
        calls.all_ended().await;
        assert!(calls.list().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_enters_a_driver_that_stops() {
        let calls = Calls::default();
        let earlier = calls.enter(find("/csi.v1.Identity/Probe")).unwrap();
        calls.refuse_new();
        let late = calls.enter(find("/csi.v1.Identity/Probe")).unwrap_err();
        assert_eq!(late.kind(), csi::Kind::Unavailable);
        assert_eq!(calls.list().len(), 1);
        drop(earlier);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_turned_away_and_passes() {
        let calls = Calls::default();
        let mut flood: Vec<Entered> =
            (0..MOST).map(|_| calls.enter(find("/csi.v1.Node/NodeGetInfo")).unwrap()).collect();
        assert_eq!(calls.enter(find("/csi.v1.Node/NodeGetInfo")).unwrap_err().kind(), csi::Kind::Unavailable);
        flood.pop();
        assert!(calls.enter(find("/csi.v1.Node/NodeGetInfo")).is_ok());
    }
}
