//! The second writer: what it does, that it is the same for the same seed, and that it notices what others do.

use std::collections::BTreeSet;
use std::time::Duration;

use azure_emulator::{Act, Action, Fault, Habits, Latency, Options};
use serde_json::{Value, json};

use crate::client::{Client, id};

fn world() -> Client {
    let latency = Latency::fixed(Duration::from_secs(2));
    let client = Client::with(Options { latency, strict: true, ..Options::default() });
    client.emulator.add_vm("a", "Standard_D8s_v5", "1").unwrap();
    client.emulator.add_vm("b", "Standard_D8s_v5", "2").unwrap();
    client.emulator.add_scale_set("pool", "p", "Standard_D8s_v5", &[], 1).unwrap();
    client
}

async fn acts(seed: u64, habits: Habits) -> Vec<Act> {
    let client = world();
    let mut writer = client.emulator.second_writer(seed, habits).await.unwrap();
    let mut acts = Vec::new();
    for _ in 0..60 {
        acts.push(writer.act().await);
        // What it is sure of is so.
        let attached = client.emulator.attached();
        for (disk, vm) in writer.places() {
            let on: Vec<&String> = attached
                .iter()
                .filter(|(_, luns)| luns.to_string().contains(&disk))
                .map(|(vm, _)| vm)
                .collect();
            assert_eq!(on, vm.iter().collect::<Vec<_>>(), "{disk}");
        }
    }
    assert_eq!(writer.surprises(), [""; 0], "nobody else writes");
    assert!(client.emulator.requests().is_empty(), "its requests are not the client's");
    acts
}

#[tokio::test(start_paused = true)]
async fn it_does_everything_and_the_same_for_the_same_seed() {
    let first = acts(7, Habits::default()).await;
    let kinds: BTreeSet<&str> = first.iter().map(|act| act.what.split(' ').next().unwrap()).collect();
    for kind in ["attach", "detach", "resize", "stop", "tags"] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    assert!(first.iter().all(|act| act.is_done), "{first:?}");
    assert_eq!(acts(7, Habits::default()).await, first);
    assert_ne!(acts(8, Habits::default()).await, first);
}

#[tokio::test(start_paused = true)]
async fn it_does_neither_stop_nor_resize_where_it_may_not() {
    let acts = acts(7, Habits { switches: false, resizes: false, ..Habits::default() }).await;
    let is_gentle = |act: &Act| !act.what.starts_with("stop") && !act.what.starts_with("resize");
    assert!(acts.iter().all(is_gentle), "{acts:?}");
}

#[tokio::test(start_paused = true)]
async fn it_notices_a_disk_that_was_taken_away_and_one_that_came_back() {
    let client = Client::new();
    client.emulator.add_vm("a", "Standard_D8s_v5", "").unwrap();
    let habits = Habits { switches: false, resizes: false, ..Habits::default() };
    let mut writer = client.emulator.second_writer(3, habits).await.unwrap();
    let vm = id("virtualMachines/a");
    let held = loop {
        writer.act().await;
        if let Some((disk, _)) = writer.places().into_iter().find(|(_, on)| *on == Some(vm.clone())) {
            break disk;
        }
    };
    let free = writer.places().into_iter().find(|(_, on)| on.is_none()).unwrap().0;
    assert_eq!(writer.surprises(), [""; 0]);
    client.detach("a", &held).await;
    client.attach("a", json!([{ "diskId": free, "lun": 40 }])).await;
    writer.act().await;
    let told = writer.surprises().join("\n");
    assert_eq!(writer.surprises().len(), 2, "{told}");
    assert!(told.contains(&held) && told.contains(&free), "{told}");
    client.emulator.delete_vm("a");
    writer.act().await;
    assert_eq!(writer.surprises().len(), 2, "a VM that went is no surprise");
}

/// Attaches and detaches a disk by the delta call while a writer of lists is at work; answers whether it was ever lost.
async fn is_lost(careful: u8) -> bool {
    let client = Client::new();
    client.emulator.add_vm("a", "Standard_D8s_v5", "").unwrap();
    let ours = client.disk("ours", "Premium_LRS", 8).await;
    client.emulator.set_latency(Latency::fixed(Duration::from_secs(1)));
    let habits = Habits {
        careful,
        switches: false,
        resizes: false,
        pause: Duration::from_secs(2),
        ..Habits::default()
    };
    let mut writer = client.emulator.second_writer(1, habits).await.unwrap();
    let is_on = || client.emulator.attached()[&id("virtualMachines/a")].to_string().contains(&ours);
    let work = async {
        for _ in 0..200 {
            writer.act().await;
        }
    };
    let watch = async {
        let mut lost = false;
        loop {
            let reply = client.attach("a", json!([{ "diskId": ours }])).await;
            if reply.status == 200 && client.end(&reply).await["status"] == "Succeeded" {
                tokio::time::sleep(Duration::from_secs(7)).await;
                lost = lost || !is_on();
            }
            if lost {
                return true;
            }
            let reply = client.detach("a", &ours).await;
            if reply.status == 200 {
                client.end(&reply).await;
            }
            tokio::time::sleep(Duration::from_millis(1300)).await;
        }
    };
    let lost = tokio::select! {
        lost = watch => lost,
        () = work => false,
    };
    assert_eq!(writer.surprises(), [""; 0], "the delta call touches no disk that it does not name");
    lost
}

#[tokio::test(start_paused = true)]
async fn lists_without_a_condition_lose_what_others_attached_and_careful_ones_do_not() {
    assert!(is_lost(0).await);
    assert!(!is_lost(100).await);
}

#[tokio::test(start_paused = true)]
async fn scripted_faults_do_not_count_it() {
    let client = world();
    let mut writer = client.emulator.second_writer(7, Habits::default()).await.unwrap();
    client.emulator.script(Fault::on("", "", Action::LoseRequest));
    for _ in 0..20 {
        assert!(writer.act().await.is_done);
    }
    assert_eq!(client.send("GET", "disks", Value::Null).await.status, 444);
}
