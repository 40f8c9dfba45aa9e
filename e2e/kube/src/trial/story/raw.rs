//! A volume without a file system: a device in the pod, with the same bytes on every node.

use super::Story;
use crate::Failure;
use crate::trial::objects::{DEVICE, Mode};
use crate::trial::report::Report;
use crate::trial::world::EXT4;

pub(super) async fn tell(
    story: &Story<'_>,
    [here, there]: [&str; 2],
    report: &mut Report,
) -> Result<(), Failure> {
    let ready = async {
        story.claim("raw", EXT4, 1, Mode::Block, None).await?;
        story.pod("raw", "raw", Mode::Block, here).await
    };
    report.step(&format!("a raw volume: its pod has a device on {here}"), ready).await?;
    let written = async {
        let script = format!(
            "test -b {DEVICE}; dd if=/dev/urandom of={DEVICE} bs=1M count=8 conv=fsync 2>/dev/null; {}",
            checksum()
        );
        story.shell("raw", &script).await
    };
    let sum = report.step("8 MiB written to the device", written).await?;
    let moved = async {
        story.delete_pod("raw").await?;
        story.pod("raw", "raw", Mode::Block, there).await?;
        let found = story.shell("raw", &checksum()).await?;
        if found == sum { Ok(()) } else { Err(format!("the device has {found}, not {sum}").into()) }
    };
    report.step(&format!("the same device on {there}: the same bytes"), moved).await
}

fn checksum() -> String {
    format!("dd if={DEVICE} bs=1M count=8 2>/dev/null | sha256sum | cut -d ' ' -f 1")
}
