//! Reading: the bytes of one object piece by piece, and the names of all of one kind page by page.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{GetOptions, GetResultPayload, ObjectMeta, path::Path as ObjectPath};
use skein_core::{id::BlobId, port::resource::Variant, time::Timestamp};
use tokio::task;

use super::{
    Depot, DepotError, folder, path,
    request::{Line, Operation},
};
use crate::staging::Found;

/// Bytes in one piece of a [`Reader`] at most.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Gives the bytes of one object, in order.
pub struct Reader {
    source: Source,
    left: u64,
}

/// The objects of one kind, read piece by piece.
pub struct Listing {
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    folder: ObjectPath,
    line: Line,
}

enum Source {
    File(Arc<File>),
    Stream(Stream),
}

/// A body under way from another machine. What the connection holds back is bounded by its own
/// buffers, as nothing reads ahead here.
struct Stream {
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    rest: Bytes,
    path: ObjectPath,
    line: Line,
}

impl Depot {
    /// Opens a range of the object, which must not be empty and must lie within it.
    ///
    /// # Errors
    /// [`DepotError::Missing`] if there is no such object.
    pub async fn read(
        &self,
        blob: BlobId,
        variant: Variant,
        range: Range<u64>,
    ) -> Result<Reader, DepotError> {
        let path = path(blob, variant);
        let options = GetOptions::new().with_range(Some(range));
        let opened = self.objects.get_opts(&path, options);
        let opened = self.line.ask(Operation::Open, &path, opened).await?;
        let range = opened.range.clone();
        let source = match opened.payload {
            // Its own stream would read 8 KiB at a time, each on a blocking thread.
            GetResultPayload::File(mut file, _) => Source::File(Arc::new(
                blocking("seek in a blob", move || {
                    file.seek(SeekFrom::Start(range.start)).map(|_| file)
                })
                .await?,
            )),
            GetResultPayload::Stream(pieces) => {
                Source::Stream(Stream { pieces, rest: Bytes::new(), path, line: self.line })
            }
        };
        Ok(Reader { source, left: opened.range.end - opened.range.start })
    }

    /// Begins to list the objects of one kind, in no particular order.
    #[must_use]
    pub fn list(&self, variant: Variant) -> Listing {
        let folder = ObjectPath::from(folder(variant));
        Listing { objects: self.objects.list(Some(&folder)), folder, line: self.line }
    }
}

impl Reader {
    /// Bytes that are still to come.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes, at most [`PIECE_BYTES_MAX`], or `None` after the last.
    ///
    /// # Errors
    /// If they cannot be read, or the object is shorter than it was when it was opened.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DepotError> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
        let piece = match &mut self.source {
            Source::File(file) => {
                let file = Arc::clone(file);
                blocking("read a blob", move || {
                    let mut piece = Vec::with_capacity(wanted);
                    file.as_ref().take(wanted as u64).read_to_end(&mut piece)?;
                    Ok(Bytes::from(piece))
                })
                .await?
            }
            Source::Stream(stream) => stream.next(wanted).await?,
        };
        if piece.is_empty() {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(DepotError::Disk { doing: "read a blob", source });
        }
        self.left -= piece.len() as u64;
        Ok(Some(piece))
    }
}

impl Stream {
    /// At most `wanted` bytes; none at the end.
    async fn next(&mut self, wanted: usize) -> Result<Bytes, DepotError> {
        if self.rest.is_empty() {
            let next = self.pieces.try_next();
            let next = self.line.ask(Operation::Read, &self.path, next).await?;
            self.rest = next.unwrap_or_default();
        }
        Ok(self.rest.split_to(self.rest.len().min(wanted)))
    }
}

impl Listing {
    /// The next objects, at most `limit`; fewer only at the end. Objects whose name is no blob id
    /// are somebody else's and left out.
    ///
    /// # Errors
    /// If the object store cannot be read on.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Found>, DepotError> {
        let mut page = Vec::new();
        while page.len() < limit {
            let next = async { self.objects.next().await.transpose() };
            let Some(object) = self.line.ask(Operation::List, &self.folder, next).await? else {
                break;
            };
            let blob = object.location.filename().and_then(|name| name.parse().ok());
            let Some(blob) = blob else { continue };
            let changed = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            page.push(Found { blob, changed: Timestamp(changed) });
        }
        Ok(page)
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DepotError> {
    let done = task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|source| DepotError::Disk { doing, source })
}
