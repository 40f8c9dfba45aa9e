//! What goes wrong, as the script says.

use std::collections::VecDeque;
use std::time::Duration;

use super::resource::Resource;

/// The accidents that are switched on.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) is_down: bool,
    /// How often open watches were ended in good order.
    pub(super) ended: u64,
    /// How often open watches were broken.
    pub(super) cut: u64,
    pub(super) pause: Duration,
    pub(super) token: Option<String>,
    /// Watches that are open now never say anything again.
    pub(super) hung: u64,
    /// What no account may do: the verb, and the kind.
    pub(super) forbidden: Vec<(&'static str, Resource)>,
    /// Statuses for the next requests.
    pub(super) refusals: VecDeque<u16>,
}

impl Faults {
    pub(super) fn go_down(&mut self) {
        self.is_down = true;
        self.cut += 1;
    }
}
