//! The requests of one session: taken in at the rate that its account may ask, worked on a bounded
//! number at a time, and finished even if the client does not wait.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use skein_core::{
    account::Identity,
    id::EntryId,
    limit,
    refusal::{Code, Refusal},
};
use skein_net::stream::{Receiver, StreamError};
use skein_ops::lifecycle::Shutdown;
use skein_wire::{close::CloseCode, frame, pb};
use tokio::{
    sync::{Semaphore, oneshot},
    task::coop::unconstrained,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{answer::Answerer, order::Order, queue::Queue};

/// Requests of one session that are worked on at a time. More than a client sends ahead, so that
/// its appends never wait for one another.
const REQUESTS_MAX: usize = 2 * limit::APPENDS_IN_FLIGHT_MAX;

/// Of these, requests whose answers may be long, which are kept in memory until there is room in the
/// queue: as many reads as a client has under way.
const LONG_ANSWERS_MAX: usize = 8;

/// A request that is worked on. Whether its reply found the session.
type Serving = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The requests of one session.
pub(crate) struct Requests {
    intake: Intake,
    under_way: FuturesUnordered<Serving>,
    queue: Queue,
}

/// Takes requests in.
struct Intake {
    answerer: Answerer,
    identity: Arc<Identity>,
    receiver: Receiver,
    held: Option<pb::Request>,
    long_answers: Arc<Semaphore>,
    order: Arc<Order>,
    /// Requests so far.
    count: u64,
}

impl Requests {
    pub(crate) fn new(
        answerer: Answerer,
        identity: Arc<Identity>,
        receiver: Receiver,
        queue: Queue,
    ) -> Self {
        let long_answers = Arc::new(Semaphore::new(LONG_ANSWERS_MAX));
        let order = Arc::default();
        let intake =
            Intake { answerer, identity, receiver, held: None, long_answers, order, count: 0 };
        Self { intake, under_way: FuturesUnordered::new(), queue }
    }

    /// Serves until the client or the node ends the session. Returns why. Can be cancelled, and is
    /// to be followed by [`finish`](Self::finish) in any case.
    pub(crate) async fn serve(&mut self, ending: &CancellationToken) -> (CloseCode, String) {
        let Self { intake, under_way, queue } = self;
        loop {
            tokio::select! {
                biased;
                sent = under_way.next(), if !under_way.is_empty() => {
                    if sent == Some(false) {
                        return (CloseCode::Normal, String::new());
                    }
                }
                () = ending.cancelled() => {
                    return (
                        CloseCode::Draining,
                        "the server is going away; come back soon".to_owned(),
                    );
                }
                request = intake.next(), if under_way.len() < REQUESTS_MAX => match request {
                    Ok(Some(request)) => under_way.push(intake.serve(request, queue.clone())),
                    Ok(None) | Err(StreamError::Closed(_)) => {
                        return (CloseCode::Normal, String::new());
                    }
                    Err(error) => {
                        let refusal = Refusal::from(error);
                        return (CloseCode::Protocol, format!("{}: {refusal}", refusal.code));
                    }
                }
            }
        }
    }

    /// Brings what was begun to its end, in a task of its own: an append that is committed must be
    /// told to the bus, whether or not its author is still there. Waits for it, but not longer than
    /// `patience`.
    pub(crate) async fn finish(self, patience: Duration, shutdown: &Shutdown) {
        let Self { intake, mut under_way, queue } = self;
        drop((intake, queue));
        let (finished, done) = oneshot::channel();
        let finishing = async move {
            while under_way.next().await.is_some() {}
            // Nobody may be waiting any more.
            finished.send(()).ok();
        };
        shutdown.spawn(finishing.in_current_span());
        if tokio::time::timeout(patience, done).await.is_err() {
            tracing::debug!("a session ended before its requests were done");
        }
    }
}

impl Intake {
    /// The next request, once the account may make it; `None` at the end of the stream. Too fast a
    /// client is held back, not refused, so that its messages stay in the order it wrote them. Can
    /// be cancelled: a request that is held stays so.
    async fn next(&mut self) -> Result<Option<pb::Request>, StreamError> {
        loop {
            if self.held.is_none() {
                let Some(request) = self.receiver.frame().await? else { return Ok(None) };
                self.held = Some(request);
            }
            match self.answerer.hub.take_request(self.identity.account.id) {
                Ok(()) => return Ok(self.held.take()),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Works on a request until its answer is in the queue. Out of tokio's budget, which would put
    /// off some of many requests and not others: they are worked on in the order in which they came.
    fn serve(&mut self, request: pb::Request, queue: Queue) -> Serving {
        let (answerer, identity) = (self.answerer.clone(), Arc::clone(&self.identity));
        let long_answers = Arc::clone(&self.long_answers);
        let order = Arc::clone(&self.order);
        self.count += 1;
        let number = self.count;
        Box::pin(unconstrained(async move {
            // Held until the answer is in the queue, which is bounded itself.
            let _turn = match &request.kind {
                Some(pb::request::Kind::Append(_)) | None => None,
                Some(_) => long_answers.acquire_owned().await.ok(),
            };
            let kind = match request.kind {
                Some(pb::request::Kind::Append(draft)) => {
                    append(&answerer, &identity, &order, draft, number).await
                }
                Some(kind) => answerer.answer(&identity, kind).await,
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
            queue.reply(frame).await
        }))
    }
}

/// Appends, unless an earlier append of the session has to come again first.
async fn append(
    answerer: &Answerer,
    identity: &Identity,
    order: &Order,
    draft: pb::Draft,
    number: u64,
) -> pb::reply::Kind {
    let conversation = draft.conversation;
    let Ok(id) = <[u8; 16]>::try_from(&draft.id[..]).map(EntryId) else {
        // No id: it is refused for good.
        return answerer.answer(identity, pb::request::Kind::Append(draft)).await;
    };
    let Some(place) = order.admit(conversation, id, number, Instant::now()) else {
        let message = "an earlier message has to be sent again first";
        return pb::reply::Kind::Error(Refusal::new(Code::Unavailable, message).into());
    };
    let kind = answerer.answer(identity, pb::request::Kind::Append(draft)).await;
    if let pb::reply::Kind::Error(error) = &kind
        && Code::from_number(error.code).is_some_and(Code::is_transient)
    {
        order.refused(conversation, id, place, Instant::now());
    }
    kind
}

fn reply(request: u64, kind: pb::reply::Kind) -> Bytes {
    let reply = pb::Reply { request, kind: Some(kind) };
    frame::encode(&pb::ServerFrame { kind: Some(pb::server_frame::Kind::Reply(reply)) })
}
