//! One session: from the hello on its stream to the end of its connection.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use skein_core::{
    account::Identity,
    contact::Conversation,
    id::{AccountId, LogId, Seq},
    limit,
    refusal::{Code, Refusal},
    token::hash_token,
};
use skein_net::{
    Connection,
    priority::Priority,
    stream::{Receiver, Sender},
};
use skein_ops::lifecycle::Shutdown;
use skein_store::{StoreError, token::TokenHash};
use skein_wire::{close::CloseCode, entry::log_number, frame, pb};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::Answerer,
    hub::{SessionNumber, event},
    queue::{Drain, Next, Queue, queue},
    requests::Requests,
};

/// How long a session that is to end may take to finish what it was asked, and again to send what
/// waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a session looks whether its login is still good: logins expire, and the hint that one
/// was ended may be lost.
const LOGIN_INTERVAL: Duration = Duration::from_secs(60);

/// How soon heads that could not be compared are compared again.
const COMPARE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A session that has said hello and been let in.
pub(crate) struct Session {
    pub(crate) identity: Arc<Identity>,
    place: Place,
    queue: Queue,
    drain: Drain,
}

/// A session's place in the hub, to be given back at its end.
struct Place {
    account: AccountId,
    token: TokenHash,
    number: SessionNumber,
    answerer: Answerer,
    left: bool,
}

/// How a session was refused.
pub(crate) struct Refused {
    pub(crate) code: CloseCode,
    pub(crate) message: String,
}

impl Session {
    /// Lets a client in, or says why not. On success the welcome has been sent, for which the
    /// client has `patience`.
    pub(crate) async fn open(
        hello: pb::SessionOpen,
        connection: &Connection,
        sender: &mut Sender,
        answerer: Answerer,
        patience: Duration,
        ending: &CancellationToken,
    ) -> Result<Self, Refused> {
        if hello.cursors.len() > limit::CURSORS_MAX {
            return Err(Refused::new(CloseCode::Protocol, "the hello names too many logs"));
        }
        let token = hash_token(&hello.token);
        let identity = Arc::new(answerer.identify(&token).await?);
        let (queue, drain) = queue();
        let early = connection.is_early();
        if early {
            // A welcome is a promise: who would be turned away after it hears so instead of it.
            answerer
                .hub
                .would_enter(identity.account.id)
                .map_err(|refusal| not_entered(&refusal))?;
            // Only the client that has said this can read it, so it may have it at once.
            let logs = answerer.logs(identity.account.id).await?;
            in_patience(patience, ending, answerer.welcome(&identity, logs, sender)).await?;
            // For anyone else this ends here, and nobody has noticed.
            let proven = async {
                let proven = connection.proven().await;
                proven.map_err(|closed| Refused::new(CloseCode::Normal, &closed.message))
            };
            in_patience(patience, ending, proven).await?;
        }
        let entered = answerer.hub.enter(&identity, token, connection.clone(), queue.clone()).await;
        let number = entered.map_err(|refusal| not_entered(&refusal))?;
        let account = identity.account.id;
        let mut place = Place { account, token, number, answerer, left: false };
        let settling = async {
            let logs = place.settle().await?;
            if !early {
                return place.answerer.welcome(&identity, logs, sender).await;
            }
            // What was appended since it was welcomed nobody has told it.
            queue.set_behind();
            Ok(())
        };
        if let Err(refused) = in_patience(patience, ending, settling).await {
            place.leave();
            return Err(refused);
        }
        Ok(Self { identity, place, queue, drain })
    }

    /// Its number on this node.
    pub(crate) const fn number(&self) -> SessionNumber {
        self.place.number
    }

