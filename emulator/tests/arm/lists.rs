//! Pages of lists, and the odd spelling of ids in them.

use azure_emulator::Options;
use serde_json::Value;

use crate::client::{Client, id};

#[tokio::test(start_paused = true)]
async fn pages_lead_through_the_whole_list_though_it_changes() {
    let client = Client::with(Options { page: 2, ..Options::default() });
    for name in ["a", "b", "c", "d", "e"] {
        client.disk(name, "Premium_LRS", 8).await;
    }
    let mut names = Vec::new();
    let mut page = client.get("disks").await;
    loop {
        for disk in page["value"].as_array().unwrap() {
            names.push(disk["name"].as_str().unwrap().to_owned());
        }
        // What was on this page goes before the next is asked for.
        client.send("DELETE", &format!("disks/{}", names.last().unwrap()), Value::Null).await;
        let Some(next) = page["nextLink"].as_str().map(str::to_owned) else { break };
        page = client.get(&next).await;
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn lists_may_shout_the_name_of_the_group() {
    let client = Client::with(Options { shouting_lists: true, ..Options::default() });
    let disk = client.disk("a", "Premium_LRS", 8).await;
    assert_eq!(client.get("disks").await["value"][0]["id"], disk.replace("/rg/", "/RG/"));
    assert_eq!(client.get("disks/a").await["id"], id("disks/a"));
}

#[tokio::test(start_paused = true)]
async fn the_list_of_what_is_sold_has_pages_too() {
    let client = Client::with(Options { page: 10, ..Options::default() });
    let base = format!(
        "http://emulator/subscriptions/{}/providers/Microsoft.Compute/skus",
        azure_emulator::SUBSCRIPTION
    );
    let mut page = client.get(&format!("{base}?api-version=2021-07-01")).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut pages = 1;
    while let Some(next) = page["nextLink"].as_str().map(str::to_owned) {
        seen.extend(page["value"].as_array().unwrap().iter().map(ToString::to_string));
        page = client.get(&next).await;
        pages += 1;
    }
    seen.extend(page["value"].as_array().unwrap().iter().map(ToString::to_string));
    assert_eq!(seen.len(), (pages - 1) * 10 + page["value"].as_array().unwrap().len());
}
