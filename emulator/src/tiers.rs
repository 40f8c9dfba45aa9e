//! Disk SKUs: which exist, how large a disk may be, and what performance a size buys.
//!
//! Premium and Standard disks perform by the tier that their size rounds up to; Premium v2 and Ultra are bought
//! by the number. The figures are Azure's published tables.

/// A disk SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Hdd,
    Ssd,
    Premium,
    PremiumV2,
    Ultra,
}

/// What Azure calls the SKU, its tier word and family.
pub(crate) const SKUS: &[(&str, &str, Family)] = &[
    ("Standard_LRS", "Standard", Family::Hdd),
    ("StandardSSD_LRS", "Standard", Family::Ssd),
    ("StandardSSD_ZRS", "Standard", Family::Ssd),
    ("Premium_LRS", "Premium", Family::Premium),
    ("Premium_ZRS", "Premium", Family::Premium),
    ("PremiumV2_LRS", "Premium", Family::PremiumV2),
    ("UltraSSD_LRS", "Ultra", Family::Ultra),
];

/// One row: tier number, largest size in GiB, then IOPS and MB/s of premium, SSD and HDD.
struct Row(u32, u64, (u64, u64), (u64, u64), (u64, u64));

const ROWS: &[Row] = &[
    Row(1, 4, (120, 25), (120, 25), (500, 60)),
    Row(2, 8, (120, 25), (120, 25), (500, 60)),
    Row(3, 16, (120, 25), (120, 25), (500, 60)),
    Row(4, 32, (120, 25), (120, 25), (500, 60)),
    Row(6, 64, (240, 50), (240, 50), (500, 60)),
    Row(10, 128, (500, 100), (500, 60), (500, 60)),
    Row(15, 256, (1100, 125), (500, 60), (500, 60)),
    Row(20, 512, (2300, 150), (500, 60), (500, 60)),
    Row(30, 1024, (5000, 200), (500, 60), (500, 60)),
    Row(40, 2048, (7500, 250), (500, 60), (500, 60)),
    Row(50, 4096, (7500, 250), (500, 60), (500, 60)),
    Row(60, 8192, (16000, 500), (2000, 400), (1300, 300)),
    Row(70, 16384, (18000, 750), (4000, 600), (2000, 500)),
    Row(80, 32767, (20000, 900), (6000, 750), (2000, 500)),
];

/// A size's place in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) number: u32,
    pub(crate) largest_gib: u64,
    pub(crate) iops: u64,
    /// MB/s.
    pub(crate) mbps: u64,
}

/// The SKU's exact name, tier word and family; `None` when there is no such SKU.
pub(crate) fn sku(name: &str) -> Option<(&'static str, &'static str, Family)> {
    SKUS.iter().find(|sku| sku.0.eq_ignore_ascii_case(name)).copied()
}

/// The family of a SKU that was accepted earlier.
pub(crate) fn family(name: &str) -> Family {
    sku(name).map_or(Family::Hdd, |found| found.2)
}

impl Family {
    /// Bought by the number, not by size: no caching, 4 KiB sectors by default.
    pub(crate) fn is_by_number(self) -> bool {
        matches!(self, Self::PremiumV2 | Self::Ultra)
    }

    /// Smallest and largest size in GiB.
    pub(crate) fn sizes(self) -> (u64, u64) {
        match self {
            Self::Ultra => (4, 65536),
            Self::PremiumV2 => (1, 65536),
            _ => (1, 32767),
        }
    }

    /// Every tier of a by-size family, smallest first.
    pub(crate) fn tiers(self) -> Vec<Tier> {
        let figures = |row: &Row| match self {
            Self::Hdd => row.4,
            Self::Ssd => row.3,
            _ => row.2,
        };
        ROWS.iter()
            .map(|row| Tier { number: row.0, largest_gib: row.1, iops: figures(row).0, mbps: figures(row).1 })
            .collect()
    }

    /// The tier that `gib` rounds up to.
    pub(crate) fn tier(self, gib: u64) -> Option<Tier> {
        self.tiers().into_iter().find(|tier| gib <= tier.largest_gib)
    }

    /// Letter of the tier's name.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Hdd => 'S',
            Self::Ssd => 'E',
            _ => 'P',
        }
    }

    /// IOPS that may be asked for at a size: lowest and highest.
    pub(crate) fn iops(self, gib: u64) -> (u64, u64) {
        match self {
            Self::PremiumV2 => (3000, gib.saturating_mul(500).clamp(3000, 80_000)),
            _ => (100, gib.saturating_mul(1000).clamp(100, 400_000)),
        }
    }

    /// MB/s that may be asked for at a number of IOPS: lowest and highest.
    pub(crate) fn mbps(self, iops: u64) -> (u64, u64) {
        match self {
            Self::PremiumV2 => (125, (iops / 4).clamp(125, 2000)),
            _ => (1, (iops / 4).clamp(1, 10_000)),
        }
    }

    /// Most VMs that may share a disk of this size.
    pub(crate) fn max_shares(self, gib: u64) -> u64 {
        match (self, gib) {
            (Self::Hdd, _) => 1,
            (Self::PremiumV2 | Self::Ultra, _) => 15,
            (_, ..=512) => 3,
            (_, ..=4096) => 5,
            _ => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, gib: u64, iops: u64, mbps: u64, tier: u32) {
        let found = family(name).tier(gib).unwrap();
        assert_eq!((found.iops, found.mbps, found.number), (iops, mbps, tier), "{name} {gib}");
    }

    #[test]
    fn a_size_buys_the_performance_of_the_tier_it_rounds_up_to() {
        check("Premium_LRS", 200, 1100, 125, 15);
        check("Standard_LRS", 200, 500, 60, 15);
        check("StandardSSD_LRS", 4097, 2000, 400, 60);
        check("Premium_ZRS", 4, 120, 25, 1);
        check("Premium_LRS", 5, 120, 25, 2);
        check("Premium_LRS", 32767, 20000, 900, 80);
    }

    #[test]
    fn performance_by_number_grows_with_size_up_to_a_cap() {
        assert_eq!(Family::PremiumV2.iops(6), (3000, 3000));
        assert_eq!(Family::PremiumV2.iops(10), (3000, 5000));
        assert_eq!(Family::PremiumV2.iops(1000), (3000, 80_000));
        assert_eq!(Family::PremiumV2.mbps(3000), (125, 750));
        assert_eq!(Family::Ultra.iops(4), (100, 4000));
    }
}
