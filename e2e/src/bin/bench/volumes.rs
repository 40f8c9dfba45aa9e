//! The volumes that are moved: made before anything is measured, removed after it.

use csi::v1;
use e2e::{Failure, volume};
use futures::future::try_join_all;

use crate::attacher::Client;

/// Makes `count` volumes of a GiB, or finds those that an earlier run left.
pub(crate) async fn create(client: &Client, count: usize) -> Result<Vec<v1::Volume>, Failure> {
    try_join_all((0..count).map(|number| async move {
        let request = volume::create(&format!("bench-{number:04}"), 1, &volume::block(), None);
        let answer = client.clone().create_volume(request).await?.into_inner();
        answer.volume.ok_or_else(|| Failure::from("CreateVolume answered without a volume"))
    }))
    .await
}

/// Removes them.
pub(crate) async fn delete(client: &Client, volumes: &[v1::Volume]) -> Result<(), Failure> {
    try_join_all(volumes.iter().map(|made| async {
        client.clone().delete_volume(volume::delete(&made.volume_id)).await?;
        Ok::<(), Failure>(())
    }))
    .await?;
    Ok(())
}
