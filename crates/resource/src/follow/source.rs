//! Where the bytes of an upload that is followed are, and how the next of them are read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use skein_blob::{
    depot::{PIECE_BYTES_MAX, Reader},
    spool::PART_BYTES,
};
use skein_core::{id::BlobId, port::resource::Variant};
use skein_store::coming::Followable;

use crate::{
    ResourceError,
    incoming::{Incoming, Lane},
    reach::Reach,
    role::{Parts, on_disk},
};

/// Where the bytes are.
pub(super) enum Source {
    /// A file beside the blobs, positioned at the next byte.
    Staged(Arc<File>),
    /// On their way to an object store, where nobody can read them yet.
    Spooled(Spooled),
    /// Complete, or complete but for the record that says so. `None` where no byte is wanted.
    Published(Option<Reader>),
}

/// The parts in the spool.
pub(super) struct Spooled {
    lane: Arc<Lane>,
    blob: BlobId,
    /// The part that is being read, positioned at the next byte.
    open: Option<(u64, Arc<File>)>,
}

impl Source {
    /// Looks where the bytes are, whose upload has come to `reach` here. `None` if they are nowhere
    /// just now.
    pub(super) async fn find(
        parts: &Parts,
        blob: BlobId,
        found: &Followable,
        reach: &Reach,
        range: Range<u64>,
    ) -> Result<Option<Self>, ResourceError> {
        match &parts.incoming {
            Incoming::Folder(staging) => {
                let (staging, start) = (staging.clone(), range.start);
                let staged = on_disk("read an upload", move || match staging.read(blob)? {
                    Some(file) => positioned(file, start).map(Some),
                    None => Ok(None),
                });
                if let Some(file) = staged.await? {
                    return Ok(Some(Self::Staged(file)));
                }
                let size = found.spec.size;
                let published = found.durable == size
                    && parts.depot.size(blob, Variant::Original).await? == Some(size);
                if published {
                    Self::published(parts, blob, range).await.map(Some)
                } else {
                    Ok(None)
                }
            }
            Incoming::Spool(lane) => {
                // At another node it may be going on, or has gone on while others that follow it
                // kept what was known here: then the record is ahead of this node. (Here a part is
                // received before it is recorded, and the record was read before the reach.)
                if !reach.opened || found.durable > reach.received {
                    return Ok(None);
                }
                let mut spooled = Spooled { lane: Arc::clone(lane), blob, open: None };
                let here = range.start >= reach.received || spooled.turn_to(range.start).await?;
                Ok(here.then_some(Self::Spooled(spooled)))
            }
        }
    }

    /// Reads from the depot.
    pub(super) async fn published(
        parts: &Parts,
        blob: BlobId,
        range: Range<u64>,
    ) -> Result<Self, ResourceError> {
        let wanted = !range.is_empty();
        let reader = parts.depot.read(blob, Variant::Original, range);
        Ok(Self::Published(if wanted { Some(reader.await?) } else { None }))
    }

    /// The next bytes, from `at` on, of `readable` that are there. None if they are not there after
    /// all.
    pub(super) async fn read(&mut self, at: u64, readable: u64) -> Result<Bytes, ResourceError> {
        let wanted = readable.min(PIECE_BYTES_MAX as u64);
        match self {
            Self::Staged(file) => read(Arc::clone(file), wanted).await,
            Self::Spooled(spooled) => {
                if !spooled.turn_to(at).await? {
                    return Ok(Bytes::new());
                }
                let Some((part, file)) = &spooled.open else { return Ok(Bytes::new()) };
                read(Arc::clone(file), wanted.min((part + 1) * PART_BYTES - at)).await
            }
            Self::Published(Some(reader)) => Ok(reader.next().await?.unwrap_or_default()),
            Self::Published(None) => Ok(Bytes::new()),
        }
    }
}

impl Spooled {
    /// Opens the part with the byte `at`, if it is not the open one. Whether it is here.
    async fn turn_to(&mut self, at: u64) -> Result<bool, ResourceError> {
        let part = at / PART_BYTES;
        if self.open.as_ref().is_none_or(|(open, _)| *open != part) {
            let (spool, blob) = (self.lane.spool.clone(), self.blob);
            let opened = on_disk("read an upload", move || match spool.open_part(blob, part)? {
                Some(file) => positioned(file, at % PART_BYTES).map(Some),
                None => Ok(None),
            });
            self.open = opened.await?.map(|file| (part, file));
        }
        Ok(self.open.is_some())
    }
}

fn positioned(mut file: File, start: u64) -> io::Result<Arc<File>> {
    file.seek(SeekFrom::Start(start))?;
    Ok(Arc::new(file))
}

async fn read(file: Arc<File>, wanted: u64) -> Result<Bytes, ResourceError> {
    on_disk("read an upload", move || {
        let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        file.as_ref().take(wanted).read_to_end(&mut piece)?;
        Ok(Bytes::from(piece))
    })
    .await
}
