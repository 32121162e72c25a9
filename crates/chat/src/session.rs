//! One session: from the hello on its stream to the end of its connection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use skein_core::{
    account::Identity,
    id::{AccountId, LogId, Seq},
    limit,
    refusal::{Code, Refusal},
    token,
};
use skein_net::{
    Connection,
    priority::Priority,
    stream::{Receiver, Sender, StreamError},
};
use skein_ops::lifecycle::Shutdown;
use skein_store::StoreError;
use skein_wire::{close::CloseCode, entry::log_number, frame, pb};
use tokio::sync::Semaphore;

use crate::{
    answer::Answerer,
    hub::{Hub, SessionNumber, event},
    queue::{Drain, Next, Queue, queue},
};

/// Requests of one session that are worked on at a time. More than a client sends ahead, so that
/// its appends never wait for one another.
const REQUESTS_MAX: usize = 2 * limit::APPENDS_IN_FLIGHT_MAX;

/// Of these, requests whose answers may be long, which are kept in memory until there is room in the
/// queue: as many reads as a client has under way.
const LONG_ANSWERS_MAX: usize = 8;

/// How long a session that is to end may take to send what waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A session that has said hello and been let in.
pub(crate) struct Session {
    pub(crate) identity: Arc<Identity>,
    place: Place,
    queue: Queue,
    drain: Drain,
}

/// What is kept for a session outside of it, to be given back at its end.
struct Place {
    account: AccountId,
    number: SessionNumber,
    answerer: Answerer,
}

/// How a session was refused.
pub(crate) struct Refused {
    pub(crate) code: CloseCode,
    pub(crate) message: String,
}

impl Session {
    /// Lets a client in, or says why not. On success the welcome has been sent.
    pub(crate) async fn open(
        hello: pb::SessionOpen,
        connection: &Connection,
        sender: &mut Sender,
        answerer: Answerer,
        stall: Duration,
    ) -> Result<Self, Refused> {
        if hello.cursors.len() > limit::CURSORS_MAX {
            return Err(Refused::new(CloseCode::Protocol, "the hello names too many logs"));
        }
        let hash = token::hash_token(&hello.token);
        let identity = Arc::new(answerer.identify(&hash).await?);
        let (queue, drain) = queue();
        let hub = &answerer.hub;
        let entered = hub.enter(&identity, connection.clone(), queue.clone()).await;
        let (number, first) =
            entered.map_err(|refusal| Refused::new(CloseCode::Overloaded, &refusal.message))?;
        let account = identity.account.id;
        let place = Place { account, number, answerer };
        match place.welcome(&identity, sender, &hash, stall).await {
            Ok(()) => {
                if first {
                    place.answerer.hub.announce(account, true).await;
                }
                Ok(Self { identity, place, queue, drain })
            }
            Err(refused) => {
                place.leave().await;
                Err(refused)
            }
        }
    }

    /// Serves the session until its stream or connection ends, or the node does.
    pub(crate) async fn run(
        self,
        connection: &Connection,
        sender: Sender,
        mut receiver: Receiver,
        stall: Duration,
        shutdown: &Shutdown,
    ) {
        sender.prioritise(Priority::Session);
        let Self { identity, place, queue, drain } = self;
        let requests = serve_requests(&place.answerer, &identity, queue, &mut receiver, shutdown);
        let sending = place.send(drain, sender, stall);
        tokio::pin!(sending);
        let ended_by_client = tokio::select! {
            end = &mut sending => Err(end),
            end = requests => Ok(end),
            closed = connection.closed() => {
                tracing::debug!(reason = %closed, "a session's connection ended");
                Err((CloseCode::Normal, String::new()))
            }
        };
        // Once the hub holds the queue no more it ends, and with it the sending.
        place.leave().await;
        let (code, message) = match ended_by_client {
            Err(end) => end,
            Ok(end) => {
                // What was answered should reach the client before the close does.
                if tokio::time::timeout(FLUSH_TIMEOUT, sending).await.is_err() {
                    tracing::debug!("a session ended before its client had read everything");
                }
                end
            }
        };
        connection.close(code, &message);
    }
}

