//! Waiting for somebody to let go of a device or a mount.
//!
//! "Busy" often passes at once: a tool of a former life of the driver ends, or a child that another call is
//! just starting still holds copies of all our descriptors for the instant between fork and exec. So a step
//! that finds its object held says so, and is repeated with growing pauses while there is time.

use std::time::Duration;

use csi::Error;
use tokio::time::Instant;

use crate::Inner;
use crate::host::Host;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A descriptor that a starting child holds is gone long before; whoever holds on longer means it.
pub(crate) const A_MOMENT: Duration = Duration::from_secs(3);

impl Inner {
    /// Repeats `step` until it answers something else than `None` ("held"); `None` when the time is up.
    pub(crate) async fn patiently<T, S>(&self, deadline: Instant, step: S) -> Result<Option<T>, Error>
    where
        T: Send + 'static,
        S: Fn(&dyn Host) -> Result<Option<T>, Error> + Clone + Send + 'static,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(done) = self.blocking(step.clone()).await? {
                return Ok(Some(done));
            }
            if Instant::now() + pause >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether an error says that somebody holds the object.
pub(crate) fn is_held(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EBUSY) || error.kind() == std::io::ErrorKind::ResourceBusy
}
