//! What may change during a volume's life: SKU, IOPS and MB/s. A StorageClass says them for the
//! beginning, a VolumeAttributesClass overrides them and changes them later.

use std::collections::BTreeMap;

use csi::Error;

use super::{Parameter, Parameters};
use crate::sku::Sku;

/// The keys of a VolumeAttributesClass.
pub(crate) const KEYS: [&str; 4] =
    ["skuName", "storageAccountType", "DiskIOPSReadWrite", "DiskMBpsReadWrite"];

/// What is wanted; `None` leaves a thing as it is, or to Azure's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mutable {
    pub(crate) sku: Option<Sku>,
    pub(crate) iops: Option<u64>,
    pub(crate) mbps: Option<u64>,
}

impl Mutable {
    /// Reads `mutable_parameters`, all of which must be known.
    pub(crate) fn read(map: &BTreeMap<String, String>) -> Result<Mutable, Error> {
        let mut parameters = Parameters::read("mutable_parameters", map)?;
        let wanted = Mutable::take(&mut parameters)?;
        parameters.finish(&KEYS)?;
        Ok(wanted)
    }

    /// Takes the mutable ones out of `parameters`.
    pub(crate) fn take(parameters: &mut Parameters<'_>) -> Result<Mutable, Error> {
        let number = |one: Parameter<'_>| one.number(&(1..=u64::MAX));
        Ok(Mutable {
            sku: parameters.take(&KEYS[..2])?.as_ref().map(sku).transpose()?,
            iops: parameters.take(&KEYS[2..3])?.map(number).transpose()?,
            mbps: parameters.take(&KEYS[3..])?.map(number).transpose()?,
        })
    }

    /// These, and `others` where these say nothing.
    pub(crate) fn or(self, others: Mutable) -> Mutable {
        Mutable {
            sku: self.sku.or(others.sku),
            iops: self.iops.or(others.iops),
            mbps: self.mbps.or(others.mbps),
        }
    }
}

fn sku(one: &Parameter<'_>) -> Result<Sku, Error> {
    Sku::parse(one.value).ok_or_else(|| one.refused(&Sku::ALL.map(Sku::name).join(", ")))
}

/// Refuses IOPS and MB/s that a disk of `sku` and `gib` cannot have.
///
/// `iops` and `mbps` are what the disk will have; `None` where Azure chooses.
pub(crate) fn check_performance(
    sku: Sku,
    gib: u64,
    iops: Option<u64>,
    mbps: Option<u64>,
) -> Result<(), Error> {
    let Some(allowed) = sku.iops(gib) else {
        let given = [("DiskIOPSReadWrite", iops), ("DiskMBpsReadWrite", mbps)];
        return match given.into_iter().find_map(|(key, value)| Some((key, value?))) {
            None => Ok(()),
            Some((key, value)) => Err(Error::invalid(format!(
                "{key} is {value}, but {sku} takes its performance from its size; allowed with {} and {}",
                Sku::PremiumV2Lrs,
                Sku::UltraSsdLrs
            ))),
        };
    };
    let refused = |key, value, allowed: std::ops::RangeInclusive<u64>, beside: String| {
        let (least, most) = (allowed.start(), allowed.end());
        let disk = format!("{sku} of {gib} GiB{beside}");
        Error::invalid(format!("{key} is {value}; allowed is {least} to {most} for {disk}"))
    };
    if let Some(iops) = iops.filter(|iops| !allowed.contains(iops)) {
        return Err(refused("DiskIOPSReadWrite", iops, allowed, String::new()));
    }
    let iops = iops.unwrap_or(*allowed.start());
    match (mbps, sku.mbps(iops)) {
        (Some(mbps), Some(allowed)) if !allowed.contains(&mbps) => {
            Err(refused("DiskMBpsReadWrite", mbps, allowed, format!(" with {iops} IOPS")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attributes_class_has_its_own_keys_and_no_others() {
        let read = |key: &str, value: &str| Mutable::read(&[(key.to_owned(), value.to_owned())].into());
        assert_eq!(read("SKUNAME", "premium_lrs").unwrap().sku, Some(Sku::PremiumLrs));
        assert_eq!(read("diskIopsReadWrite", "4000").unwrap().iops, Some(4000));
        assert_eq!(read("diskMbpsReadWrite", "200").unwrap().mbps, Some(200));
        for (key, value, said) in [
            ("cachingMode", "None", "known are skuName, storageAccountType"),
            ("skuName", "Gold", "allowed is Standard_LRS, StandardSSD_LRS"),
            ("DiskIOPSReadWrite", "many", "allowed is a whole number from 1"),
            ("DiskIOPSReadWrite", "0", "allowed is a whole number from 1"),
        ] {
            let error = read(key, value).unwrap_err();
            assert_eq!(error.kind(), csi::Kind::Invalid);
            assert!(error.message().contains(said), "{error}");
        }
    }

    #[test]
    fn the_later_word_wins() {
        let class = Mutable { sku: Some(Sku::PremiumLrs), iops: None, mbps: Some(1) };
        let attributes = Mutable { sku: Some(Sku::PremiumV2Lrs), iops: Some(4000), mbps: None };
        let want = Mutable { sku: Some(Sku::PremiumV2Lrs), iops: Some(4000), mbps: Some(1) };
        assert_eq!(attributes.or(class), want);
    }

    #[test]
    fn performance_is_checked_against_size_and_sku() {
        let rows = [
            (Sku::PremiumLrs, 100, None, None, true),
            (Sku::PremiumLrs, 100, Some(5000), None, false),
            (Sku::StandardLrs, 100, None, Some(100), false),
            (Sku::PremiumV2Lrs, 100, Some(3000), Some(750), true),
            (Sku::PremiumV2Lrs, 100, Some(3000), Some(751), false),
            (Sku::PremiumV2Lrs, 100, None, Some(750), true),
            (Sku::PremiumV2Lrs, 100, None, Some(751), false),
            (Sku::PremiumV2Lrs, 4, Some(3001), None, false),
            (Sku::PremiumV2Lrs, 100, Some(2999), None, false),
            (Sku::UltraSsdLrs, 4, Some(4000), Some(1000), true),
            (Sku::UltraSsdLrs, 4, Some(4001), None, false),
        ];
        for (sku, gib, iops, mbps, good) in rows {
            let got = check_performance(sku, gib, iops, mbps);
            assert_eq!(got.is_ok(), good, "{sku} {gib} {iops:?} {mbps:?}: {got:?}");
        }
    }
}
