//! The role itself: its parts, how it starts, and its face to the chat nodes.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use skein_blob::{
    depot::Depot,
    thumbnail::{Limits, Studio},
};
use skein_core::{
    id::{AccountId, BlobId, UploadId},
    port::resource::{
        FOLLOWERS_MAX, OpenDownload, OpenUpload, Resource, UploadOf, UploadSpec, Variant,
    },
    refusal::{Code, Refusal},
    time::{Clock, Timestamp},
};
use skein_ops::lifecycle::Shutdown;
use skein_store::{blob, coming::ComingFiles, upload::Uploads};
use tokio::{
    sync::{Mutex, Notify, Semaphore, oneshot},
    task,
};

use crate::{
    Blobs, Config, ResourceError, download, follow,
    incoming::Incoming,
    reach::Reaches,
    sweep::{self, Places, Swept},
    table::Table,
    thumbnail, upload,
};

/// What the role needs of a store.
pub trait Records: Uploads + ComingFiles + blob::Blobs + 'static {}

impl<T: Uploads + ComingFiles + blob::Blobs + 'static> Records for T {}

/// Keeps blobs. Ends with the [`Shutdown`] that it was started with.
pub struct ResourceRole {
    parts: Arc<Parts>,
}

/// What every task of the role works with.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) incoming: Incoming,
    pub(crate) depot: Depot,
    pub(crate) studio: Studio,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: Shutdown,
    pub(crate) table: Arc<Table>,
    /// How far the uploads have come that are open or followed.
    pub(crate) reaches: Arc<Reaches>,
    /// Turns to follow one.
    pub(crate) followers: Arc<Semaphore>,
    /// Told when a picture was completed.
    pub(crate) pictures: Notify,
    /// Where the sweeper goes on in the next round; taken while a round runs.
    pub(crate) places: Mutex<Places>,
}

impl ResourceRole {
    /// Starts the role, and its background tasks. Folders that `blobs` names are created if needed; an
    /// object store need not be reachable yet. Call it within a tokio runtime; it blocks for a few
    /// disk operations.
    ///
    /// # Errors
    /// If the folder, or the configuration of the object store, cannot be used.
    pub fn start(
        config: Config,
        records: Arc<dyn Records>,
        blobs: Blobs,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, ResourceError> {
        let (incoming, depot) = Incoming::open(blobs)?;
        let parts = Arc::new(Parts {
            config,
            records,
            depot,
            incoming,
            studio: Studio::new(Limits::DEFAULT),
            clock,
            shutdown: shutdown.clone(),
            table: Arc::default(),
            reaches: Arc::default(),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            pictures: Notify::new(),
            places: Mutex::default(),
        });
        shutdown.spawn(thumbnail::run(Arc::clone(&parts)));
        shutdown.spawn(sweep::release_found(Arc::clone(&parts)));
        shutdown.spawn(sweep::run(Arc::clone(&parts)));
        Ok(Arc::new(Self { parts }))
    }

    /// Uploads that are open in this process.
    #[must_use]
    pub fn live_uploads(&self) -> usize {
        self.parts.table.len()
    }

    /// Whether blobs can be reached: for whoever asks if this node can do its work.
    ///
    /// # Errors
    /// If the object store does not answer.
    pub async fn reach(&self) -> Result<(), ResourceError> {
        Ok(self.parts.depot.reach().await?)
    }

    /// Runs one round of throwing away, as if the time were `now`.
    ///
    /// # Errors
    /// If the store or the disk failed; what was done until then stays done.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, ResourceError> {
        sweep::round(&self.parts, now).await
    }

    #[cfg(test)]
    pub(crate) const fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }
}

#[async_trait]
impl Resource for ResourceRole {
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
    ) -> Result<OpenUpload, Refusal> {
        if self.parts.shutdown.has_begun() {
            return Err(draining());
        }
        upload::open(Arc::clone(&self.parts), account, spec).await
    }

    async fn discard_upload(&self, account: AccountId, id: UploadId) -> Result<(), Refusal> {
        upload::discard(Arc::clone(&self.parts), account, id).await
    }

    async fn open_download(
        &self,
        blob: BlobId,
        variant: Variant,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        download::open(&self.parts, blob, variant, offset, length).await
    }

    async fn follow_upload(
        &self,
        upload: UploadOf,
        offset: u64,
        length: Option<u64>,
    ) -> Result<OpenDownload, Refusal> {
        follow::open(&self.parts, upload, offset, length).await
    }
}

impl Parts {
    /// Does the work in a task of its own, so that it goes on when whoever asked is gone: half of a
    /// write, or of the steps that make a blob visible, must not be left to be dropped.
    pub(crate) async fn to_end<T: Send + 'static, E: Into<ResourceError>>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.shutdown.spawn(async move {
            let done = work.await.map_err(|error| error.into().into_refusal());
            if answer.send(done).is_err() {
                tracing::debug!("whoever asked has gone before the answer");
            }
        });
        match answered.await {
            Ok(result) => result,
            Err(_) if self.shutdown.has_begun() => Err(draining()),
            Err(_) => Err(Refusal::internal()),
        }
    }
}

/// Runs work on the disk off the async threads.
pub(crate) async fn on_disk<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ResourceError> {
    let done = task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(ResourceError::disk(doing))
}

pub(crate) fn draining() -> Refusal {
    Refusal::new(Code::Draining, "the server is going away; try again in a moment")
}
