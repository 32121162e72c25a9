//! The task of a connection: it carries messages both ways until the connection has ended.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};

use super::line::Shared;
use crate::qmux::{Violation, mux::End};

/// How long telling the peer of the end may take, and waiting until it has hung up. A socket that is
/// closed while bytes of the peer are unread would take the farewell with it (RFC 9293, section
/// 3.6.1).
const FAREWELL: Duration = Duration::from_secs(2);

/// Carries records between a socket and the multiplexer.
pub(super) async fn drive<S>(socket: WebSocketStream<S>, shared: Arc<Shared>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (sink, stream) = socket.split();
    let mut reading = pin!(read(stream, &shared));
    let mut writing = pin!(write(sink, &shared));
    // Both go on at the same time: a peer that does not read is still heard.
    tokio::select! {
        () = &mut reading => timeout(FAREWELL, writing).await.unwrap_or_default(),
        () = &mut writing => timeout(FAREWELL, reading).await.unwrap_or_default(),
    }
}

async fn read(mut stream: impl Stream<Item = Result<Message, Error>> + Unpin, shared: &Shared) {
    let lost = |why: &str| {
        shared.mux().finish(End::Lost(why.to_owned()));
    };
    loop {
        let message = match stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return lost(&format!("the WebSocket failed: {error}")),
            None => return lost("the peer hung up"),
        };
        shared.heard();
        match message {
            // After the end these are dropped, until the peer hangs up.
            Message::Binary(record) => shared.mux().receive(record, Instant::now()),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return lost("the peer closed the WebSocket"),
            Message::Text(_) | Message::Frame(_) => {
                shared.mux().finish(End::Fault(Violation::Protocol));
            }
        }
        if shared.mux().end().is_some_and(|end| *end != End::Here) {
            return;
        }
    }
}

async fn write(mut sink: impl Sink<Message, Error = Error> + Unpin, shared: &Shared) {
    loop {
        let (record, due, ended) = {
            let mut mux = shared.mux();
            let record = mux.next_record(Instant::now());
            let due = mux.datagrams_due().map_or(mux.due(), |at| at.min(mux.due()));
            (record, due, mux.end().is_some())
        };
        match record {
            Some(record) => {
                if !send(&mut sink, record, shared).await {
                    return;
                }
            }
            None if ended => break,
            None => {
                tokio::select! {
                    () = shared.bells.output.notified() => {}
                    () = sleep_until(due) => shared.mux().tick(Instant::now()),
                }
            }
        }
    }
    if let Ok(Err(error)) = timeout(FAREWELL, sink.close()).await {
        tracing::trace!(%error, "the WebSocket was not closed in form");
    }
}

/// Hands one record to the kernel, all of it, so that the next is made as late as can be. Answers
/// whether that was possible.
async fn send(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    record: BytesMut,
    shared: &Shared,
) -> bool {
    let mut sending = pin!(sink.send(Message::Binary(record.freeze())));
    loop {
        let (due, ended) = {
            let mux = shared.mux();
            (mux.due(), mux.end().is_some())
        };
        if ended {
            return matches!(timeout(FAREWELL, sending).await, Ok(Ok(())));
        }
        tokio::select! {
            sent = &mut sending => {
                if let Err(error) = &sent {
                    shared.mux().finish(End::Lost(format!("the WebSocket failed: {error}")));
                }
                return sent.is_ok();
            }
            () = sleep_until(due) => shared.mux().tick(Instant::now()),
            () = shared.until(|mux| mux.end().map(|_| ())) => {}
        }
    }
}
