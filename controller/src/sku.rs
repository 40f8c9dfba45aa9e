//! What Azure allows for each disk SKU: sizes, IOPS, MB/s, sharing, caching, bursting.
//!
//! Pure tables and sums, from the published limits of managed disks. What differs by region or by
//! subscription is left for Azure to refuse.

use std::fmt;
use std::ops::RangeInclusive;

/// The disk SKUs that the driver makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sku {
    StandardLrs,
    StandardSsdLrs,
    StandardSsdZrs,
    PremiumLrs,
    PremiumZrs,
    PremiumV2Lrs,
    UltraSsdLrs,
}

/// Above this a disk has no host cache.
pub(crate) const LARGEST_CACHED_GIB: u64 = 4095;
/// The smallest disk with performance plus.
pub(crate) const PERFORMANCE_PLUS_GIB: u64 = 513;
/// Bursting on demand is for disks above this.
pub(crate) const LARGEST_WITHOUT_BURSTING_GIB: u64 = 512;

impl Sku {
    /// Every SKU, in the order of a message.
    pub(crate) const ALL: [Sku; 7] = [
        Sku::StandardLrs,
        Sku::StandardSsdLrs,
        Sku::StandardSsdZrs,
        Sku::PremiumLrs,
        Sku::PremiumZrs,
        Sku::PremiumV2Lrs,
        Sku::UltraSsdLrs,
    ];

    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sku::StandardLrs => "Standard_LRS",
            Sku::StandardSsdLrs => "StandardSSD_LRS",
            Sku::StandardSsdZrs => "StandardSSD_ZRS",
            Sku::PremiumLrs => "Premium_LRS",
            Sku::PremiumZrs => "Premium_ZRS",
            Sku::PremiumV2Lrs => "PremiumV2_LRS",
            Sku::UltraSsdLrs => "UltraSSD_LRS",
        }
    }

    /// The SKU of this name, in any case.
    pub(crate) fn parse(name: &str) -> Option<Sku> {
        Sku::ALL.into_iter().find(|sku| sku.name().eq_ignore_ascii_case(name))
    }

    /// Whether its disks live in all zones of the region at once.
    pub(crate) fn is_zone_redundant(self) -> bool {
        matches!(self, Sku::StandardSsdZrs | Sku::PremiumZrs)
    }

    /// Whether IOPS and MB/s are bought apart from the size.
    pub(crate) fn is_provisioned(self) -> bool {
        matches!(self, Sku::PremiumV2Lrs | Sku::UltraSsdLrs)
    }

    /// Whether the host may cache it at all.
    pub(crate) fn is_cacheable(self) -> bool {
        !self.is_provisioned()
    }

    /// Whether bursting on demand exists for it.
    pub(crate) fn can_burst(self) -> bool {
        matches!(self, Sku::PremiumLrs | Sku::PremiumZrs)
    }

    /// The sizes it comes in.
    pub(crate) fn sizes_gib(self) -> RangeInclusive<u64> {
        match self {
            Sku::PremiumV2Lrs => 1..=65_536,
            Sku::UltraSsdLrs => 4..=65_536,
            Sku::StandardLrs
            | Sku::StandardSsdLrs
            | Sku::StandardSsdZrs
            | Sku::PremiumLrs
            | Sku::PremiumZrs => 1..=32_767,
        }
    }

    /// How many VMs may share a disk of `gib`.
    pub(crate) fn most_shares(self, gib: u64) -> u32 {
        match self {
            Sku::StandardLrs => 1,
            Sku::PremiumV2Lrs | Sku::UltraSsdLrs => 15,
            Sku::StandardSsdLrs | Sku::StandardSsdZrs | Sku::PremiumLrs | Sku::PremiumZrs => match gib {
                0..=512 => 3,
                513..=4096 => 5,
                _ => 10,
            },
        }
    }

    /// The IOPS that can be bought for `gib`; none where they follow from the size.
    pub(crate) fn iops(self, gib: u64) -> Option<RangeInclusive<u64>> {
        match self {
            Sku::PremiumV2Lrs => Some(3000..=(gib * 500).clamp(3000, 80_000)),
            Sku::UltraSsdLrs => Some(100..=(gib * 1000).clamp(100, 400_000)),
            Sku::StandardLrs
            | Sku::StandardSsdLrs
            | Sku::StandardSsdZrs
            | Sku::PremiumLrs
            | Sku::PremiumZrs => None,
        }
    }

    /// The MB/s that can be bought beside `iops`.
    pub(crate) fn mbps(self, iops: u64) -> Option<RangeInclusive<u64>> {
        match self {
            Sku::PremiumV2Lrs => Some(125..=(iops / 4).clamp(125, 2000)),
            Sku::UltraSsdLrs => Some(1..=(iops / 4).clamp(1, 10_000)),
            Sku::StandardLrs
            | Sku::StandardSsdLrs
            | Sku::StandardSsdZrs
            | Sku::PremiumLrs
            | Sku::PremiumZrs => None,
        }
    }

    /// The IOPS of a new disk for which none were asked: the Go driver's rule for Ultra, Azure's own
    /// default for the others.
    pub(crate) fn default_iops(self, gib: u64) -> Option<u64> {
        (self == Sku::UltraSsdLrs).then(|| gib.clamp(500, 160_000))
    }

    /// The MB/s of a new disk for which none were asked.
    pub(crate) fn default_mbps(self, iops: u64) -> Option<u64> {
        (self == Sku::UltraSsdLrs).then(|| iops.div_ceil(256).max(100).min(iops / 4).clamp(1, 4000))
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_in_any_case_finds_its_sku() {
        for sku in Sku::ALL {
            assert_eq!(Sku::parse(&sku.name().to_uppercase()), Some(sku));
        }
        assert_eq!(Sku::parse("Premium"), None);
    }

    #[test]
    fn performance_of_premium_v2_follows_the_published_limits() {
        for (gib, most) in [(1, 3000), (6, 3000), (7, 3500), (100, 50_000), (160, 80_000), (65_536, 80_000)] {
            assert_eq!(Sku::PremiumV2Lrs.iops(gib), Some(3000..=most), "{gib} GiB");
        }
        for (iops, most) in [(3000, 750), (8000, 2000), (80_000, 2000)] {
            assert_eq!(Sku::PremiumV2Lrs.mbps(iops), Some(125..=most), "{iops} IOPS");
        }
        assert_eq!(Sku::PremiumLrs.iops(1024), None);
    }

    #[test]
    fn ultra_gets_the_go_drivers_defaults() {
        for (gib, iops, mbps) in [(4, 500, 100), (1024, 1024, 100), (65_536, 65_536, 256)] {
            assert_eq!(Sku::UltraSsdLrs.default_iops(gib), Some(iops), "{gib} GiB");
            assert_eq!(Sku::UltraSsdLrs.default_mbps(iops), Some(mbps), "{iops} IOPS");
        }
        assert_eq!(Sku::PremiumV2Lrs.default_iops(100), None);
    }

    #[test]
    fn shares_grow_with_the_size() {
        let rows = [
            (Sku::PremiumLrs, 512, 3),
            (Sku::PremiumLrs, 513, 5),
            (Sku::StandardSsdLrs, 8192, 10),
            (Sku::StandardLrs, 8192, 1),
            (Sku::UltraSsdLrs, 4, 15),
        ];
        for (sku, gib, most) in rows {
            assert_eq!(sku.most_shares(gib), most, "{sku} {gib} GiB");
        }
    }

    proptest! {
        #[test]
        fn what_the_driver_chooses_is_allowed(gib in 4u64..=65_536) {
            let sku = Sku::UltraSsdLrs;
            let iops = sku.default_iops(gib).unwrap();
            prop_assert!(sku.iops(gib).unwrap().contains(&iops));
            prop_assert!(sku.mbps(iops).unwrap().contains(&sku.default_mbps(iops).unwrap()));
        }

        #[test]
        fn no_range_is_empty(gib in 1u64..=65_536) {
            for sku in Sku::ALL {
                if let Some(iops) = sku.iops(gib) {
                    prop_assert!(!iops.is_empty() && !sku.mbps(*iops.end()).unwrap().is_empty());
                }
            }
        }
    }
}
