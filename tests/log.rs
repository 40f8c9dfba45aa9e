//! What the log says of a call. A file of its own: the log is a matter of the whole process, and tests that
//! run beside would change which lines are made.

mod inside;
mod scripted;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use azuredisk_csi::config::LogFormat;
use csi::v1::node_client::NodeClient;
use inside::Inside;
use scripted::{server, stage};
use tracing::Level;

/// Takes the log of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_one_line_with_its_volume_and_cause_and_without_secrets() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = azuredisk_csi::telemetry::subscriber(LogFormat::Json, Level::TRACE, move || writer.clone());
    let _log = tracing::subscriber::set_default(log);
    let mut inside = Inside::start(server(Duration::from_secs(1)));
    let channel = inside.channel().await;
    let request = csi::v1::NodeStageVolumeRequest {
        volume_id: "fail the disk is away".to_owned(),
        secrets: [("password".to_owned(), "hunter2".to_owned())].into(),
        ..Default::default()
    };
    NodeClient::new(channel.clone()).node_stage_volume(request).await.unwrap_err();
    stage(channel, "").await.unwrap();
    inside.stop();
    assert!(inside.metrics.text().contains("code=\"FailedPrecondition\"} 1\n"));
    inside.ended.await.unwrap().expect("a clean stop");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let about: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    let [line] = about.as_slice() else { panic!("one line: {text}") };
    assert_eq!(line["message"], "failed: the disk is away");
    assert_eq!((&line["code"], &line["cause"]), (&"FailedPrecondition".into(), &"the cause".into()));
    assert_eq!(line["span"]["method"], "NodeStageVolume");
    assert_eq!(line["span"]["volume"], "fail the disk is away");
}