    /// Serves the session until its stream, connection or login ends, or the node does.
    pub(crate) async fn run(
        self,
        connection: &Connection,
        mut sender: Sender,
        receiver: Receiver,
        stall: Duration,
        ending: &CancellationToken,
        shutdown: &Shutdown,
    ) {
        sender.prioritise(Priority::Session);
        let Self { identity, mut place, queue, drain } = self;
        let mut requests = Requests::new(place.answerer.clone(), identity, receiver, queue);
        let (answerer, number, account) = (place.answerer.clone(), place.number, place.account);
        let mut sending = Box::pin(send(answerer, number, account, drain, sender, stall));
        let mut sends = true;
        let (code, message) = tokio::select! {
            end = &mut sending => {
                sends = false;
                end
            }
            end = requests.serve(ending) => end,
            end = place.login_ends() => end,
            closed = connection.closed() => {
                tracing::debug!(reason = %closed, "a session's connection ended");
                (CloseCode::Normal, String::new())
            }
        };
        tracing::debug!(session.number = number, close.code = %code, "a session ends");
        // When neither the hub nor a request holds the queue any more it ends, and with it the
        // sending: what was answered should reach the client before the close does. The sending may
        // wait for its turn in the hub, so it has to go on while the session leaves that.
        let flushing = async {
            let flushed = tokio::time::timeout(2 * FLUSH_TIMEOUT, sending).await;
            if flushed.is_err() {
                tracing::debug!("a session ended before its client had read everything");
            }
        };
        let finishing = requests.finish(FLUSH_TIMEOUT, shutdown);
        if sends {
            place.leave();
            tokio::join!(finishing, flushing);
        } else {
            drop(flushing);
            place.leave();
            finishing.await;
        }
        connection.close(code, &message);
    }
}

impl Place {
    /// Follows the account's logs. Their heads must be told after this, so that nothing appended in
    /// between is missed.
    async fn settle(&self) -> Result<Logs, Refused> {
        let Answerer { hub, .. } = &self.answerer;
        hub.follow(self.number, &[LogId::Personal(self.account)]).await;
        let logs = self.answerer.logs(self.account).await?;
        hub.follow(self.number, &logs.ids).await;
        // A token that was revoked while it was being let in has already missed the news.
        self.answerer.identify(&self.token).await?;
        Ok(logs)
    }

    /// Resolves when the login is not good any more.
    async fn login_ends(&self) -> (CloseCode, String) {
        loop {
            tokio::time::sleep(LOGIN_INTERVAL).await;
            // A store that fails has said so in the log; the next look comes.
            if let Err(refused) = self.answerer.identify(&self.token).await
                && refused.code == CloseCode::Unauthorised
            {
                return (refused.code, refused.message);
            }
        }
    }

    /// Gives back everything that was kept for the session.
    fn leave(&mut self) {
        self.answerer.hub.leave(self.number);
        self.left = true;
    }
}

impl Drop for Place {
    /// A session that is dropped where it stands leaves all the same.
    fn drop(&mut self) {
        if !self.left {
            self.leave();
        }
    }
}

