//! Downloads that follow an upload: what is here at once, and the rest as it is received.
//!
//! The bytes are read where the upload has put them. Beside the blobs that is the staged file, whose
//! open handle stays good when the file is renamed into the depot, so that there is no moment of
//! change. On the way to an object store it is the spool, where the parts of uploads that are meant
//! for somebody stay for a while (`kept`); once the blob is complete the rest comes from the object.
//!
//! Nobody has checked the hash yet: that is why the end of the source waits until the blob is
//! complete, and becomes an error if it never will be. A follower has one piece in memory, reads it
//! when it is asked for the next, and is woken by the upload (`reach`); between the two it holds a
//! file and nothing else.

mod source;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use metrics::counter;
use skein_core::{
    id::BlobId,
    limit::FOLLOW_IDLE_TIMEOUT,
    port::resource::{DownloadSource, OpenDownload, UploadOf, Variant},
    refusal::{Code, Refusal},
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

use self::source::Source;
use crate::{
    ResourceError, download,
    incoming::Incoming,
    metric,
    reach::{End, Hold, Reach},
    role::{Parts, draining},
};

/// How often it is looked where the bytes of an upload are, which may be moving just then.
const LOOKS_MAX: usize = 3;
/// When to ask again for what cannot be followed now.
const LATER: Duration = Duration::from_secs(5);

/// Gives the bytes of an upload.
struct Following {
    parts: Arc<Parts>,
    blob: BlobId,
    /// Before it is dropped, nobody takes the reach out of the table.
    _hold: Hold,
    _place: OwnedSemaphorePermit,
    reach: watch::Receiver<Reach>,
    /// That of the reach when it was opened.
    epoch: u64,
    source: Source,
    /// The next byte.
    at: u64,
    /// The byte after the last that was asked for.
    end: u64,
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
        let mut reach = hold.listen();
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
        let end = offset + length;
        let now = reach.borrow_and_update().clone();
        let source = Source::find(parts, blob, &found, &now, offset..end).await;
        let Some(source) = source.map_err(ResourceError::into_refusal)? else { continue };
        let place = Arc::clone(&parts.followers).try_acquire_owned().map_err(|_| not_now())?;
        if let Incoming::Folder(_) = parts.incoming {
            // What the record covers was received, whether or not somebody has it open here.
            parts.reaches.received(blob, found.durable);
        }
        let parts = Arc::clone(parts);
        let epoch = now.epoch;
        let following = Following {
            parts,
            blob,
            _hold: hold,
            _place: place,
            reach,
            epoch,
            source,
            at: offset,
            end,
        };
        let (media_type, hash) = (found.spec.media_type, Some(found.spec.hash));
        return Ok(OpenDownload { size, media_type, hash, length, source: Box::new(following) });
    }
    Err(not_now())
}

#[async_trait]
impl DownloadSource for Following {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let reach = self.reach.borrow_and_update().clone();
            self.check(&reach)?;
            let Reach { received, end, .. } = reach;
            let readable = match end {
                Some(End::Complete) if self.at == self.end => return Ok(None),
                Some(End::Complete) => {
                    self.turn_to_depot().await?;
                    self.end
                }
                _ => received.min(self.end),
            };
            if self.at < readable {
                match self.read(readable - self.at).await? {
                    Some(piece) => return Ok(Some(piece)),
                    // What was here has moved on just now.
                    None if self.reach.has_changed().unwrap_or(false) => continue,
                    None => return Err(not_now()),
                }
            }
            let changed = timeout(FOLLOW_IDLE_TIMEOUT, self.reach.changed());
            tokio::select! {
                changed = changed => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Refusal::internal()),
                    Err(_) => return Err(self.silent(received).await),
                },
                () = self.parts.shutdown.begun() => return Err(draining()),
            }
        }
    }
}

impl Following {
    /// Whether what is here goes on from what was given.
    fn check(&self, reach: &Reach) -> Result<(), Refusal> {
        match &reach.end {
            Some(End::Broken(refusal)) => Err(refusal.clone()),
            _ if reach.epoch != self.epoch => Err(not_now()),
            _ => Ok(()),
        }
    }

    /// Why nothing was heard of the upload, of which so much was received here.
    async fn silent(&mut self, received: u64) -> Refusal {
        match self.parts.records.upload_of(self.blob).await {
            Ok(Some(found)) if found.durable > received => not_now(),
            Ok(_) => stalled(),
            Err(error) => error.into_refusal(),
        }
    }

    /// The next bytes, of `readable` that are there. `None` if they are not there after all.
    async fn read(&mut self, readable: u64) -> Result<Option<Bytes>, Refusal> {
        let piece = self.source.read(self.at, readable).await;
        let piece = piece.map_err(ResourceError::into_refusal)?;
        // While it was read, the upload may have begun anew.
        self.check(&self.reach.borrow())?;
        self.at += piece.len() as u64;
        counter!(metric::SENT_BYTES).increment(piece.len() as u64);
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// The parts in the spool are going; the object has all.
    async fn turn_to_depot(&mut self) -> Result<(), Refusal> {
        if matches!(self.source, Source::Spooled(_)) {
            let published = Source::published(&self.parts, self.blob, self.at..self.end).await;
            self.source = published.map_err(ResourceError::into_refusal)?;
        }
        Ok(())
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
