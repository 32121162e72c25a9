//! One try of a queued transfer, by the same steps as one that somebody waits for.

use std::path::Path;

use skein_core::{entry::Attachment, port::resource::Variant, refusal::Code, transfer::Ended};

use super::{
    Phase, Stop, Watcher,
    download::Fetching,
    source::Source,
    upload::{Sending, blocking},
};
use crate::{
    Client, Error,
    home::{Queued, Task},
};

/// What one try leaves to the next in the same process.
pub(super) enum Work {
    /// Not looked at yet.
    New,
    Send(Box<Sending>),
    Fetch(Box<Fetching>),
}

/// How a try ended, and what to tell if that was for good.
pub(super) struct Outcome {
    pub(super) ended: Ended,
    pub(super) error: Option<Error>,
}

impl Client {
    /// Tries the transfer until it is complete or something is in the way.
    pub(super) async fn try_transfer(
        &self,
        row: &Queued,
        work: &mut Work,
        watcher: Watcher,
    ) -> Outcome {
        let mut progressed = false;
        let tried = async {
            if matches!(work, Work::New) {
                *work = self.prepare_work(row, watcher).await?;
            }
            match work {
                // It was complete before this process began.
                Work::New => Ok(()),
                Work::Send(sending) => self.try_to_send(sending, &mut progressed).await,
                Work::Fetch(fetching) => loop {
                    let before = fetching.offset();
                    let tried = self.try_fetching(fetching).await;
                    progressed |= fetching.offset() > before;
                    if !matches!(tried, Err(Stop::Moved)) {
                        break tried;
                    }
                },
            }
        };
        let stop = match tried.await {
            Ok(()) => return Outcome { ended: Ended::Done, error: None },
            Err(stop) => stop,
        };
        if !matches!(stop, Stop::Moved | Stop::Lost | Stop::Ended(_)) {
            // Whatever comes next begins by looking at the file anew.
            *work = Work::New;
        }
        stop.outcome(progressed)
    }

    async fn prepare_work(&self, row: &Queued, watcher: Watcher) -> Result<Work, Error> {
        let path = &row.shown.path;
        match &row.task {
            Task::Send { conversation, mtime_ns, upload, entry } => {
                let (given, known) = (path.clone(), (row.shown.size, *mtime_ns));
                let source = blocking(move || Source::look_again(&given, known)).await?;
                let ids = Some((*upload, *entry));
                let sending = self.prepare_sending(*conversation, source, ids, watcher).await?;
                Ok(Work::Send(Box::new(sending)))
            }
            Task::Fetch { attachment, variant, replace } => {
                if !replace && is_there(path, attachment, *variant).await? {
                    return Ok(Work::New);
                }
                let fetching =
                    self.prepare_fetching(attachment, *variant, path, *replace, watcher).await?;
                Ok(Work::Fetch(Box::new(fetching)))
            }
        }
    }

    /// Sends the file and the message that shows it, and waits until that is in the log.
    async fn try_to_send(&self, sending: &mut Sending, progressed: &mut bool) -> Result<(), Stop> {
        loop {
            let before = sending.received();
            let tried = self.try_sending(sending).await;
            *progressed |= sending.received() > before;
            let delivery = match tried {
                Err(Stop::Moved) => continue,
                tried => tried?,
            };
            let id = delivery.id();
            match delivery.acknowledged().await {
                Ok(_) => return Ok(()),
                Err(Error::Refused(refusal)) => {
                    // What became of the transfer says it.
                    self.forget_rejected(vec![id]).await?;
                    if refusal.code == Code::NotFound && sending.may_repeat() {
                        // The message came so late that the server has thrown the file away.
                        continue;
                    }
                    return Err(Stop::Failed(Error::Refused(refusal)));
                }
                Err(_) => return Err(Stop::Lost),
            }
        }
    }
}

impl Stop {
    /// What the queue makes of it. Where only this process is at its end, another one goes on.
    fn outcome(self, progressed: bool) -> Outcome {
        let lost = Outcome { ended: Ended::Lost { progressed }, error: None };
        match self {
            Self::Moved | Self::Lost | Self::Ended(_) => lost,
            Self::Refused(refusal) => Outcome {
                ended: Ended::Refused { refusal: refusal.clone(), progressed },
                error: Some(Error::Refused(refusal)),
            },
            Self::Failed(
                Error::NotConnected
                | Error::NotLoggedIn
                | Error::Stopped(_)
                | Error::Unreachable(_)
                | Error::TimedOut(_)
                | Error::OutboxFull
                | Error::Home(_),
            ) => lost,
            // Somebody has paused or cancelled it before its message was kept.
            Self::Failed(Error::TransferOver(_)) => Outcome { ended: Ended::Stopped, error: None },
            Self::Failed(error) => Outcome { ended: Ended::Failed, error: Some(error) },
        }
    }
}

/// Whether the file has been fetched already: the process ended between its last two steps.
async fn is_there(path: &Path, attachment: &Attachment, variant: Variant) -> Result<bool, Error> {
    if variant == Variant::Thumbnail {
        return Ok(false);
    }
    let (path, size, hash) = (path.to_owned(), attachment.size, attachment.hash);
    blocking(move || {
        if !std::fs::metadata(&path).is_ok_and(|data| data.is_file() && data.len() == size) {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        let mut file = std::fs::File::open(&path).map_err(Error::file(&path))?;
        std::io::copy(&mut file, &mut hasher).map_err(Error::file(&path))?;
        Ok(*hasher.finalize().as_bytes() == hash)
    })
    .await
}

/// What a phase is called in the queue.
pub(super) const fn state_of(phase: Phase) -> skein_core::transfer::TransferState {
    match phase {
        Phase::Hashing => skein_core::transfer::TransferState::Hashing,
        _ => skein_core::transfer::TransferState::Running,
    }
}