/// Sends what waits, until nothing will wait any more. Returns why it ended.
async fn send(
    answerer: Answerer,
    number: SessionNumber,
    account: AccountId,
    mut drain: Drain,
    mut sender: Sender,
    stall: Duration,
) -> (CloseCode, String) {
    // Replies and events go on while heads are compared.
    let mut comparing: Option<BoxFuture<'_, Result<Bytes, StoreError>>> = None;
    // Events were dropped after that had begun.
    let mut again = false;
    loop {
        let compared = async {
            match &mut comparing {
                Some(comparing) => comparing.await,
                None => std::future::pending().await,
            }
        };
        // Its room in the queue is taken until it has been sent.
        let mut waiting = None;
        let frame = tokio::select! {
            told = compared => {
                comparing = None;
                if mem::take(&mut again) {
                    comparing = Some(answerer.heads(number, account).boxed());
                }
                match told.map_err(StoreError::into_refusal) {
                    Ok(frame) => {
                        if comparing.is_none() {
                            drain.caught_up();
                        }
                        frame
                    }
                    Err(refusal) if refusal.code == Code::Unavailable => {
                        drain.retry_behind(refusal.retry_after.unwrap_or(COMPARE_AGAIN_AFTER));
                        continue;
                    }
                    Err(refusal) => return (CloseCode::Internal, refusal.message),
                }
            }
            next = drain.next() => match next {
                Next::Frame(next) => waiting.insert(next).frame.clone(),
                Next::Behind => {
                    again = comparing.is_some();
                    comparing
                        .get_or_insert_with(|| answerer.heads(number, account).boxed());
                    continue;
                }
                Next::End => {
                    sender.finish();
                    sender.delivered().await;
                    return (CloseCode::Normal, String::new());
                }
            },
        };
        match tokio::time::timeout(stall, sender.bytes(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return (CloseCode::Protocol, error.to_string()),
            Err(_) => return (CloseCode::Behind, "the client does not read its session".into()),
        }
    }
}

/// The logs of an account.
struct Logs {
    ids: Vec<LogId>,
    conversations: Vec<Conversation>,
}

/// Does a part of letting a client in, for which it has `patience`.
async fn in_patience(
    patience: Duration,
    ending: &CancellationToken,
    work: impl Future<Output = Result<(), Refused>>,
) -> Result<(), Refused> {
    tokio::select! {
        done = work => done,
        () = tokio::time::sleep(patience) => Err(Refused::new(
            CloseCode::TimedOut,
            "timed_out: the client does not read the welcome",
        )),
        () = ending.cancelled() => Err(Refused::draining()),
    }
}

/// How a session ends that is not let in.
fn not_entered(refusal: &Refusal) -> Refused {
    match refusal.code {
        Code::Draining => Refused::draining(),
        _ => Refused::new(CloseCode::Overloaded, &refusal.message),
    }
}

impl Answerer {
    async fn logs(&self, account: AccountId) -> Result<Logs, Refused> {
        let conversations = self.store.conversations(account).await?;
        let mut ids = vec![LogId::Personal(account)];
        ids.extend(conversations.iter().map(|one| LogId::Conversation(one.id)));
        Ok(Logs { ids, conversations })
    }

    /// Tells the heads of all of the account's logs, and whom it talks to.
    async fn welcome(
        &self,
        identity: &Identity,
        logs: Logs,
        sender: &mut Sender,
    ) -> Result<(), Refused> {
        let heads = self.store.heads(&logs.ids).await?;
        let mut welcome = pb::Welcome {
            account: identity.account.id.0,
            name: identity.account.name.as_str().to_owned(),
            heads: cursors(&logs.ids, &heads),
            conversations: logs.conversations.into_iter().map(Into::into).collect(),
        };
        let mut frame = frame::encode(&welcome);
        if frame.len() > frame::SERVER_FRAME_BYTES_MAX {
            // Many thousands that have ended. Their names are missing then, but no message is.
            welcome.conversations.clear();
            frame = frame::encode(&welcome);
        }
        sender.bytes(frame).await.map_err(|error| {
            Refused::new(CloseCode::Internal, &format!("the welcome was not taken: {error}"))
        })
    }

    /// The heads of all of the account's logs, as an event. The session follows any that it did not
    /// follow yet: a hint that it should may have been lost.
    async fn heads(&self, number: SessionNumber, account: AccountId) -> Result<Bytes, StoreError> {
        // The semaphore is never closed.
        let _turn = self.hub.comparing.acquire().await;
        let conversations = self.store.conversations(account).await?;
        let mut logs = vec![LogId::Personal(account)];
        logs.extend(conversations.iter().map(|one| LogId::Conversation(one.id)));
        self.hub.follow(number, &logs).await;
        let heads = self.store.heads(&logs).await?;
        Ok(event(pb::event::Kind::Behind(pb::Heads { heads: cursors(&logs, &heads) })))
    }

    async fn identify(&self, token: &TokenHash) -> Result<Identity, Refused> {
        let identity = self.store.identify(token, self.clock.now()).await?;
        identity.ok_or_else(|| {
            Refused::new(CloseCode::Unauthorised, "this login is not valid any more; log in again")
        })
    }
}

impl Refused {
    pub(crate) fn new(code: CloseCode, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }

    pub(crate) fn draining() -> Self {
        Self::new(CloseCode::Draining, "the server is going away; come back soon")
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let refusal = error.into_refusal();
        let code = match refusal.code {
            Code::Unavailable => CloseCode::Unavailable,
            _ => CloseCode::Internal,
        };
        Self::new(code, &refusal.message)
    }
}

fn cursors(logs: &[LogId], heads: &[Seq]) -> Vec<pb::Cursor> {
    let cursor = |(log, head): (&LogId, &Seq)| pb::Cursor { log: log_number(*log), seq: head.0 };
    logs.iter().zip(heads).map(cursor).collect()
}
