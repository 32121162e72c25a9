//! The race between transports, and between the addresses of one name.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use skein_wire::close::CloseCode;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    DialError,
    memory::{BLOCKED_FOR, Memory, Network},
};
use crate::Connection;

/// How long an address is tried alone before the next is tried beside it (RFC 8305, section 8).
const ADDRESS_DELAY: Duration = Duration::from_millis(250);
/// How soon QUIC is tried again where WebSocket has won. The time doubles with each attempt, until the
/// network is taken for one that blocks UDP.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Starts one attempt after the other, each when those before have failed or taken a while. The
/// first that succeeds wins, and the others are dropped. A server that is not trusted ends it.
pub(super) async fn in_turn<A>(attempts: impl Iterator<Item = A>) -> Result<Connection, DialError>
where
    A: Future<Output = Result<Connection, DialError>>,
{
    let mut waiting = attempts.fuse().peekable();
    let mut running = FuturesUnordered::new();
    let mut failed = None;
    loop {
        running.extend(waiting.next());
        tokio::select! {
            done = running.next() => match done {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error @ DialError::Untrusted { .. })) => return Err(error),
                Some(Err(error)) => failed = Some(error),
                None => {}
            },
            () = sleep(ADDRESS_DELAY), if waiting.peek().is_some() => {}
        }
        if running.is_empty() && waiting.peek().is_none() {
            return Err(failed.unwrap_or_else(|| DialError::Tls("there was no attempt".into())));
        }
    }
}

/// QUIC at once and WebSocket a little later, unless QUIC has answered: the first to finish wins. If
/// that is WebSocket, QUIC goes on being tried, now and then, for as long as the connection lives.
pub(super) async fn race<Q, W>(
    quic: impl Fn() -> Q + Send + 'static,
    websocket: W,
    network: Network,
    memory: &Arc<Memory>,
) -> Result<Connection, DialError>
where
    Q: Future<Output = Result<Connection, DialError>> + Send + 'static,
    W: Future<Output = Result<Connection, DialError>>,
{
    let ahead = memory.ahead(network, Instant::now());
    let mut trying = Some(Attempt(tokio::spawn(quic())));
    let mut late = pin!(async {
        sleep(ahead).await;
        websocket.await
    });
    let tried = async {
        match &mut trying {
            Some(attempt) => attempt.done().await,
            None => std::future::pending().await,
        }
    };
    let reached = tokio::select! {
        tried = tried => match tried {
            Ok(connection) => {
                memory.forget(network);
                return Ok(connection);
            }
            Err(silent) if is_silence(&silent) => {
                trying = None;
                late.await.map_err(|error| worse(error, silent))
            }
            Err(answer) => return Err(answer),
        },
        reached = &mut late => reached,
    };
    match (reached, trying) {
        (Ok(connection), trying) => {
            memory.blocked(network, Instant::now());
            Ok(connection.with(Outlook::new(quic, trying, network, Arc::clone(memory))))
        }
        // A server without WebSocket, or one that is away.
        (Err(error), Some(mut trying)) => trying.done().await.map_err(|other| worse(error, other)),
        (Err(error), None) => Err(error),
    }
}

/// Looks out for a better way than the one a connection goes.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// How often it has found one.
    found: watch::Receiver<u64>,
    _looking: AbortOnDrop<()>,
}

impl Outlook {
    fn new<Q>(
        quic: impl Fn() -> Q + Send + 'static,
        mut trying: Option<Attempt>,
        network: Network,
        memory: Arc<Memory>,
    ) -> Self
    where
        Q: Future<Output = Result<Connection, DialError>> + Send + 'static,
    {
        let (found_in, found) = watch::channel(0);
        let looking = tokio::spawn(async move {
            let mut again_after = AGAIN_AFTER;
            loop {
                let tried = match &mut trying {
                    Some(attempt) => attempt.done().await,
                    None => quic().await,
                };
                if let Ok(connection) = tried {
                    // It was to find out only: whoever wants to use the way dials.
                    connection.close(CloseCode::Normal, "");
                    memory.open(network, Instant::now());
                    // Whoever is told may not get there, and is told again.
                    found_in.send_modify(|found| *found += 1);
                    again_after = BLOCKED_FOR;
                }
                trying = None;
                sleep(again_after).await;
                again_after = (2 * again_after).min(BLOCKED_FOR);
            }
        });
        Self { found, _looking: AbortOnDrop(looking) }
    }

    /// Resolves when it has found one more than so many times, and tells how often.
    pub(crate) async fn found(&self, times: u64) -> u64 {
        let mut found = self.found.clone();
        let found = found.wait_for(|found| *found > times).await.map(|found| *found);
        match found {
            Ok(found) => found,
            Err(_) => std::future::pending().await,
        }
    }
}

/// A QUIC connection in the making, which ends with whoever wants it.
struct Attempt(JoinHandle<Result<Connection, DialError>>);

impl Attempt {
    async fn done(&mut self) -> Result<Connection, DialError> {
        let done = (&mut self.0).await;
        done.unwrap_or_else(|error| Err(DialError::Tls(format!("QUIC was not tried: {error}"))))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends a task with its owner.
#[derive(Debug)]
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether nothing came back, as where UDP is blocked.
const fn is_silence(error: &DialError) -> bool {
    matches!(error, DialError::Unreachable { answered: false, .. })
}

/// What to tell when both failed: that the server is not trusted, else what QUIC ran into.
fn worse(websocket: DialError, quic: DialError) -> DialError {
    if matches!(websocket, DialError::Untrusted { .. }) { websocket } else { quic }
}