impl Place {
    /// Follows the account's logs and tells their heads, in this order, so that nothing appended in
    /// between is missed.
    async fn welcome(
        &self,
        identity: &Identity,
        sender: &mut Sender,
        hash: &[u8; 32],
        stall: Duration,
    ) -> Result<(), Refused> {
        let Answerer { hub, store, .. } = &self.answerer;
        let personal = LogId::Personal(self.account);
        hub.follow(self.number, &[personal]).await;
        let conversations = store.conversations(self.account).await?;
        let mut logs: Vec<_> =
            conversations.iter().map(|one| LogId::Conversation(one.id)).collect();
        hub.follow(self.number, &logs).await;
        logs.push(personal);
        // A token that was revoked while it was being let in has already missed the news.
        self.answerer.identify(hash).await?;
        let heads = store.heads(&logs).await?;
        let heads: Vec<_> = logs.iter().copied().zip(heads).collect();
        hub.note_heads(&heads);
        let mut welcome = pb::Welcome {
            account: self.account.0,
            name: identity.account.name.as_str().to_owned(),
            heads: cursors(&heads),
            conversations: conversations.into_iter().map(Into::into).collect(),
        };
        let mut frame = frame::encode(&welcome);
        if frame.len() > frame::SERVER_FRAME_BYTES_MAX {
            // Many thousands that have ended. Their names are missing then, but no message is.
            welcome.conversations.clear();
            frame = frame::encode(&welcome);
        }
        let sent = tokio::time::timeout(stall, sender.bytes(frame)).await;
        let sent = sent.map_err(|_| {
            Refused::new(CloseCode::TimedOut, "timed_out: the client does not read the welcome")
        })?;
        sent.map_err(|error| {
            Refused::new(CloseCode::Internal, &format!("the welcome was not taken: {error}"))
        })
    }

    /// Sends what waits, until nothing will wait any more. Returns why it ended.
    async fn send(
        &self,
        mut drain: Drain,
        mut sender: Sender,
        stall: Duration,
    ) -> (CloseCode, String) {
        loop {
            let waiting = drain.next().await;
            let frame = match &waiting {
                Next::Frame(waiting) => waiting.frame.clone(),
                Next::End => {
                    sender.finish();
                    sender.delivered().await;
                    return (CloseCode::Normal, String::new());
                }
                Next::Behind => match self.heads().await {
                    Ok(frame) => frame,
                    Err(error) => return (CloseCode::Internal, error.into_refusal().message),
                },
            };
            match tokio::time::timeout(stall, sender.bytes(frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return (CloseCode::Protocol, error.to_string()),
                Err(_) => {
                    return (CloseCode::Behind, "the client does not read its session".into());
                }
            }
        }
    }

    async fn heads(&self) -> Result<Bytes, StoreError> {
        let Answerer { store, .. } = &self.answerer;
        let conversations = store.conversations(self.account).await?;
        let mut logs = vec![LogId::Personal(self.account)];
        logs.extend(conversations.iter().map(|one| LogId::Conversation(one.id)));
        let heads = store.heads(&logs).await?;
        let heads: Vec<_> = logs.into_iter().zip(heads).collect();
        Ok(event(pb::event::Kind::Behind(pb::Heads { heads: cursors(&heads) })))
    }

    /// Gives back everything that was kept for the session.
    async fn leave(&self) {
        let hub = &self.answerer.hub;
        if let Some(account) = hub.leave(self.number).await {
            hub.announce(account, false).await;
        }
    }
}

/// Takes in the requests of one session.
struct Intake<'a> {
    hub: &'a Hub,
    account: AccountId,
    receiver: &'a mut Receiver,
    held: Option<pb::Request>,
}

