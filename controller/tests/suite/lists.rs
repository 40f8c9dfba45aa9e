//! Lists: exact counts, pages, tokens, and where volumes are published.

use std::collections::BTreeSet;

use crate::world::*;
use csi::v1::controller_server::Controller as _;
use csi::v1::list_volumes_response::Entry;
use csi::v1::{CreateVolumeRequest, ListSnapshotsRequest, ListVolumesRequest};
use tonic::Code;

async fn volumes(world: &World, max_entries: i32, starting_token: &str) -> Answer<(Vec<Entry>, String)> {
    let request = ListVolumesRequest { max_entries, starting_token: starting_token.into() };
    let answer = world.controller.list_volumes(timed(request)).await?.into_inner();
    Ok((answer.entries, answer.next_token))
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.volume.clone().unwrap().volume_id).collect()
}

#[tokio::test(start_paused = true)]
async fn every_volume_is_listed_once_with_the_id_it_was_made_with() {
    let world = World::new();
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(world.volume(&format!("pvc-{number}")).await.volume_id);
    }
    let (all, token) = volumes(&world, 0, "").await.unwrap();
    assert_eq!((ids(&all), token.as_str()), (made.clone(), ""));
    let (mut paged, mut token) = (Vec::new(), String::new());
    for most in [2, 2, 2] {
        let (page, next) = volumes(&world, most, &token).await.unwrap();
        paged.extend(ids(&page));
        token = next;
    }
    assert_eq!((paged, token.as_str()), (made, ""));
}

#[tokio::test(start_paused = true)]
async fn a_page_goes_on_after_its_last_volume_was_deleted() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.volume(name).await;
    }
    let (page, token) = volumes(&world, 2, "").await.unwrap();
    world.delete(&ids(&page)[1]).await.unwrap();
    let (rest, end) = volumes(&world, 2, &token).await.unwrap();
    assert!(ids(&rest)[0].ends_with("/c") && rest.len() == 1 && end.is_empty());
}

#[tokio::test(start_paused = true)]
async fn bad_pages_are_refused() {
    let world = World::new();
    assert_eq!(code(volumes(&world, 0, "invalid-token").await), Code::Aborted);
    assert_eq!(code(volumes(&world, -1, "").await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn published_nodes_are_named_as_they_name_themselves() {
    let world = World::new();
    world.azure.add_scale_set("pool", "pool", "Standard_D2s_v5", &["1"], 1).unwrap();
    for (name, node, zone) in [("a", "node-a", ""), ("b", "pool000000", "eastus2-1"), ("c", "", "")] {
        let request = CreateVolumeRequest { accessibility_requirements: Some(in_zone(zone)), ..wanted(name) };
        let id = world.create(request).await.unwrap().volume_id;
        if !node.is_empty() {
            world.publish(&id, node).await.unwrap();
        }
    }
    let (entries, _) = volumes(&world.restarted(), 0, "").await.unwrap();
    let nodes: Vec<Vec<String>> =
        entries.into_iter().map(|entry| entry.status.unwrap().published_node_ids).collect();
    assert_eq!(nodes, [vec!["node-a".to_owned()], vec!["pool000000".to_owned()], vec![]]);
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_listed_by_id_by_source_and_in_pages() {
    let world = World::new();
    let sources = [world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id];
    let mut made = Vec::new();
    for (name, source) in [("s1", 0), ("s2", 0), ("s3", 1)] {
        made.push(world.snapshot(&sources[source], name).await.unwrap().snapshot_id);
    }
    let list = async |snapshot_id: &str, source: &str, max_entries: i32| {
        let request = ListSnapshotsRequest {
            snapshot_id: snapshot_id.into(),
            source_volume_id: source.into(),
            max_entries,
            ..Default::default()
        };
        let answer = world.controller.list_snapshots(timed(request)).await.unwrap().into_inner();
        let ids = answer.entries.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id);
        (ids.collect::<BTreeSet<String>>(), answer.next_token)
    };
    let some = |of: &[String]| of.iter().cloned().collect::<BTreeSet<String>>();
    let upper = sources[0].to_uppercase();
    let rows: [(&str, &str, i32, &[String], bool); 8] = [
        ("", "", 0, &made, false),
        ("", "", 2, &made[..2], true),
        (&made[1], "", 0, &made[1..2], false),
        ("unknown", "", 0, &[], false),
        ("", &sources[0], 0, &made[..2], false),
        ("", &upper, 0, &made[..2], false),
        ("", "unknown", 0, &[], false),
        (&made[0], &sources[1], 0, &[], false),
    ];
    for (id, source, most, want, goes_on) in rows {
        let (got, token) = list(id, source, most).await;
        assert_eq!((got, !token.is_empty()), (some(want), goes_on), "{id} {source} {most}");
    }
}
