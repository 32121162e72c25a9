//! Where the bytes of uploads lie until they are blobs: beside the blobs, to be renamed into place,
//! or in a spool from which they go to an object store in parts.

use std::{sync::Arc, time::Duration};

use skein_blob::{
    depot::{Depot, DepotError},
    multipart::{Multipart, PARTS_MAX},
    spool::{PART_BYTES, Spool},
    staging::{Listing, Staging},
};
use skein_core::{id::BlobId, refusal::Refusal};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{Blobs, ResourceError, kept::Kept, role::on_disk};

/// Parts, and small files, that go to the object store at a time: each is in memory meanwhile, so
/// these are 64 MiB at most.
const PARTS_UNDER_WAY_MAX: usize = 8;
/// How long a part waits to be one of them: where the object store hangs, each of them takes its
/// whole deadline, and whoever waits must not wait for all of those.
const PLACE_TIMEOUT: Duration = Duration::from_secs(8);

/// Where uploads lie.
#[derive(Clone)]
pub(crate) enum Incoming {
    /// One file each, beside the blobs.
    Folder(Staging),
    /// On their way to an object store.
    Spool(Arc<Lane>),
}

/// The way to an object store.
pub(crate) struct Lane {
    pub(crate) spool: Spool,
    pub(crate) multipart: Multipart,
    pub(crate) kept: Kept,
    places: Semaphore,
}

impl Lane {
    /// A place for one part, to be held while it is in memory.
    pub(crate) async fn place(&self) -> Result<SemaphorePermit<'_>, ResourceError> {
        let doing = "take one more part at a time";
        match timeout(PLACE_TIMEOUT, self.places.acquire()).await {
            Ok(place) => Ok(place.map_err(|_| Refusal::internal())?),
            Err(late) => Err(DepotError::Unavailable { doing, source: late.into() }.into()),
        }
    }
}

impl Incoming {
    /// Opens what the configuration names, and the depot that it leads to. Blocks.
    pub(crate) fn open(blobs: Blobs) -> Result<(Self, Depot), ResourceError> {
        match blobs {
            Blobs::Folder(root) => {
                // First, as it creates the root.
                let depot = Depot::local(&root)?;
                let staging = Staging::open(&root).map_err(ResourceError::disk("open staging"))?;
                Ok((Self::Folder(staging), depot))
            }
            Blobs::S3 { config, staging } => {
                let depot = Depot::s3(&config)?;
                let spool = Spool::open(&staging).map_err(ResourceError::disk("open staging"))?;
                let multipart = depot.multipart().cloned().ok_or_else(ResourceError::no_parts)?;
                let places = Semaphore::new(PARTS_UNDER_WAY_MAX);
                let kept = Kept::default();
                Ok((Self::Spool(Arc::new(Lane { spool, multipart, kept, places })), depot))
            }
        }
    }

    /// Bytes of one file that can be taken at most.
    pub(crate) const fn file_bytes_max(&self) -> u64 {
        match self {
            Self::Folder(_) => u64::MAX,
            Self::Spool(_) => PARTS_MAX * PART_BYTES,
        }
    }

    /// Removes what is here of an upload.
    pub(crate) async fn remove(&self, blob: BlobId) -> Result<(), ResourceError> {
        let doing = "remove an upload";
        match self {
            Self::Folder(staging) => {
                let staging = staging.clone();
                on_disk(doing, move || staging.remove(blob)).await.map(|_| ())
            }
            Self::Spool(lane) => {
                let spool = lane.spool.clone();
                on_disk(doing, move || spool.remove(blob)).await?;
                lane.kept.forget(blob);
                Ok(())
            }
        }
    }

    /// Begins to list the uploads that have something here.
    pub(crate) async fn list(&self) -> Result<Listing, ResourceError> {
        let doing = "list uploads";
        match self {
            Self::Folder(staging) => {
                let staging = staging.clone();
                on_disk(doing, move || staging.list()).await
            }
            Self::Spool(lane) => {
                let spool = lane.spool.clone();
                on_disk(doing, move || spool.list()).await
            }
        }
    }
}
