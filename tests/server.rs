//! How a server stops, and what it does and says when calls panic, fail, hang or come too late. In memory and on
//! a paused clock: a wait of minutes takes no time, and no test depends on the speed of the machine.

mod inside;
mod scripted;

use std::time::Duration;

use csi::v1::node_client::NodeClient;
use inside::Inside;
use scripted::{server, stage};
use tokio::time::Instant;
use tonic::{Code, Request};

const MINUTES: Duration = Duration::from_mins(5);
const SECOND: Duration = Duration::from_secs(1);

/// Lets everything that can run now run.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_is_answered_and_a_new_one_is_refused() {
    let mut inside = Inside::start(server(MINUTES));
    let client = inside.channel().await;
    let slow = tokio::spawn(stage(client.clone(), "answer-after 30"));
    settle().await;
    let begun = Instant::now();
    inside.stop();
    settle().await;
    let on_the_old_connection = stage(client, "").await.unwrap_err();
    let on_a_new_connection = stage(inside.channel().await, "").await.unwrap_err();
    for refused in [on_the_old_connection, on_a_new_connection] {
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("shutting down"), "{refused}");
    }
    slow.await.unwrap().expect("the call that was in flight");
    let answered = Instant::now();
    assert!(answered - begun >= Duration::from_secs(29));
    inside.ended.await.unwrap().expect("a clean stop");
    assert!(answered.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_work_that_outlived_its_call() {
    let mut inside = Inside::start(server(MINUTES));
    let client = inside.channel().await;
    stage(client.clone(), "leave-work-for 20").await.unwrap();
    let begun = Instant::now();
    inside.stop();
    settle().await;
    assert_eq!(stage(client, "").await.unwrap_err().code(), Code::Unavailable);
    inside.ended.await.unwrap().expect("a clean stop");
    let took = begun.elapsed();
    assert!((Duration::from_secs(19)..Duration::from_secs(21)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_stops_at_once_although_clients_stay_connected() {
    let mut inside = Inside::start(server(MINUTES));
    let client = inside.channel().await;
    stage(client.clone(), "").await.unwrap();
    let begun = Instant::now();
    inside.stop();
    inside.ended.await.unwrap().expect("a clean stop");
    assert!(begun.elapsed() < SECOND);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_up_at_its_bound_and_tells_what_was_left() {
    let mut inside = Inside::start(server(Duration::from_secs(10)));
    let client = inside.channel().await;
    stage(client.clone(), "leave-work-for 900").await.unwrap();
    let hanging = tokio::spawn(stage(client, "answer-after 900"));
    settle().await;
    let begun = Instant::now();
    inside.stop();
    let error = inside.ended.await.unwrap().unwrap_err().to_string();
    for part in ["10 s", "1 pieces of work", "NodeStageVolume of answer-after 900"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(11));
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_internal_and_the_next_call_works() {
    let inside = Inside::start(server(MINUTES));
    let hook = std::panic::take_hook();
    azuredisk_csi::telemetry::watch_panics(inside.metrics.clone());
    let client = inside.channel().await;
    let neighbour = tokio::spawn(stage(client.clone(), "answer-after 5"));
    settle().await;
    let broken = stage(client.clone(), "panic on purpose").await.unwrap_err();
    std::panic::set_hook(hook);
    assert_eq!(broken.code(), Code::Internal);
    assert!(!broken.message().contains("on purpose"), "the caller learns nothing of the inside: {broken}");
    stage(client, "").await.expect("the next call");
    neighbour.await.unwrap().expect("a call beside it");
    let text = inside.metrics.text();
    assert!(text.contains("azuredisk_csi_panics_total 1\n"), "{text}");
    assert!(text.contains("rpcs_total{method=\"NodeStageVolume\",code=\"Internal\"} 1\n"), "{text}");
    assert!(text.contains("rpcs_in_flight 0\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_forgets_its_deadline_is_answered_for() {
    let inside = Inside::start(server(MINUTES));
    let mut client = NodeClient::new(inside.channel().await);
    let mut request = Request::new(csi::v1::NodeStageVolumeRequest {
        volume_id: "answer-after 900".to_owned(),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(10));
    let begun = Instant::now();
    let late = client.node_stage_volume(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("repeat the call"), "our words, not the library's: {late}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_once_however_it_ends() {
    let inside = Inside::start(server(MINUTES));
    let client = inside.channel().await;
    stage(client.clone(), "").await.unwrap();
    let refused = stage(client.clone(), "fail not now").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "not now"));
    let gone = tokio::spawn(stage(client.clone(), "answer-after 900"));
    settle().await;
    assert!(inside.metrics.text().contains("rpcs_in_flight 1\n"));
    gone.abort();
    settle().await;
    NodeClient::new(client).node_get_info(csi::v1::NodeGetInfoRequest {}).await.unwrap_err();
    let text = inside.metrics.text();
    for line in [
        "rpcs_total{method=\"NodeStageVolume\",code=\"Ok\"} 1",
        "rpcs_total{method=\"NodeStageVolume\",code=\"FailedPrecondition\"} 1",
        "rpcs_total{method=\"NodeStageVolume\",code=\"Cancelled\"} 1",
        "rpcs_total{method=\"NodeGetInfo\",code=\"Unimplemented\"} 1",
        "rpc_seconds_count{method=\"NodeStageVolume\",code=\"Ok\"} 1",
        "rpcs_in_flight 0",
    ] {
        assert!(text.contains(&format!("azuredisk_csi_{line}\n")), "{line}\n{text}");
    }
}
