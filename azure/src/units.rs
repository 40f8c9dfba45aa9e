//! Numbers that carry their unit in the type, so that a byte is never taken for a GiB.

use std::fmt;

/// A slot for a data disk on a VM: 0 to 63 (Azure, "maximum LUN 63").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lun(u8);

impl Lun {
    /// The highest LUN.
    pub const MAX: Lun = Lun(63);

    /// The LUN with this number, if there is one.
    pub fn new(number: impl TryInto<u8>) -> Option<Lun> {
        number.try_into().ok().filter(|number| *number <= Lun::MAX.0).map(Lun)
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A size in GiB, as Azure counts disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct GiB(pub u32);

impl GiB {
    /// How many bytes that is.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 30
    }

    /// The smallest size that holds `bytes`; `None` beyond what a number of GiB can say.
    pub fn holding(bytes: u64) -> Option<GiB> {
        u32::try_from(bytes.div_ceil(1 << 30)).ok().map(GiB)
    }
}

impl fmt::Display for GiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GiB", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sixty_four_luns() {
        for (number, is_one) in [(0, true), (63, true), (64, false), (-1, false), (300, false)] {
            assert_eq!(Lun::new(number).is_some(), is_one, "{number}");
        }
    }

    #[test]
    fn a_size_rounds_up() {
        for (bytes, gib) in [(0, 0), (1, 1), (1 << 30, 1), ((1 << 30) + 1, 2)] {
            assert_eq!(GiB::holding(bytes), Some(GiB(gib)), "{bytes}");
        }
        assert_eq!(GiB::holding(u64::MAX), None);
    }
}
