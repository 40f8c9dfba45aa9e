//! Whether a disk that exists is the volume that is asked for: pure.
//!
//! All that Azure can tell again is compared (CSI 1.13, CreateVolume: a repetition must agree in
//! capacity, parameters, topology and source). Not compared are tags, which policies of the
//! subscription add to, and IOPS and MB/s that nobody asked for.

use super::wish::{Source, Wish};
use crate::disk::Facts;

/// What differs, as `what is X, asked was Y`; empty if the disk is the wanted volume.
pub(crate) fn differences(wish: &Wish, disk: &Facts) -> Vec<String> {
    let parameters = &wish.parameters;
    let mut found = Differences::default();
    if !wish.owns(&disk.tags) {
        found.push(format!("it was not made for the volume {}", wish.name));
    }
    if !wish.size.holds(disk.bytes) {
        let most = wish.size.most_bytes.map_or(String::new(), |most| format!(" to {most}"));
        found.push(format!("its size is {} bytes, asked was {}{most}", disk.bytes, wish.size.least_bytes));
    }
    found.text("its SKU", Some(&disk.sku), Some(parameters.sku.name()));
    found.text("its location", Some(&disk.location), Some(&wish.location));
    if !wish.accepts(&disk.place) {
        found.push(format!("it is in {}, which is not asked for", disk.place));
    }
    let source = wish.source.as_ref().map(|source| match source {
        Source::Snapshot(id) => id.to_string(),
        Source::Volume(id) => id.to_string(),
    });
    found.text("its source", disk.source.as_deref(), source.as_deref());
    found.number("maxShares", Some(disk.max_shares.into()), Some(parameters.max_shares.into()));
    found.number("DiskIOPSReadWrite", disk.iops, parameters.iops);
    found.number("DiskMBpsReadWrite", disk.mbps, parameters.mbps);
    found.number("LogicalSectorSize", disk.logical_sector, parameters.logical_sector.map(u64::from));
    let encryption = parameters.encryption.as_ref();
    found.text("diskEncryptionSetID", disk.encryption_set.as_deref(), encryption.map(|one| one.set.as_str()));
    if let Some(kind) = encryption.and_then(|one| one.kind) {
        found.text("diskEncryptionType", disk.encryption_kind.as_deref(), Some(kind));
    }
    if let Some(policy) = &disk.network_policy {
        found.text("networkAccessPolicy", Some(policy), Some(parameters.network_policy));
    }
    if let Some(access) = &disk.public_access {
        found.text("publicNetworkAccess", Some(access), Some(parameters.public_access));
    }
    found.text("diskAccessID", disk.disk_access.as_deref(), parameters.disk_access.as_deref());
    found.switch("enableBursting", disk.bursting, parameters.bursting);
    found.switch("enablePerformancePlus", disk.performance_plus, parameters.performance_plus);
    found.0
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn push(&mut self, difference: String) {
        self.0.push(difference);
    }

    /// Names and ids of Azure, which are the same in any case.
    fn text(&mut self, what: &str, is: Option<&str>, asked: Option<&str>) {
        let (is, asked) = (is.unwrap_or("none"), asked.unwrap_or("none"));
        if !is.eq_ignore_ascii_case(asked) {
            self.push(format!("{what} is {is}, asked was {asked}"));
        }
    }

    fn number(&mut self, what: &str, is: Option<u64>, asked: Option<u64>) {
        if let Some(asked) = asked
            && is != Some(asked)
        {
            let is = is.map_or("not set".to_owned(), |is| is.to_string());
            self.push(format!("{what} is {is}, asked was {asked}"));
        }
    }

    fn switch(&mut self, what: &str, is: bool, asked: bool) {
        if is != asked {
            self.push(format!("{what} is {is}, asked was {asked}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::wish::tests::{GIB_10, wish};
    use crate::params::tags::{CREATED_BY, REQUEST_NAME, Tags};
    use crate::zone::Place;

    /// The disk that `wish` makes.
    fn made() -> Facts {
        Facts {
            bytes: GIB_10,
            sku: "StandardSSD_LRS".into(),
            location: "eastus2".into(),
            place: Place::Regional,
            source: None,
            max_shares: 1,
            iops: Some(500),
            mbps: Some(100),
            logical_sector: None,
            encryption_set: None,
            encryption_kind: Some("EncryptionAtRestWithPlatformKey".into()),
            network_policy: Some("DenyAll".into()),
            public_access: Some("Disabled".into()),
            disk_access: None,
            bursting: false,
            performance_plus: false,
            tags: ours([]),
        }
    }

    fn ours<const N: usize>(more: [(&str, &str); N]) -> Tags {
        let all = [CREATED_BY].into_iter().chain(more);
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn check(parameters: &[(&str, &str)], change: fn(&mut Facts), want: &[&str]) {
        let mut disk = made();
        change(&mut disk);
        assert_eq!(differences(&wish(parameters), &disk), want);
    }

    #[test]
    fn the_disk_that_was_asked_for_does_not_differ() {
        check(&[], |_| (), &[]);
        check(&[], |disk| disk.sku = "STANDARDSSD_lrs".into(), &[]);
        check(&[], |disk| (disk.network_policy, disk.public_access) = (None, None), &[]);
        check(&[], |disk| disk.tags = ours([("added", "by policy")]), &[]);
    }

    #[test]
    fn each_difference_is_named() {
        check(&[], |disk| disk.bytes = 5 << 30, &["its size is 5368709120 bytes, asked was 10737418240"]);
        check(&[("skuName", "Premium_LRS")], |_| (), &["its SKU is StandardSSD_LRS, asked was Premium_LRS"]);
        check(&[], |disk| disk.source = Some("/x".into()), &["its source is /x, asked was none"]);
        check(&[("maxShares", "2")], |_| (), &["maxShares is 1, asked was 2"]);
        check(
            &[("networkAccessPolicy", "AllowAll")],
            |_| (),
            &["networkAccessPolicy is DenyAll, asked was AllowAll"],
        );
        check(&[], |disk| disk.bursting = true, &["enableBursting is true, asked was false"]);
        check(
            &[("skuName", "PremiumV2_LRS"), ("DiskIOPSReadWrite", "4000")],
            |disk| disk.sku = "PremiumV2_LRS".into(),
            &["DiskIOPSReadWrite is 500, asked was 4000"],
        );
    }

    #[test]
    fn a_disk_that_people_made_is_nobodys_volume() {
        check(&[], |disk| disk.tags.clear(), &["it was not made for the volume pvc-1"]);
    }

    #[test]
    fn a_chosen_name_belongs_to_one_volume() {
        let chosen = [("diskName", "shared-name")];
        check(&chosen, |_| (), &["it was not made for the volume pvc-1"]);
        check(&chosen, |disk| disk.tags = ours([(REQUEST_NAME, "pvc-1")]), &[]);
        let other = |disk: &mut Facts| disk.tags = ours([(REQUEST_NAME, "pvc-2")]);
        check(&chosen, other, &["it was not made for the volume pvc-1"]);
    }
}
