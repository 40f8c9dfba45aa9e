//! What is so, told without JSON: the same as the answers of Azure say, and what they do not say.

use std::time::Duration;

use azure_emulator::ListedDisk;
use serde_json::json;

use crate::client::{Client, id};

/// What the one VM lists: LUN, held, leaving.
fn listed(client: &Client) -> Vec<(u8, bool, bool)> {
    let truth = client.emulator.truth();
    let flags = |entry: &ListedDisk| (entry.lun, entry.is_held, entry.is_leaving);
    truth.vms.iter().flat_map(|vm| vm.disks.iter().map(flags)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_listed_before_it_is_held_and_until_it_is_gone() {
    let client = Client::slow(Duration::from_secs(5));
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    let disk = client.disk("a", "Premium_LRS", 8).await;
    assert_eq!(client.emulator.truth().disks, [disk.as_str()]);
    let attach = client.attach("node-a", json!([{ "diskId": disk, "lun": 2 }])).await;
    assert_eq!(listed(&client), [(2, false, false)]);
    client.end(&attach).await;
    assert_eq!(listed(&client), [(2, true, false)]);
    let detach = client.detach("node-a", &disk).await;
    assert_eq!(listed(&client), [(2, true, true)]);
    client.end(&detach).await;
    assert_eq!(listed(&client), []);
    let truth = client.emulator.truth();
    assert_eq!(truth.vms.iter().map(|vm| vm.id.as_str()).collect::<Vec<_>>(), [id("virtualMachines/node-a")]);
    client.emulator.delete_vm("node-a");
    assert_eq!(client.emulator.truth().vms, []);
}
