//! The volumes that are moved: made before anything is measured, removed after it.

use csi::v1;
use e2e::{Failure, volume};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::attacher::Client;

/// Calls at once: a driver that spares Azure's buckets must end each of them within its own time.
const AT_ONCE: usize = 16;

/// Makes `count` volumes of a GiB, or finds those that an earlier run left.
pub(crate) async fn create(client: &Client, count: usize) -> Result<Vec<v1::Volume>, Failure> {
    let created = (0..count).map(|number| async move {
        let request = volume::create(&format!("bench-{number:04}"), 1, &volume::block(), None);
        let answer = client.clone().create_volume(request).await?.into_inner();
        answer.volume.ok_or_else(|| Failure::from("CreateVolume answered without a volume"))
    });
    stream::iter(created).buffered(AT_ONCE).try_collect().await
}

/// Removes them.
pub(crate) async fn delete(client: &Client, volumes: &[v1::Volume]) -> Result<(), Failure> {
    let deleted = volumes.iter().map(|made| async {
        client.clone().delete_volume(volume::delete(&made.volume_id)).await?;
        Ok::<(), Failure>(())
    });
    stream::iter(deleted).buffer_unordered(AT_ONCE).try_collect().await
}
