//! The queue of transfers in the background: it outlives the process, and whichever process is
//! connected and has said [`Client::run_transfers`] carries it out.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use skein_core::{
    entry::Attachment,
    id::{ConversationId, EntryId, TransferId, UploadId},
    port::resource::Variant,
    transfer::TransferState,
};

use super::{
    download::{partial_path, target_key},
    source::Source,
    upload::blocking,
};
use crate::{Client, Error, home::Task};

/// A file in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its number in this home.
    pub id: TransferId,
    /// Which way it goes.
    pub direction: Direction,
    /// Where a file that is sent is going to be shown.
    pub conversation: Option<ConversationId>,
    /// The file that is sent; of one that is fetched, where it goes.
    pub path: PathBuf,
    /// Where it stands.
    pub state: TransferState,
    /// Bytes that are there: at the server, or here.
    pub done: u64,
    /// Bytes in the whole file. Of a small version of a picture it is that of the original.
    pub size: u64,
    /// Bytes that the process at it has sent more than once, because a connection was lost.
    pub resent: u64,
    /// Bytes a second lately, while it runs.
    pub bytes_per_second: Option<u64>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// Why a transfer failed, as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable name: see [`Error::code`].
    pub code: String,
    /// One sentence for people.
    pub message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string() }
    }
}

/// What can be paused.
const ACTIVE: &[TransferState] = &[
    TransferState::Queued,
    TransferState::Hashing,
    TransferState::Running,
    TransferState::Waiting,
];
/// What can be resumed.
const HELD: &[TransferState] = &[TransferState::Paused, TransferState::Failed];
/// What can be cancelled.
const OPEN: &[TransferState] = &[
    TransferState::Queued,
    TransferState::Hashing,
    TransferState::Running,
    TransferState::Waiting,
    TransferState::Paused,
    TransferState::Failed,
];

impl Client {
    /// Queues a file to be sent to a conversation, as [`send_file`](Self::send_file) would. When this
    /// returns it is kept; it is sent whenever this home is connected and
    /// [carries its queue out](Self::run_transfers). The same file to the same conversation is queued
    /// once, and one that was begun before continues.
    ///
    /// # Errors
    /// If the file cannot be read, or [`Error::QueueFull`].
    pub async fn queue_file(
        &self,
        conversation: ConversationId,
        path: &Path,
    ) -> Result<TransferId, Error> {
        let given = path.to_owned();
        let source = blocking(move || Source::look(&given)).await?;
        let key = source.path.to_string_lossy().into_owned();
        let begun = self.home.upload(key.clone(), conversation).await?;
        let begun = begun.filter(|record| source.is_as(record.size, record.mtime_ns));
        let (upload, entry) = begun.map_or_else(
            || (UploadId(rand::random()), EntryId(rand::random())),
            |record| (record.upload, record.entry),
        );
        let mtime_ns = source.mtime_ns;
        let task = Task::Send { conversation, mtime_ns, upload, entry };
        let id = self.home.queue(key, source.size, task).await?;
        self.queue_changed.notify_one();
        Ok(id)
    }

    /// Queues the file of an attachment, or its thumbnail, to be fetched to `to`, as
    /// [`download`](Self::download) would.
    ///
    /// # Errors
    /// [`Error::FileExists`] if there is such a file and `replace` is false; [`Error::InQueue`] if
    /// another file is on its way there; [`Error::QueueFull`].
    pub async fn queue_download(
        &self,
        attachment: &Attachment,
        variant: Variant,
        to: &Path,
        replace: bool,
    ) -> Result<TransferId, Error> {
        if !replace && tokio::fs::try_exists(to).await.map_err(Error::file(to))? {
            return Err(Error::FileExists(to.to_owned()));
        }
        let task = Task::Fetch { attachment: attachment.clone(), variant, replace };
        let id = self.home.queue(target_key(to)?, attachment.size, task).await?;
        self.queue_changed.notify_one();
        Ok(id)
    }

