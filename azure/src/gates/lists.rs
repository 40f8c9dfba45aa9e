//! How soon a list may follow another: Azure takes 240 pages of disks in three minutes, and 300 of VMs, and after that
//! refuses all lists of the subscription for minutes. Pure.
//!
//! The first quarter goes as fast as whoever lists would like, so that a burst is over in seconds; from then on the less
//! is left, the slower, so that lists never end. **Invariant:** whoever waits as long as he is told never uses up the
//! bucket, unless others draw from it as well.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The disk provider's window; the compute provider's is shorter.
const WINDOW: Duration = Duration::from_mins(3);
/// Pages in a window: the smaller one of both buckets, less what others may list.
const BUCKET: usize = 210;
/// So many of them are free.
const FREE: usize = 60;
/// In so long, what is left would be used up at the present speed: two thirds of it in half a minute.
const SPAN: Duration = Duration::from_secs(30);

/// The pages that were read of lists of one kind.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    read: VecDeque<Instant>,
}

impl Lists {
    /// A page was read.
    pub(crate) fn page(&mut self, now: Instant) {
        self.forget_old(now);
        self.read.push_back(now);
    }

    /// Between the begins of two lists, for each page that they have; `wish`: at least.
    pub(crate) fn spacing(&mut self, wish: Duration, now: Instant) -> Duration {
        self.forget_old(now);
        if self.read.len() < FREE {
            return wish;
        }
        let left = BUCKET.saturating_sub(self.read.len()).max(1);
        wish.max(SPAN / u32::try_from(left).unwrap_or(u32::MAX))
    }

    fn forget_old(&mut self, now: Instant) {
        while self.read.front().is_some_and(|read| now.saturating_duration_since(*read) >= WINDOW) {
            self.read.pop_front();
        }
        // More than Azure takes tells nothing more.
        while self.read.len() > BUCKET {
            self.read.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lists_are_quick_and_many_never_use_up_the_bucket() {
        let wish = Duration::from_millis(50);
        for pages in [1, 4, 13] {
            let (mut lists, begun) = (Lists::default(), Instant::now());
            let (mut now, mut read) = (begun, VecDeque::new());
            let mut first_minute = 0;
            while now < begun + Duration::from_mins(10) {
                now += lists.spacing(wish, now) * pages;
                for _ in 0..pages {
                    lists.page(now);
                    read.push_back(now);
                }
                read.retain(|page| now < *page + WINDOW);
                assert!(read.len() <= 240, "{} pages after {:?}", read.len(), now - begun);
                first_minute += u32::from(now < begun + Duration::from_mins(1));
            }
            assert!(first_minute * pages > 130, "{first_minute} lists of {pages} pages");
        }
    }

    #[test]
    fn a_wish_for_fewer_lists_is_kept() {
        let wish = Duration::from_secs(2);
        let (mut lists, now) = (Lists::default(), Instant::now());
        assert_eq!(lists.spacing(wish, now), wish);
        (0..100).for_each(|_| lists.page(now));
        assert_eq!(lists.spacing(wish, now), wish);
        assert_eq!(lists.spacing(Duration::ZERO, now), SPAN / 110);
        (0..500).for_each(|_| lists.page(now));
        assert_eq!(lists.spacing(wish, now), SPAN);
        assert_eq!(lists.spacing(wish, now + WINDOW), wish);
    }
}
