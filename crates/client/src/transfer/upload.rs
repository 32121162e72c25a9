//! Sends a file and then the message that shows it.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use skein_core::{
    entry::{Content, Draft},
    id::{BlobId, ConversationId, EntryId, UploadId},
    port::resource::{Offsets, UploadSpec},
    refusal::Code,
    transfer::{Patience, Upload},
};
use skein_net::{
    priority::Priority,
    stream::{Receiver, Sender, StreamError},
};
use skein_wire::pb::{self, upload_status::Kind};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::Notify,
};

use super::{PIECE_BYTES, Phase, Progress, Reporter, STALL_TIMEOUT, Stop, source::Source};
use crate::{Client, Delivery, Error, home::UploadRecord};

/// One stream of an upload: the machine, and who waits for its window to move.
struct Flow<'a> {
    upload: &'a Mutex<Upload>,
    moved: Notify,
    reporter: &'a Reporter<'a>,
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
    /// tries in a row brought nothing.
    pub async fn send_file(
        &self,
        conversation: ConversationId,
        path: &Path,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Delivery, Error> {
        let progress = std::sync::Arc::new(progress);
        let (source, record) = self.prepare(conversation, path, progress.clone()).await?;
        let watcher = move |now| progress(now);
        let reporter = Reporter::new(&watcher, Some(source.size));
        if let Some(draft) = self.home.draft(record.entry).await? {
            // The whole file was there before; only its message is still on its way.
            reporter.begin(Phase::Opened, source.size);
            return self.send(draft).await;
        }
        let sent = self.upload(&source, &record, &reporter).await;
        let complete = match sent {
            Ok(complete) => complete,
            Err(error) => {
                if !may_continue(&error) {
                    self.home.forget_upload(record.upload).await?;
                }
                return Err(error);
            }
        };
        let (blob, name) = (complete.blob, source.name);
        let content = if complete.picture {
            Content::Picture { blob, name }
        } else {
            Content::File { blob, name }
        };
        // The upload is forgotten once this is in the log: should the server throw the file away
        // before that, a repeat of this call sends it again.
        self.send(Draft { conversation, id: record.entry, content }).await
    }

    /// Finds out what the file is, and whether it is on its way already.
    async fn prepare(
        &self,
        conversation: ConversationId,
        path: &Path,
        progress: std::sync::Arc<impl Fn(Progress) + Send + Sync + 'static>,
    ) -> Result<(Source, UploadRecord), Error> {
        let given = path.to_owned();
        let source = blocking(move || Source::look(&given)).await?;
        let key = source.path.to_string_lossy().into_owned();
        if let Some(record) = self.home.upload(key.clone(), conversation).await?
            && (record.size, record.mtime_ns) == (source.size, source.mtime_ns)
        {
            return Ok((source, record));
        }
        let hashed = source.clone();
        let (hash, media_type) = blocking(move || {
            let watcher = move |now| progress(now);
            let reporter = Reporter::new(&watcher, Some(hashed.size));
            hashed.hash(|done| reporter.report(Phase::Hashing, done))
        })
        .await?;
        let record = UploadRecord {
            path: key,
            conversation,
            size: source.size,
            mtime_ns: source.mtime_ns,
            hash,
            media_type,
            upload: UploadId(rand::random()),
            entry: EntryId(rand::random()),
        };
        self.home.keep_upload(record.clone()).await?;
        Ok((source, record))
    }

    async fn upload(
        &self,
        source: &Source,
        record: &UploadRecord,
        reporter: &Reporter<'_>,
    ) -> Result<Complete, Error> {
        let upload = Mutex::new(Upload::new(source.size));
        let mut patience = Patience::default();
        loop {
            let before = lock(&upload).offsets().received;
            let stop = match self.try_upload(source, record, &upload, reporter).await {
                Ok(complete) => return Ok(complete),
                Err(stop) => stop,
            };
            let received = lock(&upload).offsets().received;
            let delay = stop.next_try(&mut patience, received > before)?;
            // Where the session has moved there is nothing to wait for.
            if !delay.is_zero() {
                reporter.report(Phase::Waiting, received);
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Opens the upload on a new stream and sends until it is complete or something breaks.
    async fn try_upload(
        &self,
        source: &Source,
        record: &UploadRecord,
        upload: &Mutex<Upload>,
        reporter: &Reporter<'_>,
    ) -> Result<Complete, Stop> {
        let Some(mut current) = self.transfer_connection().await? else { return Err(Stop::Lost) };
        let connection = current.connection.clone();
        let spec = UploadSpec {
            id: record.upload,
            size: record.size,
            media_type: record.media_type.clone(),
            hash: record.hash,
        };
        let flow = Flow { upload, moved: Notify::new(), reporter };
        let outcome = async {
            let (mut sender, mut receiver) = connection.open(Priority::Bulk).await?;
            let open = pb::Open { kind: Some(pb::open::Kind::Upload(spec.into())) };
            sender.frame(&open).await?;
            tokio::select! {
                biased;
                said = flow.listen(&mut receiver, true) => match said? {
                    Said::Ready => {}
                    Said::Over(result) => return Ok(result),
                },
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
            let status = tokio::time::timeout(STALL_TIMEOUT, receiver.frame::<pb::UploadStatus>());
            // A server that does not speak is as good as gone.
            let Ok(status) = status.await else { return Err(StreamError::Abandoned(None)) };
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
                    let accepted = lock(self.upload).handle_progress(offsets);
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
            let next = lock(self.upload).poll_send(PIECE_BYTES as u64);
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

/// Whether sending the same file again would continue this upload. Where not, it must begin anew.
fn may_continue(error: &Error) -> bool {
    match error {
        Error::FileChanged(_) => false,
        Error::Refused(refusal) => {
            !matches!(refusal.code, Code::WrongHash | Code::UploadConflict | Code::BeyondSize)
        }
        _ => true,
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(job).await.map_err(Error::home)?
}

fn lock(upload: &Mutex<Upload>) -> MutexGuard<'_, Upload> {
    upload.lock().unwrap_or_else(PoisonError::into_inner)
}