impl Intake<'_> {
    /// The next request, once the account may make it; `None` at the end of the stream. Too fast a
    /// client is held back, not refused, so that its messages stay in the order it wrote them. Can
    /// be cancelled: a request that is held stays so.
    async fn next(&mut self) -> Result<Option<pb::Request>, StreamError> {
        loop {
            if self.held.is_none() {
                let Some(request) = self.receiver.frame().await? else { return Ok(None) };
                self.held = Some(request);
            }
            match self.hub.take_request(self.account) {
                Ok(()) => return Ok(self.held.take()),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }
}

/// Takes requests in and works on a bounded number of them at a time. Returns why it ended.
async fn serve_requests(
    answerer: &Answerer,
    identity: &Identity,
    queue: Queue,
    receiver: &mut Receiver,
    shutdown: &Shutdown,
) -> (CloseCode, String) {
    let account = identity.account.id;
    let mut intake = Intake { hub: &answerer.hub, account, receiver, held: None };
    let long_answers = Semaphore::new(LONG_ANSWERS_MAX);
    let worker = Worker { answerer, identity, queue: &queue, long_answers: &long_answers };
    let mut under_way = FuturesUnordered::new();
    let end = loop {
        tokio::select! {
            biased;
            sent = under_way.next(), if !under_way.is_empty() => {
                if sent == Some(false) {
                    break (CloseCode::Normal, String::new());
                }
            }
            () = shutdown.begun() => {
                break (CloseCode::Draining, "the server is going away; come back soon".into());
            }
            request = intake.next(), if under_way.len() < REQUESTS_MAX => {
                match request {
                    Ok(Some(request)) => {
                        // Out of tokio's budget, which would put off some of many requests and
                        // not others: they are worked on in the order in which they came.
                        under_way.push(tokio::task::unconstrained(worker.serve(request)));
                    }
                    Ok(None) => break (CloseCode::Normal, String::new()),
                    Err(StreamError::Closed(_)) => break (CloseCode::Normal, String::new()),
                    Err(error) => {
                        let refusal = Refusal::from(error);
                        break (CloseCode::Protocol, format!("{}: {refusal}", refusal.code));
                    }
                }
            }
        }
    };
    // What was begun is finished, so that the client hears of it before the close.
    while under_way.next().await.is_some() {}
    end
}

/// Works on the requests of one session.
#[derive(Clone, Copy)]
struct Worker<'a> {
    answerer: &'a Answerer,
    identity: &'a Identity,
    queue: &'a Queue,
    long_answers: &'a Semaphore,
}

impl Worker<'_> {
    /// Works on one request until its answer is in the queue. False if the session has ended.
    async fn serve(self, request: pb::Request) -> bool {
        use pb::request::Kind;
        // Held until the answer is in the queue, which is bounded itself.
        let _turn = match &request.kind {
            Some(Kind::Append(_)) | None => None,
            Some(_) => self.long_answers.acquire().await.ok(),
        };
        let kind = match request.kind {
            Some(kind) => self.answerer.answer(self.identity, kind).await,
            None => {
                let message = "this server does not know that request";
                pb::reply::Kind::Error(Refusal::new(Code::Malformed, message).into())
            }
        };
        let mut frame = reply(request.id, kind);
        if frame.len() > frame::SERVER_FRAME_BYTES_MAX {
            let message = "this list is too long to be told";
            let refusal = Refusal::new(Code::TooMany, message);
            frame = reply(request.id, pb::reply::Kind::Error(refusal.into()));
        }
        self.queue.reply(frame).await
    }
}

fn reply(request: u64, kind: pb::reply::Kind) -> Bytes {
    let reply = pb::Reply { request, kind: Some(kind) };
    frame::encode(&pb::ServerFrame { kind: Some(pb::server_frame::Kind::Reply(reply)) })
}

impl Answerer {
    async fn identify(&self, hash: &[u8; 32]) -> Result<Identity, Refused> {
        let identity = self.store.identify(hash, self.clock.now()).await?;
        identity.ok_or_else(|| {
            Refused::new(CloseCode::Unauthorised, "this login is not valid any more; log in again")
        })
    }
}

impl Refused {
    pub(crate) fn new(code: CloseCode, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::new(CloseCode::Internal, &error.into_refusal().message)
    }
}

fn cursors(heads: &[(LogId, Seq)]) -> Vec<pb::Cursor> {
    heads.iter().map(|(log, head)| pb::Cursor { log: log_number(*log), seq: head.0 }).collect()
}
