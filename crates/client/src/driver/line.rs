//! One connection and the tasks that serve it: one dials and then reads, one writes.

use std::{sync::Arc, time::Duration};

use skein_core::{
    limit::APPENDS_IN_FLIGHT_MAX,
    port::directory::ChatNode,
    refusal::Code,
    sync::{CloseReason, READS_IN_FLIGHT_MAX, Signs},
};
use skein_net::{
    Connection,
    connection::Closed,
    dial::Dialer,
    priority::Priority,
    stream::{Receiver, Sender, StreamError},
};
use skein_wire::{close::CloseCode, pb};
use tokio::{sync::mpsc, task::JoinHandle};

use super::ASKED_MAX;
use crate::{Error, gate::Gate};

/// News that wait for the driver. While it is busy, the server waits.
pub(super) const NEWS_MAX: usize = 64;
/// Requests that wait to be written: all that may be without an answer, so that there is always
/// room.
const REQUESTS_MAX: usize = APPENDS_IN_FLIGHT_MAX + READS_IN_FLIGHT_MAX + ASKED_MAX;
/// How long a node may take before the gate is asked whether there is another. A node that was
/// restarted on another port does not answer at all.
const RETHINK_AFTER: Duration = Duration::from_secs(1);
/// How long the gate may take to name a node: the one that was named last may well be there.
const GATE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for the reason after the session's stream has ended.
const REASON_TIMEOUT: Duration = Duration::from_secs(2);

/// What the tasks of a line say.
pub(super) enum News {
    /// There is a connection, to this node.
    Connected {
        line: Line,
        node: ChatNode,
    },
    Welcome(pb::Welcome),
    Frame(pb::ServerFrame),
    /// There is a better way to the same node than the one that the connection goes.
    Outdone,
    /// It is over.
    Closed {
        reason: CloseReason,
        message: String,
    },
}

/// An established connection with its session stream.
pub(super) struct Line {
    pub(super) connection: Connection,
    opening: Option<Opening>,
    requests: mpsc::Sender<pb::Request>,
    /// Datagrams that had come when it was listened for them last.
    heard: u64,
    /// Frames that had been sent then, of those that the server has to acknowledge.
    asked: u64,
    /// Frames of streams that had come or been sent then.
    worked: u64,
}

/// What it takes to say hello, until it is said.
struct Opening {
    sender: Sender,
    receiver: Receiver,
    /// The hello went with the first packets.
    greeted: bool,
    requests: mpsc::Receiver<pb::Request>,
    generation: u64,
    news: mpsc::Sender<(u64, News)>,
}

/// How to get a connection.
pub(super) struct Plan {
    pub(super) dialer: Arc<Dialer>,
    pub(super) gate: Gate,
    pub(super) token: String,
    /// The node that was named last.
    pub(super) node: ChatNode,
    pub(super) manner: Manner,
    /// What is said first.
    pub(super) hello: pb::SessionOpen,
    /// Whether to say it with the first packets, if the node was there before.
    pub(super) early: bool,
}

/// A line in the making. It is given up when this is dropped.
pub(super) struct Dialing(JoinHandle<()>);

impl Drop for Dialing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Which node to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The one that was named last; after a while without an answer, one that the gate names.
    Last,
    /// One that the gate names, if it answers.
    AskFirst,
    /// The one that was named last and no other.
    Only,
    /// Another than the one that was named last, if the gate knows one.
    Instead,
    /// The one that was named last and another, whichever answers first.
    Race,
}

/// Dials, and says what came of it.
#[must_use]
pub(super) fn dial(plan: Plan, generation: u64, news: mpsc::Sender<(u64, News)>) -> Dialing {
    Dialing(tokio::spawn(async move {
        let said = match plan.connect(generation, news.clone()).await {
            Ok((line, node)) => News::Connected { line, node },
            Err((reason, message)) => News::Closed { reason, message },
        };
        // A driver that is gone needs no news.
        news.send((generation, said)).await.ok();
    }))
}

impl Plan {
    async fn connect(
        self,
        generation: u64,
        news: mpsc::Sender<(u64, News)>,
    ) -> Result<(Line, ChatNode), (CloseReason, String)> {
        let (connection, node) = self.reach().await?;
        let begun = connection.take_begun();
        let greeted = begun.is_some();
        let (mut sender, receiver) = match begun {
            Some(begun) => begun,
            None => {
                let opened = connection.open(Priority::Session).await;
                opened.map_err(|closed| reason_of(&closed))?
            }
        };
        sender.prioritise(Priority::Session);
        let (requests_in, requests) = mpsc::channel(REQUESTS_MAX);
        let opening = Opening { sender, receiver, greeted, requests, generation, news };
        let heard = connection.datagrams_received();
        let (asked, worked) = (connection.frames_asking(), connection.stream_frames());
        let opening = Some(opening);
        let line = Line { connection, opening, requests: requests_in, heard, asked, worked };
        Ok((line, node))
    }

