//! Downloads that follow an upload: what is here at once, and the rest as it is received.
//!
//! The bytes are read where the upload has put them: from the staged file, whose open handle stays
//! good when the file is renamed into the depot. So there is no moment of change and no gap. Nobody
//! has checked their hash yet: that is why the end of the source waits until the blob is complete,
//! and becomes an error if it never will be. A follower has one piece in memory, reads it when it is
//! asked for the next, and is woken by the upload; between the two it holds a file and nothing else.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use metrics::counter;
use skein_blob::depot::{PIECE_BYTES_MAX, Reader};
use skein_core::{
    id::BlobId,
    limit::FOLLOW_IDLE_TIMEOUT,
    port::resource::{DownloadSource, OpenDownload, UploadOf, Variant},
    refusal::{Code, Refusal},
};
use skein_store::coming::Followable;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

use crate::{
    ResourceError, download,
    incoming::Incoming,
    metric,
    reach::{End, Hold, Reach},
    role::{Parts, draining, on_disk},
};

/// Downloads that follow uploads in one process: each holds a file open for as long as a sender may
/// take.
pub(crate) const FOLLOWERS_MAX: usize = 1024;
/// How often it is looked where the bytes of an upload are, which may be moving just then.
const LOOKS_MAX: usize = 3;
/// When to ask again for what cannot be followed now.
const LATER: Duration = Duration::from_secs(5);

/// Gives the bytes of an upload.
struct Following {
    parts: Arc<Parts>,
    /// Before it is dropped, nobody takes the reach out of the table.
    _hold: Hold,
    _place: OwnedSemaphorePermit,
    reach: watch::Receiver<Reach>,
    bytes: Source,
    /// The next byte.
    at: u64,
    /// The byte after the last that was asked for.
    end: u64,
}

/// Where the bytes are.
enum Source {
    /// A file beside the blobs, positioned at the next byte.
    Staged(Arc<File>),
    /// Complete already, but for the record that says so.
    Published(Option<Reader>),
}

/// See [`Resource::follow_upload`](skein_core::port::resource::Resource::follow_upload).
pub(crate) async fn open(
    parts: &Arc<Parts>,
    upload: UploadOf,
    offset: u64,
    length: Option<u64>,
) -> Result<OpenDownload, Refusal> {
    let UploadOf { account, id, blob } = upload;
    let records = &parts.records;
    for _ in 0..LOOKS_MAX {
        // First: whatever happens from here on is heard of.
        let hold = parts.reaches.hold(blob);
        let complete = records.blob(blob).await.map_err(|error| error.into_refusal())?;
        if complete.is_some() {
            return download::open(parts, blob, Variant::Original, offset, length).await;
        }
        let found = records.upload_of(blob).await.map_err(|error| error.into_refusal())?;
        let found = found.filter(|found| found.account == account && found.spec.id == id);
        let found = found.ok_or_else(|| Refusal::not_found("file"))?;
        let size = found.spec.size;
        let left = download::left(size, offset)?;
        let length = length.map_or(left, |length| length.min(left));
        let bytes = source(parts, blob, &found, offset..offset + length).await;
        let Some(bytes) = bytes.map_err(ResourceError::into_refusal)? else { continue };
        let place = Arc::clone(&parts.followers).try_acquire_owned().map_err(|_| not_now())?;
        if let Incoming::Folder(_) = parts.incoming {
            // What the record covers was received, whether or not somebody has it open here.
            parts.reaches.received(blob, found.durable);
        }
        let (parts, reach) = (Arc::clone(parts), hold.listen());
        let end = offset + length;
        let following =
            Following { parts, _hold: hold, _place: place, reach, bytes, at: offset, end };
        let (media_type, hash) = (found.spec.media_type, Some(found.spec.hash));
        return Ok(OpenDownload { size, media_type, hash, length, source: Box::new(following) });
    }
    Err(not_now())
}

/// Where the bytes are, if they are anywhere just now.
async fn source(
    parts: &Parts,
    blob: BlobId,
    found: &Followable,
    range: std::ops::Range<u64>,
) -> Result<Option<Source>, ResourceError> {
    let Incoming::Folder(staging) = &parts.incoming else { return Ok(None) };
    let (staging, start) = (staging.clone(), range.start);
    let staged = on_disk("read an upload", move || {
        let Some(mut file) = staging.read(blob)? else { return Ok(None) };
        file.seek(SeekFrom::Start(start))?;
        Ok(Some(Source::Staged(Arc::new(file))))
    });
    if let Some(staged) = staged.await? {
        return Ok(Some(staged));
    }
    let size = found.spec.size;
    if found.durable < size || parts.depot.size(blob, Variant::Original).await? != Some(size) {
        return Ok(None);
    }
    let reader = if range.is_empty() {
        None
    } else {
        Some(parts.depot.read(blob, Variant::Original, range).await?)
    };
    Ok(Some(Source::Published(reader)))
}

#[async_trait]
impl DownloadSource for Following {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Reach { received, end } = self.reach.borrow_and_update().clone();
            let readable = match end {
                Some(End::Broken(refusal)) => return Err(refusal),
                Some(End::Complete) if self.at == self.end => return Ok(None),
                Some(End::Complete) => self.end,
                None => received.min(self.end),
            };
            if self.at < readable {
                return self.read(readable - self.at).await.map(Some);
            }
            let changed = timeout(FOLLOW_IDLE_TIMEOUT, self.reach.changed());
            tokio::select! {
                changed = changed => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Refusal::internal()),
                    Err(_) => return Err(stalled()),
                },
                () = self.parts.shutdown.begun() => return Err(draining()),
            }
        }
    }
}

impl Following {
    /// The next bytes, of `readable` that are there.
    async fn read(&mut self, readable: u64) -> Result<Bytes, Refusal> {
        let wanted = usize::try_from(readable).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
        let piece = match &mut self.bytes {
            Source::Staged(file) => {
                let file = Arc::clone(file);
                on_disk("read an upload", move || {
                    let mut piece = Vec::with_capacity(wanted);
                    file.as_ref().take(wanted as u64).read_to_end(&mut piece)?;
                    Ok(Bytes::from(piece))
                })
                .await
            }
            Source::Published(reader) => match reader {
                Some(reader) => reader.next().await.map(Option::unwrap_or_default),
                None => Ok(Bytes::new()),
            }
            .map_err(ResourceError::from),
        };
        let piece = piece.map_err(ResourceError::into_refusal)?;
        if piece.is_empty() {
            // The upload begins anew, and what was here is gone.
            return Err(not_now());
        }
        self.at += piece.len() as u64;
        counter!(metric::SENT_BYTES).increment(piece.len() as u64);
        Ok(piece)
    }
}

fn stalled() -> Refusal {
    let seconds = FOLLOW_IDLE_TIMEOUT.as_secs();
    let message = format!("the sender has sent nothing for {seconds} seconds; try again later");
    Refusal::new(Code::TimedOut, message)
}

/// What is here cannot be followed, and may be later; at the latest when it is complete.
pub(crate) fn not_now() -> Refusal {
    let message = "the file cannot be read before it is complete just now; try again later";
    let refusal = Refusal::new(Code::Unavailable, message);
    Refusal { retry_after: Some(LATER), ..refusal }
}
