//! The task that makes thumbnails. Its queue is in the store, so it goes on after a restart.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use skein_blob::{depot::DepotError, thumbnail::ThumbnailError};
use skein_core::{
    id::BlobId,
    port::resource::{BlobInfo, Thumbnail, Variant},
};
use skein_store::StoreError;

use crate::{ResourceError, role::Parts};

/// Pictures taken from the queue at a time.
const BATCH: usize = 8;
/// After the store or the disk failed: until the next try.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Tries that may end with the process: by then it was the picture and no accident. Several nodes may
/// be at the same picture, and each counts a try before its first pixel, so that a low number would
/// give up good pictures in a cluster; a bad one costs this many restarts, once.
pub(crate) const TRIES_MAX: u64 = 8;

/// Why a picture stays without a thumbnail.
enum Trouble {
    /// The picture: it will not get better.
    Picture(ThumbnailError),
    /// A part beneath: try again later.
    Beneath(ResourceError),
}

/// Makes thumbnails until the soft stop. One that is being made then is made after the restart.
pub(crate) async fn run(parts: Arc<Parts>) {
    let work = async {
        loop {
            match round(&parts).await {
                Ok(0) => parts.pictures.notified().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(
                        error.cause = %error,
                        retry_after_seconds = RETRY_AFTER.as_secs(),
                        "thumbnails have to wait"
                    );
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    };
    tokio::select! {
        () = parts.shutdown.begun() => {}
        () = work => {}
    }
}

/// Works through the head of the queue. Answers how many pictures left it.
async fn round(parts: &Parts) -> Result<usize, ResourceError> {
    let pending = parts.records.pending_thumbnails(BATCH).await?;
    let done = pending.len();
    let mut failed = None;
    for picture in pending {
        let state = match make(parts, &picture).await {
            Ok(state) => state,
            Err(Trouble::Picture(error)) => {
                let blob = picture.id;
                tracing::info!(%blob, error.cause = %error, "a picture has no thumbnail");
                Thumbnail::Failed
            }
            Err(Trouble::Beneath(error)) => {
                failed = Some(error);
                Thumbnail::Pending
            }
        };
        parts.records.set_thumbnail(picture.id, state).await?;
    }
    failed.map_or(Ok(done), Err)
}

async fn make(parts: &Parts, picture: &BlobInfo) -> Result<Thumbnail, Trouble> {
    if picture.size > parts.studio.limits().file_bytes_max {
        return Err(ThumbnailError::TooLarge("bytes of the file").into());
    }
    let file = match whole(parts, picture.id, picture.size).await {
        Err(DepotError::Missing(path)) => {
            return Err(ThumbnailError::Undecodable(format!("{path} is gone")).into());
        }
        other => other?,
    };
    // Another node may have been at it since the queue was read, and its try would count here.
    let found = parts.records.blob(picture.id).await?;
    if let Some(found) = found
        && found.thumbnail != Thumbnail::Pending
    {
        return Ok(found.thumbnail);
    }
    // Counted before, because a picture that brings the process down would be the first one in the
    // queue after each restart, and bring it down again.
    let tries = parts.records.begin_thumbnail(picture.id).await?;
    if tries >= TRIES_MAX {
        let message = format!("the process ended with it {tries} times");
        return Err(ThumbnailError::Undecodable(message).into());
    }
    let small = parts.studio.make(file).await?;
    parts.depot.put(picture.id, Variant::Thumbnail, small.into()).await?;
    Ok(Thumbnail::Ready)
}

async fn whole(parts: &Parts, blob: BlobId, size: u64) -> Result<Bytes, DepotError> {
    let mut reader = parts.depot.read(blob, Variant::Original, 0..size).await?;
    let mut file = Vec::new();
    while let Some(piece) = reader.next().await? {
        file.extend_from_slice(&piece);
    }
    Ok(file.into())
}

impl From<ThumbnailError> for Trouble {
    fn from(error: ThumbnailError) -> Self {
        Self::Picture(error)
    }
}

impl From<DepotError> for Trouble {
    fn from(error: DepotError) -> Self {
        Self::Beneath(error.into())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Beneath(error.into())
    }
}
