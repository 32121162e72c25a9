//! Sends a file and then the message that shows it.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use skein_core::{
    coming::Destination,
    entry::{Content, Draft},
    id::{BlobId, ConversationId, EntryId, UploadId},
    port::resource::{Offsets, UploadSpec},
    transfer::{Patience, Upload},
};
use skein_net::{
    Connection,
    priority::Priority,
    stream::{Receiver, Sender, StreamError},
};
use skein_wire::pb::{self, upload_status::Kind};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::Notify,
};

use super::{Phase, Progress, Reporter, Stop, Watcher, in_time, path_of, source::Source};
use crate::{Client, Delivery, Error, home::UploadRecord};

/// A file on its way: what a try needs, and what one leaves to the next.
pub(super) struct Sending {
    conversation: ConversationId,
    source: Source,
    record: UploadRecord,
    upload: Mutex<Upload>,
    reporter: Reporter,
    /// Whether the file was sent again because its message came too late.
    repeated: bool,
}

impl From<&Sending> for Destination {
    fn from(sending: &Sending) -> Self {
        Self { conversation: sending.conversation, name: sending.source.name.clone() }
    }
}

/// One stream of an upload: the machine, and who waits for its window to move.
struct Flow<'a> {
    upload: &'a Mutex<Upload>,
    moved: Notify,
    reporter: &'a Reporter,
    connection: &'a Connection,
}

/// A complete upload.
struct Complete {
    blob: BlobId,
    /// Whether the server can read it as a picture.
    picture: bool,
}

