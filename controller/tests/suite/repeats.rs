//! A sidecar gives up after seconds and calls again: what it costs Azure, and what must be read anew all the same.

use std::time::Duration;

use azure_emulator::Latency;
use csi::v1::controller_server::Controller as _;
use tonic::Code;

use crate::world::*;

/// Shorter than an operation.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the disk alone was read.
fn disk_reads(world: &World) -> usize {
    world.requests("GET", "/disks/pvc-1")
}

/// A publish, or an unpublish, of a caller who gave up; counting begins after it.
async fn given_up(publishes: bool) -> (World, String) {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    if !publishes {
        world.publish(&id, "node-a").await.unwrap();
    }
    world.azure.set_latency(Latency::fixed(Duration::from_secs(20)));
    world.azure.reset_requests();
    let given_up = if publishes {
        world.publish_within(&id, "node-a", PATIENCE).await
    } else {
        world.unpublish_within(&id, "node-a", PATIENCE).await
    };
    assert_eq!((code(given_up), disk_reads(&world)), (Code::DeadlineExceeded, 1));
    (world, id)
}

/// The update is followed though nobody waits for it, so who calls again has its end, and asks for nothing.
#[tokio::test(start_paused = true)]
async fn a_publish_that_is_repeated_does_not_read_its_disk_again() {
    let (world, id) = given_up(true).await;
    for _ in 0..2 {
        assert_eq!(code(world.publish_within(&id, "node-a", PATIENCE).await), Code::DeadlineExceeded);
    }
    world.publish_within(&id, "node-a", 2 * PATIENCE).await.unwrap();
    assert_eq!((disk_reads(&world), world.requests("POST", "Detach")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unpublish_that_is_repeated_does_not_read_its_disk_again() {
    let (world, id) = given_up(false).await;
    for _ in 0..2 {
        assert_eq!(code(world.unpublish_within(&id, "node-a", PATIENCE).await), Code::DeadlineExceeded);
    }
    world.unpublish_within(&id, "node-a", 2 * PATIENCE).await.unwrap();
    assert_eq!((disk_reads(&world), world.requests("POST", "Detach")), (1, 1));
    assert!(world.luns("node-a").is_empty());
}

/// Each of these in between, and the publish reads the disk as it is.
#[tokio::test(start_paused = true)]
async fn what_may_have_changed_the_disk_makes_a_publish_read_it_again() {
    let minute = Duration::from_mins(1);
    for between in ["expand", "modify", "unpublish", "other node", "read-only", "caching", "a minute"] {
        let (world, id) = given_up(true).await;
        let mut request = to_publish(&id, "node-a", strings([("requestedsizegib", "1")]));
        match between {
            "expand" => _ = world.expand(&id, GIB, 0).await,
            "modify" => _ = world.modify(&id, [("skuName", "StandardSSD_LRS")]).await,
            "unpublish" => _ = world.unpublish_within(&id, "node-a", PATIENCE).await,
            "other node" => _ = world.publish_within(&id, "node-b", PATIENCE).await,
            "read-only" => request.readonly = true,
            "caching" => _ = request.volume_context.insert("cachingMode".into(), "None".into()),
            _ => tokio::time::advance(minute).await,
        }
        let before = disk_reads(&world);
        let _ = world.controller.controller_publish_volume(within(request, minute)).await;
        assert!(disk_reads(&world) > before, "after {between}");
    }
}
