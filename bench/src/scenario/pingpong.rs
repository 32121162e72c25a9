//! `pingpong`: how long a message takes at a fixed rate, with many sessions connected.
//!
//! In each pair one session sends and the other receives. Two latencies are measured, both from
//! when the message was due: until the sender has the acknowledgement, which says that the message
//! is durable, and until the recipient has the event. Beside them stands the echo of raw quinn,
//! with messages of the same size at the same times on as many connections: two hops, as either of
//! the other two takes.

use skein_net::stream::{Receiver, Sender};
use skein_testkit::raw::text_draft;
use skein_wire::{
    frame,
    pb::{self, event, reply, request, server_frame},
};
use tokio::{task::JoinSet, time::timeout_at};

use crate::{
    arguments::Pingpong,
    arrivals::{Arrivals, GRACE},
    baseline::echo,
    failure::Failure,
    fleet::{Fleet, Pair},
    latency::Summary,
    pace::{Lane, Pace},
    report::{Finding, Report, ratio},
};

/// Requests of the bench are numbered from here on, past those that made the session ready.
const FIRST_REQUEST: u64 = 1 << 32;

/// What a frame of the server says to the bench.
enum News {
    Acknowledged(u64),
    Delivered(u64),
    Other,
}

impl News {
    const fn acknowledged(self) -> Option<u64> {
        if let Self::Acknowledged(message) = self { Some(message) } else { None }
    }

    const fn delivered(self) -> Option<u64> {
        if let Self::Delivered(message) = self { Some(message) } else { None }
    }
}

/// Measures both systems and tells what came out.
///
/// # Errors
/// If a message went missing, or a system could not be started.
pub(crate) async fn run(load: &Pingpong, report: &mut Report) -> Result<(), Failure> {
    let text = "x".repeat(load.payload as usize);
    let message_bytes = frame::encode(&request(1, 0, &text)).len();
    let echoed = echo::run(load, message_bytes).await?;
    let fleet = Fleet::start(load).await?;
    let bytes_per_session = fleet.bytes_per_session;
    let (append, delivery) = exchange(load, fleet, &text).await?;

    let base = echoed.summary;
    report.tell(&latency(load, "quinn", "echo", base, None));
    report.tell(&latency(load, "skein", "append", append, Some(base)));
    report.tell(&latency(load, "skein", "delivery", delivery, Some(base)));
    let base = echoed.bytes_per_session;
    report.tell(&memory(load, "quinn", base, None));
    report.tell(&memory(load, "skein", bytes_per_session, Some(base)));
    Ok(())
}

/// Sends and receives everything; gives the latencies of appends and of deliveries.
async fn exchange(
    load: &Pingpong,
    mut fleet: Fleet,
    text: &str,
) -> Result<(Summary, Summary), Failure> {
    let pace = Pace::new(load.rate, load.messages(), load.pairs());
    let (lanes, clock) = pace.start();
    let mut sending = JoinSet::new();
    let (mut appending, mut delivering) = (JoinSet::new(), JoinSet::new());
    let mut idle_halves = Vec::new();
    for ((number, lane), pair) in (0..).zip(lanes).zip(fleet.pairs.drain(..)) {
        let Pair { sender, recipient, conversation } = pair;
        sending.spawn(send_all(sender.sender, lane, conversation, text.to_owned()));
        let arrivals = Arrivals::new(pace, number);
        appending.spawn(receive_all(sender.receiver, arrivals, pace, News::acknowledged));
        let arrivals = Arrivals::new(pace, number);
        delivering.spawn(receive_all(recipient.receiver, arrivals, pace, News::delivered));
        idle_halves.push(recipient.sender);
    }
    // A stream that is dropped ends its session. So all are kept until everything has arrived.
    let (appended, _receivers): (Vec<_>, Vec<_>) = appending.join_all().await.into_iter().unzip();
    let (delivered, _others): (Vec<_>, Vec<_>) = delivering.join_all().await.into_iter().unzip();
    let _senders = sending.join_all().await;
    let unsent = clock.join().unwrap_or(0);
    Ok((
        Arrivals::sum_up("acknowledgements", appended, unsent)?,
        Arrivals::sum_up("deliveries", delivered, unsent)?,
    ))
}

async fn send_all(mut sender: Sender, mut lane: Lane, conversation: u64, text: String) -> Sender {
    while let Some(message) = lane.recv().await {
        // If the session has ended, the messages are missing at the other end.
        if sender.frame(&request(conversation, message, &text)).await.is_err() {
            break;
        }
    }
    sender
}

async fn receive_all(
    mut receiver: Receiver,
    mut arrivals: Arrivals,
    pace: Pace,
    awaited: fn(News) -> Option<u64>,
) -> (Arrivals, Receiver) {
    let deadline = (pace.end() + GRACE).into();
    while !arrivals.complete() {
        match timeout_at(deadline, receiver.frame::<pb::ServerFrame>()).await {
            Ok(Ok(Some(frame))) => {
                if let Some(message) = awaited(news(frame)) {
                    arrivals.note(message);
                }
            }
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    (arrivals, receiver)
}

/// The message's number is in the request's number, for the sender, and in the entry's id, for the
/// recipient.
fn request(conversation: u64, message: u64, text: &str) -> pb::Request {
    // Random for the rest, since the order of ids matters to the store's indexes.
    let mut id: [u8; 16] = rand::random();
    id[8..].copy_from_slice(&message.to_be_bytes());
    let draft = text_draft(conversation, id, text);
    pb::Request { id: FIRST_REQUEST + message, kind: Some(request::Kind::Append(draft)) }
}

fn news(frame: pb::ServerFrame) -> News {
    match frame.kind {
        Some(server_frame::Kind::Reply(pb::Reply {
            request,
            kind: Some(reply::Kind::Appended(_)),
        })) => request.checked_sub(FIRST_REQUEST).map_or(News::Other, News::Acknowledged),
        Some(server_frame::Kind::Event(pb::Event {
            kind: Some(event::Kind::Appended(pb::Appended { log: 1.., entry: Some(entry) })),
        })) => {
            let number = entry.id.last_chunk::<8>().map(|number| u64::from_be_bytes(*number));
            number.map_or(News::Other, News::Delivered)
        }
        _ => News::Other,
    }
}

fn latency(
    load: &Pingpong,
    system: &'static str,
    what: &'static str,
    latency: Summary,
    base: Option<Summary>,
) -> Finding {
    let against =
        |of: fn(Summary) -> u64| base.and_then(|base| ratio(of(latency) as f64, of(base) as f64));
    Finding::Latency {
        system,
        what,
        sessions: load.sessions,
        pairs: load.pairs(),
        rate_per_second: load.rate,
        messages: load.messages(),
        payload_bytes: load.payload,
        latency,
        p50_ratio: against(|summary| summary.p50_us),
        p99_ratio: against(|summary| summary.p99_us),
    }
}

fn memory(load: &Pingpong, system: &'static str, bytes: u64, base: Option<u64>) -> Finding {
    let ratio = base.and_then(|base| ratio(bytes as f64, base as f64));
    Finding::Memory { system, sessions: load.sessions, bytes_per_session: bytes, ratio }
}