    /// All transfers of the queue, and the last of those that are over.
    ///
    /// # Errors
    /// If the home cannot be read.
    pub async fn transfers(&self) -> Result<Vec<Transfer>, Error> {
        let nobody = self.home.try_carry_out()?.is_some();
        let rows = self.home.transfers().await?.into_iter();
        Ok(rows
            .map(|row| {
                let mut shown = row.shown;
                // The process that wrote this is gone.
                if nobody && shown.state.is_active() {
                    shown.state = TransferState::Queued;
                }
                shown
            })
            .collect())
    }

    /// Lets a transfer rest until it is resumed, also over restarts.
    ///
    /// # Errors
    /// [`Error::NoSuchTransfer`]; [`Error::TransferOver`] if nothing goes on by itself there.
    pub async fn pause_transfer(&self, id: TransferId) -> Result<(), Error> {
        self.wish(id, ACTIVE, TransferState::Paused).await
    }

    /// Lets a paused transfer go on, or tries a failed one again: a file that was changed meanwhile is
    /// sent as what it is now.
    ///
    /// # Errors
    /// [`Error::NoSuchTransfer`]; [`Error::TransferOver`]; if a file that failed cannot be read.
    pub async fn resume_transfer(&self, id: TransferId) -> Result<(), Error> {
        let row = self.home.transfer(id).await?.ok_or(Error::NoSuchTransfer(id))?;
        if let (TransferState::Failed, Direction::Up) = (row.shown.state, row.shown.direction) {
            let path = row.shown.path;
            let source = blocking(move || Source::look(&path)).await?;
            let upload = UploadId(rand::random());
            self.home.renew_transfer(id, source.size, source.mtime_ns, upload).await?;
        }
        if row.shown.state.is_active() {
            return Ok(());
        }
        self.wish(id, HELD, TransferState::Queued).await
    }

    /// Gives a transfer up. The server is told to throw away what it has of an upload, now or with the
    /// next connection; what is here of a download is removed.
    ///
    /// # Errors
    /// [`Error::NoSuchTransfer`]; [`Error::TransferOver`] if it is done, or the message is on its way.
    pub async fn cancel_transfer(&self, id: TransferId) -> Result<(), Error> {
        self.wish(id, OPEN, TransferState::Cancelled).await?;
        let row = self.home.transfer(id).await?;
        if let Some(row) = row.filter(|row| row.shown.direction == Direction::Down) {
            let part = partial_path(&row.shown.path);
            let key = part.to_string_lossy().into_owned();
            if self.home.part_at(key.clone()).await?.is_some() {
                match tokio::fs::remove_file(&part).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::file(part)(error));
                    }
                    _ => self.home.forget_download(key).await?,
                }
            }
        }
        Ok(())
    }

    /// Takes a transfer that is over off the list.
    ///
    /// # Errors
    /// [`Error::NoSuchTransfer`] if there is none that is over.
    pub async fn dismiss_transfer(&self, id: TransferId) -> Result<(), Error> {
        let gone = self.home.dismiss_transfer(id).await?;
        if gone { Ok(()) } else { Err(Error::NoSuchTransfer(id)) }
    }

    /// Tells the server of uploads that were cancelled, if no other process is there to do it. Without
    /// this, the next process that carries the queue out does.
    ///
    /// # Errors
    /// [`Error::Unreachable`] after `patience`, or if the server refuses.
    pub async fn settle_cancelled(&self, patience: Duration) -> Result<(), Error> {
        let Some(_right) = self.home.try_carry_out()? else { return Ok(()) };
        for (_, upload) in self.home.unwanted_uploads().await? {
            self.live(patience).await?;
            self.discard_upload(upload).await?;
            self.home.upload_discarded(upload).await?;
        }
        Ok(())
    }

    async fn wish(
        &self,
        id: TransferId,
        from: &'static [TransferState],
        to: TransferState,
    ) -> Result<(), Error> {
        let granted = self.home.wish(id, from, to).await?;
        self.queue_changed.notify_one();
        if granted { Ok(()) } else { Err(Error::TransferOver(id)) }
    }
}