impl Client {
    /// Sends a file to a conversation: as a picture if the server can read it as one. If the same
    /// file was being sent there before, in whatever process, it continues where that stopped.
    ///
    /// Returns once the server has the whole file and the message is kept; the delivery tells when
    /// the message is in the log. Until then, sending the same file is sending the same message. If
    /// the delivery ends with `not_found`, the server has thrown the file away, because the message
    /// did not come for so long: another call sends it again.
    ///
    /// # Errors
    /// If the file cannot be read or changes meanwhile, if the server refuses, or if too many
    /// tries in a row brought nothing; [`Error::InQueue`] if it is queued already.
    pub async fn send_file(
        &self,
        conversation: ConversationId,
        path: &Path,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Delivery, Error> {
        let given = path.to_owned();
        let source = blocking(move || Source::look(&given)).await?;
        if let Some(id) = self.home.queued_upload(source.key(), conversation).await? {
            return Err(Error::InQueue(id));
        }
        let sending = self.prepare_sending(conversation, source, None, Arc::new(progress)).await?;
        let mut patience = Patience::default();
        loop {
            let before = sending.received();
            let stop = match self.try_sending(&sending).await {
                Ok(delivery) => return Ok(delivery),
                Err(stop) => stop,
            };
            let received = sending.received();
            let delay = stop.next_try(&mut patience, received > before)?;
            // Where the session has moved there is nothing to wait for.
            if !delay.is_zero() {
                sending.reporter.report(Phase::Waiting, received);
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Finds out what the file is, and whether it is on its way already. A new upload gets these ids,
    /// if any are given.
    pub(super) async fn prepare_sending(
        &self,
        conversation: ConversationId,
        source: Source,
        ids: Option<(UploadId, EntryId)>,
        watcher: Watcher,
    ) -> Result<Sending, Error> {
        let reporter = Reporter::new(watcher, Some(source.size));
        let known = self.home.upload(source.key(), conversation).await?;
        let known = known.filter(|record| {
            source.is_as(record.size, record.mtime_ns)
                && ids.is_none_or(|ids| ids == (record.upload, record.entry))
        });
        let (record, reporter) = match known {
            Some(record) => (record, reporter),
            None => self.hash(conversation, &source, ids, reporter).await?,
        };
        let upload = Mutex::new(Upload::new(source.size));
        Ok(Sending { conversation, source, record, upload, reporter, repeated: false })
    }

    async fn hash(
        &self,
        conversation: ConversationId,
        source: &Source,
        ids: Option<(UploadId, EntryId)>,
        reporter: Reporter,
    ) -> Result<(UploadRecord, Reporter), Error> {
        let hashed = source.clone();
        let (hash, media_type, reporter) = blocking(move || {
            let found = hashed.hash(|done| reporter.report(Phase::Hashing, done));
            found.map(|(hash, media_type)| (hash, media_type, reporter))
        })
        .await?;
        let (upload, entry) =
            ids.unwrap_or_else(|| (UploadId(rand::random()), EntryId(rand::random())));
        let record = UploadRecord {
            path: source.key(),
            conversation,
            size: source.size,
            mtime_ns: source.mtime_ns,
            hash,
            media_type,
            upload,
            entry,
        };
        self.home.keep_upload(record.clone()).await?;
        Ok((record, reporter))
    }

    /// Sends what the server does not have, and then the message that shows the file.
    pub(super) async fn try_sending(&self, sending: &Sending) -> Result<Delivery, Stop> {
        let Sending { conversation, source, record, reporter, .. } = sending;
        if let Some(draft) = self.home.draft(record.entry).await? {
            // The whole file was there before; only its message is still on its way.
            reporter.begin(Phase::Opened, source.size);
            return Ok(self.send(draft).await?);
        }
        let Complete { blob, picture } = match self.try_upload(sending).await {
            Ok(complete) => complete,
            Err(stop) => {
                if !stop.may_continue() {
                    self.home.forget_upload(record.upload).await?;
                }
                return Err(stop);
            }
        };
        let name = source.name.clone();
        let content =
            if picture { Content::Picture { blob, name } } else { Content::File { blob, name } };
        // The upload is forgotten once this is in the log: should the server throw the file away
        // before that, the next try sends it again.
        let draft = Draft { conversation: *conversation, id: record.entry, content };
        Ok(self.send(draft).await?)
    }

    /// Opens the upload on a new stream and sends until it is complete or something breaks.
    async fn try_upload(&self, sending: &Sending) -> Result<Complete, Stop> {
        let Sending { source, record, upload, reporter, .. } = sending;
        let Some(mut current) = self.transfer_connection().await? else { return Err(Stop::Lost) };
        let connection = current.connection.clone();
        let spec = UploadSpec {
            id: record.upload,
            size: record.size,
            media_type: record.media_type.clone(),
            hash: record.hash,
        };
        let flow = Flow { upload, moved: Notify::new(), reporter, connection: &connection };
        let outcome = async {
            let (mut sender, mut receiver) = connection.open(Priority::Bulk).await?;
            let mut open = pb::UploadOpen::from(spec);
            open.destination = Some(Destination::from(sending).into());
            let open = pb::Open { kind: Some(pb::open::Kind::Upload(open)) };
            sender.frame(&open).await?;
            match flow.listen(&mut receiver, true).await? {
                Said::Ready => {}
                Said::Over(result) => return Ok(result),
            }
            let offset = lock(upload).offsets().received;
            sender.frame(&pb::UploadBegin { offset }).await?;
            tokio::select! {
                said = flow.listen(&mut receiver, false) => match said? {
                    Said::Ready => Err(StreamError::Abandoned(None)),
                    Said::Over(result) => Ok(result),
                },
                failed = flow.send(&mut sender, source, offset) => Ok(Err(failed)),
            }
        };
        let outcome = tokio::select! {
            outcome = outcome => outcome,
            () = current.moved() => return Err(Stop::Moved),
        };
        match outcome {
            Ok(Ok(complete)) => Ok(complete),
            Ok(Err(Error::Refused(refusal))) => Err(Stop::Refused(refusal)),
            Ok(Err(error)) => Err(Stop::Failed(error)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Sending {
    /// Bytes that the server has.
    pub(super) fn received(&self) -> u64 {
        lock(&self.upload).offsets().received
    }

    /// Whether the file may be sent again because its message came too late: once.
    pub(super) fn may_repeat(&mut self) -> bool {
        !std::mem::replace(&mut self.repeated, true)
    }
}

/// What the server's side of the stream comes to.
enum Said {
    /// It names the offset to send from.
    Ready,
    /// It is complete, or refused.
    Over(Result<Complete, Error>),
}

impl Flow<'_> {
    /// Takes in what the server says: until it is ready if `opening`, else until it is over.
    async fn listen(&self, receiver: &mut Receiver, opening: bool) -> Result<Said, StreamError> {
        loop {
            let status = in_time(self.connection, receiver.frame::<pb::UploadStatus>()).await;
            // A server that does not speak is as good as gone.
            let Some(status) = status else { return Err(StreamError::Abandoned(None)) };
            let Some(status) = status? else { return Err(StreamError::Abandoned(None)) };
            match status.kind {
                Some(Kind::Ready(ready)) if opening => {
                    let offsets = Offsets { received: ready.received, durable: ready.durable };
                    let accepted = lock(self.upload).handle_ready(offsets);
                    if let Err(bad) = accepted {
                        return Ok(Said::Over(Err(Error::BadAnswer(bad.to_string()))));
                    }
                    self.reporter.begin(Phase::Opened, offsets.received);
                    return Ok(Said::Ready);
                }
                Some(Kind::Progress(progress)) => {
                    let offsets =
                        Offsets { received: progress.received, durable: progress.durable };
                    let (path, now) = (path_of(self.connection), self.reporter.now());
                    let accepted = lock(self.upload).handle_progress(offsets, path, now);
                    if let Err(bad) = accepted {
                        return Ok(Said::Over(Err(Error::BadAnswer(bad.to_string()))));
                    }
                    self.reporter.report(Phase::Sending, offsets.received);
                    self.moved.notify_one();
                }
                Some(Kind::Complete(complete)) => {
                    let blob = BlobId::try_from(&complete.blob[..]);
                    let picture = complete.width > 0 && complete.height > 0;
                    return Ok(Said::Over(match blob {
                        Ok(blob) => Ok(Complete { blob, picture }),
                        Err(bad) => Err(Error::BadAnswer(bad.to_string())),
                    }));
                }
                Some(Kind::Error(error)) => {
                    return Ok(Said::Over(Err(Error::Refused(error.into()))));
                }
                Some(Kind::Ready(_)) | None => {}
            }
        }
    }

    /// Sends from `offset` on, as fast as the server takes it in. Answers only what is wrong
    /// with the file: what is wrong with the stream, the listening side learns with its reason.
    async fn send(&self, sender: &mut Sender, source: &Source, offset: u64) -> Error {
        let path = &source.path;
        let opened = tokio::fs::File::open(path).await;
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => return Error::file(path)(error),
        };
        if let Err(error) = file.seek(std::io::SeekFrom::Start(offset)).await {
            return Error::file(path)(error);
        }
        loop {
            let next = {
                let mut upload = lock(self.upload);
                let next = upload.poll_send(self.reporter.now());
                self.reporter.resent(upload.resent());
                next
            };
            let Some(range) = next else {
                if lock(self.upload).is_sent() {
                    break;
                }
                self.moved.notified().await;
                continue;
            };
            let mut piece = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
            if file.read_exact(&mut piece).await.is_err() {
                return Error::FileChanged(path.clone());
            }
            if sender.bytes(Bytes::from(piece)).await.is_err() {
                return std::future::pending().await;
            }
        }
        let checked = source.clone();
        let unchanged = tokio::task::spawn_blocking(move || checked.is_unchanged()).await;
        if !unchanged.unwrap_or(false) {
            return Error::FileChanged(path.clone());
        }
        sender.finish();
        std::future::pending().await
    }
}

/// Does what blocks off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(job).await.map_err(Error::home)?
}

fn lock(upload: &Mutex<Upload>) -> MutexGuard<'_, Upload> {
    upload.lock().unwrap_or_else(PoisonError::into_inner)
}