    async fn reach(&self) -> Result<(Connection, ChatNode), (CloseReason, String)> {
        let node = match self.manner {
            Manner::Last | Manner::Race => self.node.clone(),
            Manner::AskFirst => self.ask(None).await?.unwrap_or_else(|| self.node.clone()),
            Manner::Only => return self.dial(self.node.clone()).await,
            Manner::Instead => {
                self.other_than(&self.node).await?.unwrap_or_else(|| self.node.clone())
            }
        };
        let dialing = self.dial(node.clone());
        tokio::pin!(dialing);
        tokio::select! {
            dialed = &mut dialing => match dialed {
                Ok(reached) => Ok(reached),
                Err(failed) => match self.other_than(&node).await? {
                    Some(other) => self.dial(other).await,
                    None => Err(failed),
                },
            },
            other = self.rethink(&node) => match other? {
                None => dialing.await,
                // The first may be slow and not gone: whichever answers first.
                Some(other) => {
                    let second = self.dial(other);
                    tokio::pin!(second);
                    tokio::select! {
                        Ok(reached) = &mut dialing => Ok(reached),
                        Ok(reached) = &mut second => Ok(reached),
                        else => Err((CloseReason::Lost, "no chat node answers".to_owned())),
                    }
                }
            },
        }
    }

    async fn dial(&self, node: ChatNode) -> Result<(Connection, ChatNode), (CloseReason, String)> {
        let dialed = if self.early {
            self.dialer.dial_early(&node, &open(self.hello.clone())).await
        } else {
            self.dialer.dial(&node).await
        };
        match dialed {
            Ok(connection) => Ok((connection, node)),
            Err(error) => Err((CloseReason::Lost, error.to_string())),
        }
    }

    /// After a while, asks whether there is a better node than `node`.
    async fn rethink(&self, node: &ChatNode) -> Result<Option<ChatNode>, (CloseReason, String)> {
        if self.manner != Manner::Race {
            tokio::time::sleep(RETHINK_AFTER).await;
        }
        self.other_than(node).await
    }

    /// A node that the gate names and that is not `node`. A node that was started again elsewhere
    /// under the same name is another one.
    async fn other_than(&self, node: &ChatNode) -> Result<Option<ChatNode>, (CloseReason, String)> {
        let same = |named: &ChatNode| named.address == node.address && named.trust == node.trust;
        let Some(named) = self.ask(None).await? else { return Ok(None) };
        if !same(&named) {
            return Ok(Some(named));
        }
        Ok(self.ask(Some(&named.name)).await?.filter(|other| !same(other)))
    }

    /// Asks the gate for a node, rather not `except`. A gate that does not answer is no reason not
    /// to try the last one; a gate that does not know the token is.
    async fn ask(&self, except: Option<&str>) -> Result<Option<ChatNode>, (CloseReason, String)> {
        let asking = self.gate.chat(&self.token, except);
        let Ok(named) = tokio::time::timeout(GATE_TIMEOUT, asking).await else {
            tracing::debug!("the gate does not answer");
            return Ok(None);
        };
        match named {
            Ok(node) => Ok(Some(node)),
            Err(Error::Refused(refusal)) if refusal.code == Code::Unauthorised => {
                let message = refusal.message;
                Err((CloseReason::Unauthorised { message: message.clone() }, message))
            }
            Err(error) => {
                tracing::debug!("the gate names no chat node: {error}");
                Ok(None)
            }
        }
    }
}

impl Line {
    /// Says hello, and lets requests and news flow from then on.
    pub(super) fn greet(&mut self, hello: pb::SessionOpen) {
        let Some(opening) = self.opening.take() else { return };
        let Opening { mut sender, receiver, greeted, mut requests, generation, news } = opening;
        tokio::spawn(async move {
            let mut sent = if greeted { Ok(()) } else { sender.frame(&open(hello)).await };
            while sent.is_ok() {
                let Some(request) = requests.recv().await else { break };
                sent = sender.frame(&request).await;
            }
            // If it failed, the reading side learns why.
            sender.finish();
        });
        tokio::spawn(read(self.connection.clone(), receiver, generation, news));
    }

