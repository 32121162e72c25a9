//! The same chat by XMPP: ejabberd and a client for Node, one TCP connection with TLS that is made
//! again when it is dead, and stream management, so that nothing is missing or doubled after that.
//! Alice is behind the same relay on the same path, bob beside the server.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use skein_testkit::{
    PATIENCE,
    network::{Path, TcpRelay},
};
use tokio::{
    io::{AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use self::server::Server;
use super::{
    chat::{self, Ear, Heard},
    course::Course,
    peer,
    tally::Run,
};
use crate::{failure::Failure, pace::Lane};

mod server;

/// The system's name in results.
const NAME: &str = "ejabberd";
/// Where its clients are among the tools.
const FOLDER: &str = "xmpp";

/// What a client prints, a line each.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    State(State),
    /// The number of a message.
    Heard(u64),
}

/// To what a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It has a new session.
    Online,
    /// It goes on with the session that it had.
    Resumed,
    /// It has no connection, or did not get one.
    Disconnected,
}

/// A client. It ends when dropped.
struct Client {
    _process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Whether everything for it is installed.
pub(crate) fn is_there() -> bool {
    peer::is_installed(FOLDER) && server::is_installed()
}

/// Lets alice write while the course is played.
///
/// # Errors
/// If it cannot be started. A message that does not come is none.
pub(crate) async fn play(course: &Course) -> Result<Run, Failure> {
    let server = Server::start();
    let path = Path::default();
    path.set_both(course.network);
    let relay =
        TcpRelay::start_on(path, server.address()).map_err(Failure::machine("open a relay"))?;
    let mut bob = Client::start("bob.mjs", server.address(), &server)?;
    let mut alice = Client::start("alice.mjs", relay.address(), &server)?;
    if !bob.is_online().await {
        return Err(Failure::Peer(NAME));
    }
    // What is due before she has a session waits for it.
    let state = if alice.is_online().await { State::Online } else { State::Disconnected };

    let pace = chat::pace(course);
    let begin = pace.due(0);
    let heard = Heard::listen(pace, |ear| listen(bob, ear));
    let states = Arc::new(Mutex::new(vec![(Duration::ZERO, state.word())]));
    let watching = tokio::spawn(watch(alice.lines, begin, Arc::clone(&states)));
    let (lanes, clock) = pace.start();
    let writing = tokio::spawn(write(lanes, alice.input));
    peer::turn(course, &relay, begin).await?;
    // Until the end of its input she goes on.
    let _input = writing.await?;
    let unsent = clock.join().unwrap_or(pace.messages());
    let heard = heard.complete(pace.end()).await?;
    watching.abort();
    let states = states.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Run { system: NAME, heard, sent: None, states, unsent })
}

impl Client {
    fn start(script: &str, address: SocketAddr, server: &Server) -> Result<Self, Failure> {
        let mut process = peer::node(FOLDER, script)
            .arg(format!("xmpps://{address}"))
            .env("NODE_EXTRA_CA_CERTS", server.certificate())
            .spawn()
            .map_err(Failure::machine("start node"))?;
        let input = process.stdin.take().expect("it is piped");
        let lines = peer::lines(&mut process);
        Ok(Self { _process: process, input, lines })
    }

    /// Waits until it has a session, or has not got one in a long time.
    async fn is_online(&mut self) -> bool {
        let online = async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                if let Ok(News::State(State::Online)) = serde_json::from_str(&line) {
                    return true;
                }
            }
            false
        };
        timeout(PATIENCE, online).await.unwrap_or(false)
    }
}

impl State {
    /// What it is called in results.
    const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Resumed => "resumed",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Hands alice what is due, in time; gives her input back.
async fn write(lanes: Vec<Lane>, mut input: ChildStdin) -> ChildStdin {
    for mut lane in lanes {
        while let Some(message) = lane.recv().await {
            // A client that has ended loses what follows, which the figures show.
            input.write_all(format!("{message}\n").as_bytes()).await.ok();
        }
    }
    input
}

/// What bob's client prints.
async fn listen(mut bob: Client, ear: Ear) {
    while let Ok(Some(line)) = bob.lines.next_line().await {
        if let Ok(News::Heard(message)) = serde_json::from_str(&line) {
            ear.hear(message);
        }
    }
}

/// What alice's client says of itself.
async fn watch(
    mut lines: Lines<BufReader<ChildStdout>>,
    begin: Instant,
    states: Arc<Mutex<Vec<(Duration, &'static str)>>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(News::State(state)) = serde_json::from_str(&line) {
            let now = Instant::now().saturating_duration_since(begin);
            states.lock().unwrap_or_else(PoisonError::into_inner).push((now, state.word()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_scripts_are_understood_and_others_left() {
        let table = [
            (r#"{"state":"online"}"#, Some(News::State(State::Online))),
            (r#"{"state":"resumed"}"#, Some(News::State(State::Resumed))),
            (r#"{"state":"disconnected"}"#, Some(News::State(State::Disconnected))),
            (r#"{"heard":7}"#, Some(News::Heard(7))),
            (r#"{"error":"read ECONNRESET"}"#, None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(serde_json::from_str(line).ok(), expected, "{line:?}");
        }
    }
}
