//! The list of what is sold: VM sizes and disk SKUs with their capabilities. All values are text, as in Azure.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::model::Model;
use crate::tiers::{Family, SKUS};
use crate::vm_sizes::{self, VmSize};

const ZONES: [&str; 3] = ["1", "2", "3"];

/// `/subscriptions/S/providers/Microsoft.Compute/skus[?$filter=location eq 'x']`.
pub(crate) fn list(model: &Model, call: &Call) -> Answer {
    let asked = call.query("$filter").and_then(|filter| filter.split('\'').nth(1));
    if asked.is_some_and(|location| !location.eq_ignore_ascii_case(&model.location)) {
        return Answer::list(Vec::new());
    }
    let sizes = vm_sizes::all().map(|size| vm(&size, &model.location));
    let disks = SKUS.iter().flat_map(|(name, tier, family)| disks(name, tier, *family, &model.location));
    let all: Vec<Value> = sizes.chain(disks).collect();
    Answer::list(all)
}

fn capabilities(pairs: &[(&str, String)]) -> Value {
    pairs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn text(flag: bool) -> String {
    if flag { "True".to_owned() } else { "False".to_owned() }
}

fn vm(size: &VmSize, location: &str) -> Value {
    let mut details = Vec::new();
    if size.has_ultra && !size.zones.is_empty() {
        let ultra = capabilities(&[("UltraSSDAvailable", text(true))]);
        details.push(json!({ "Name": size.zones, "capabilities": ultra }));
    }
    json!({
        "resourceType": "virtualMachines", "name": size.name, "tier": "Standard",
        "size": size.name.trim_start_matches("Standard_"),
        "family": "standardFamily", "locations": [location],
        "locationInfo": [{ "location": location, "zones": size.zones, "zoneDetails": details }],
        "capabilities": capabilities(&[
            ("vCPUs", size.cpus.to_owned()),
            ("MaxDataDiskCount", size.most_disks.to_string()),
            ("PremiumIO", text(size.has_premium)),
            ("HyperVGenerations", "V1,V2".to_owned()),
            ("EphemeralOSDiskSupported", text(size.has_premium)),
            ("EncryptionAtHostSupported", text(true)),
            ("DiskControllerTypes", size.controllers.to_owned()),
        ]),
        "restrictions": [],
    })
}

/// One entry for each tier of a SKU that is sold by size; one in all for the others.
fn disks(name: &str, tier: &str, family: Family, location: &str) -> Vec<Value> {
    let zones: &[&str] = if name.ends_with("_ZRS") { &[] } else { &ZONES };
    let entry = |size: String, capabilities: Value| {
        json!({
            "resourceType": "disks", "name": name, "tier": tier, "size": size, "locations": [location],
            "locationInfo": [{ "location": location, "zones": zones, "zoneDetails": [] }],
            "capabilities": capabilities, "restrictions": [],
        })
    };
    let (least, most) = family.sizes();
    if family.is_by_number() {
        let letter = if family == Family::Ultra { 'U' } else { 'P' };
        let (iops, mbps) = (family.iops(most), family.mbps(u64::MAX));
        return vec![entry(
            letter.to_string(),
            capabilities(&[
                ("MinSizeGiB", least.to_string()),
                ("MaxSizeGiB", most.to_string()),
                ("MinIOpsReadWrite", iops.0.to_string()),
                ("MaxIOpsReadWrite", iops.1.to_string()),
                ("MinBandwidthMBpsReadWrite", mbps.0.to_string()),
                ("MaxBandwidthMBpsReadWrite", mbps.1.to_string()),
                ("MaxValueOfMaxShares", family.max_shares(most).to_string()),
            ]),
        )];
    }
    let mut above = 0;
    let mut entries = Vec::new();
    for row in family.tiers() {
        entries.push(entry(
            format!("{}{}", family.letter(), row.number),
            capabilities(&[
                ("MinSizeGiB", above.to_string()),
                ("MaxSizeGiB", row.largest_gib.to_string()),
                ("MaxIOps", row.iops.to_string()),
                ("MaxBandwidthMBps", row.mbps.to_string()),
                ("MaxValueOfMaxShares", family.max_shares(row.largest_gib).to_string()),
            ]),
        ));
        above = row.largest_gib;
    }
    entries
}