    /// What has come and gone since this was asked last.
    pub(super) fn signs(&mut self) -> Signs {
        let heard = std::mem::replace(&mut self.heard, self.connection.datagrams_received());
        let asked = std::mem::replace(&mut self.asked, self.connection.frames_asking());
        let worked = std::mem::replace(&mut self.worked, self.connection.stream_frames());
        Signs {
            heard: self.heard != heard,
            asked: self.asked != asked,
            worked: self.worked != worked,
            round_trip: self.connection.round_trip(),
        }
    }

    /// Sends a request. What cannot be sent because the connection is gone is asked again later.
    pub(super) fn send(&self, request: pb::Request) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.requests.try_send(request) {
            self.connection.close(CloseCode::Internal, "too many requests wait");
        }
    }
}

const fn open(hello: pb::SessionOpen) -> pb::Open {
    pb::Open { kind: Some(pb::open::Kind::Session(hello)) }
}

async fn read(
    connection: Connection,
    mut receiver: Receiver,
    generation: u64,
    news: mpsc::Sender<(u64, News)>,
) {
    let (mut welcomed, mut outdone) = (false, 0);
    let error = loop {
        let frame = async {
            if welcomed {
                receiver.frame().await.map(|frame| frame.map(News::Frame))
            } else {
                receiver.frame().await.map(|welcome| welcome.map(News::Welcome))
            }
        };
        let next = tokio::select! {
            next = frame => {
                welcomed = true;
                next
            }
            times = connection.outdone(outdone), if welcomed => {
                outdone = times;
                Ok(Some(News::Outdone))
            }
        };
        match next {
            Ok(Some(said)) => {
                if news.send((generation, said)).await.is_err() {
                    return;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let (reason, message) = match error {
        Some(StreamError::Closed(closed)) => reason_of(&closed),
        Some(StreamError::Frame(error)) => {
            let message = format!("the server sent what is no frame: {error}");
            (CloseReason::Protocol { message: message.clone() }, message)
        }
        // The reason comes with the end of the connection, a moment later.
        Some(StreamError::Abandoned(_)) | None => {
            match tokio::time::timeout(REASON_TIMEOUT, connection.closed()).await {
                Ok(closed) => reason_of(&closed),
                Err(_) => (CloseReason::Lost, "the server ended the session".to_owned()),
            }
        }
    };
    news.send((generation, News::Closed { reason, message })).await.ok();
}

/// The end of a connection in the words of the session machine, and in a sentence.
fn reason_of(closed: &Closed) -> (CloseReason, String) {
    let message = closed.message.clone();
    let told =
        |instead: &str| if message.is_empty() { instead.to_owned() } else { message.clone() };
    let reason = match closed.code {
        Some(CloseCode::Normal) => CloseReason::Normal,
        Some(CloseCode::Kicked) => {
            CloseReason::Kicked { message: told("this account has logged in elsewhere") }
        }
        Some(CloseCode::Draining) => CloseReason::Draining,
        Some(CloseCode::Unauthorised) => {
            CloseReason::Unauthorised { message: told("this login is not valid any more") }
        }
        Some(CloseCode::Protocol) => {
            CloseReason::Protocol { message: told("the server does not understand this client") }
        }
        Some(CloseCode::Behind) => CloseReason::Behind,
        Some(CloseCode::Overloaded) => CloseReason::Overloaded,
        Some(CloseCode::Internal) => CloseReason::Internal,
        Some(CloseCode::TimedOut) => CloseReason::TimedOut,
        Some(CloseCode::Unavailable) => CloseReason::Unavailable,
        Some(CloseCode::Unsteady) | None => CloseReason::Lost,
    };
    let name = closed.code.map_or("lost", CloseCode::name);
    (reason, told(&format!("the connection ended: {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_close_code_has_its_reason() {
        for code in CloseCode::ALL {
            let closed = Closed { code: Some(*code), message: String::new(), by_us: false };
            let (reason, message) = reason_of(&closed);
            let stops =
                matches!(code, CloseCode::Kicked | CloseCode::Unauthorised | CloseCode::Protocol);
            assert_eq!(reason.stops().is_some(), stops, "{code}");
            assert!(!message.is_empty());
        }
        let kicked = Closed {
            code: Some(CloseCode::Kicked),
            message: "phone has logged in".to_owned(),
            by_us: false,
        };
        let (reason, message) = reason_of(&kicked);
        assert_eq!(message, "phone has logged in");
        assert_eq!(reason, CloseReason::Kicked { message });
    }
}
