//! One connection to Redis that is made anew when it is lost.
//!
//! Each time it starts from nothing with a new client, of which nothing is known to the one before:
//! no command is repeated, no answer comes late, and whoever subscribes knows that it has to do so
//! again. A server that keeps its connection open and does not answer counts as lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, ClusterInterface},
    types::ConnectHandle,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{
    ConnectError,
    address::{COMMAND_MAX, Recipe},
    words::words,
};
use crate::metric;

/// How long it may take until a connection is ready, to all servers of a cluster.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often a server is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How often a cluster is asked who serves what.
const CLUSTER_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait before the first attempt to connect again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// How long to wait between attempts at most.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that is there, and which one of those that were it is.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) number: u64,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Commands,
    Publishing,
    Subscribing,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Publishing => "publish",
            Self::Subscribing => "subscribe",
        }
    }
}

/// A connection that is made anew when it is lost.
pub(super) struct Link {
    live: watch::Receiver<Option<Live>>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// Connects for the first time.
    pub(super) async fn connect(
        recipe: Arc<Recipe>,
        purpose: Purpose,
    ) -> Result<Self, ConnectError> {
        let first = Connection::make(&recipe).await;
        let first = first.map_err(|error| ConnectError::Unreachable(words(&error)))?;
        let (sender, live) = watch::channel(Some(Live { client: first.client.clone(), number: 0 }));
        let keeper = Keeper { recipe, purpose, sender };
        let task = AbortOnDropHandle::new(tokio::spawn(keeper.keep(first)));
        Ok(Self { live, _task: task })
    }

    /// The connection, if it is there now.
    pub(super) fn client(&self) -> Option<Client> {
        self.live.borrow().as_ref().map(|live| live.client.clone())
    }

    /// Tells of each change.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Live>> {
        self.live.clone()
    }
}

struct Keeper {
    recipe: Arc<Recipe>,
    purpose: Purpose,
    sender: watch::Sender<Option<Live>>,
}

impl Keeper {
    async fn keep(self, first: Connection) {
        let name = self.purpose.name();
        let mut connection = first;
        for number in 1.. {
            metric::connected(name, true);
            let error = connection.until_lost(self.purpose).await;
            self.sender.send_replace(None);
            metric::connected(name, false);
            let error = words(&error);
            warn!(bus.connection = name, error, "the connection to Redis is lost");
            // Ends the task of the old client before there is a new one.
            drop(connection);
            let lost = Instant::now();
            connection = self.anew().await;
            metric::reconnected(name);
            let away_ms = lost.elapsed().as_millis();
            info!(bus.connection = name, away_ms, "connected to Redis again");
            self.sender.send_replace(Some(Live { client: connection.client.clone(), number }));
        }
    }

    async fn anew(&self) -> Connection {
        let name = self.purpose.name();
        let mut pause = PAUSE_MIN;
        loop {
            // Many nodes lose the same server at once, and should not come back at once.
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            match Connection::make(&self.recipe).await {
                Ok(connection) => return connection,
                Err(error) => {
                    let error = words(&error);
                    tracing::debug!(bus.connection = name, error, "cannot reach Redis");
                }
            }
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }
}

/// A client with the task that serves it, which ends with it.
struct Connection {
    client: Client,
    task: AbortOnDropHandle<Result<(), Error>>,
}

impl Connection {
    async fn make(recipe: &Recipe) -> Result<Self, Error> {
        let client = recipe.client();
        let task: ConnectHandle = client.connect();
        let mut task = AbortOnDropHandle::new(task);
        let ready = async {
            tokio::select! {
                ready = client.wait_for_connect() => ready,
                ended = &mut task => Err(ended_with(ended)),
            }
        };
        timeout(CONNECT_MAX, ready).await.map_err(|_| too_slow())??;
        Ok(Self { client, task })
    }

    /// Waits until it is of no use any more, and says why.
    async fn until_lost(&mut self, purpose: Purpose) -> Error {
        let client = self.client.clone();
        tokio::select! {
            ended = &mut self.task => ended_with(ended),
            error = until_silent(&client) => error,
            error = until_moved(&client), if purpose == Purpose::Subscribing => error,
        }
    }
}

/// Asks each server whether it is there until one does not answer.
async fn until_silent(client: &Client) -> Error {
    let mut ticks = interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = ping(client).await {
            return error;
        }
    }
}

async fn ping(client: &Client) -> Result<(), Error> {
    let pings = async {
        if !client.is_clustered() {
            return client.ping::<()>(None).await;
        }
        for server in client.active_connections() {
            client.with_cluster_node(server).ping::<()>(None).await?;
        }
        Ok(())
    };
    timeout(COMMAND_MAX, pings).await.map_err(|_| too_slow())?
}

/// Waits until a cluster has given slots to other servers. Whoever was subscribed there is so no
/// more, and nobody says so, so the connection has to begin anew. Commands are sent on by
/// themselves.
async fn until_moved(client: &Client) -> Error {
    if !client.is_clustered() {
        return std::future::pending().await;
    }
    let before = slots(client);
    let mut ticks = interval(CLUSTER_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(COMMAND_MAX, client.sync_cluster()).await {
            Ok(Ok(())) if slots(client) == before => {}
            Ok(Ok(())) => return Error::new(ErrorKind::Cluster, "slots have moved"),
            Ok(Err(error)) => return error,
            Err(_) => return too_slow(),
        }
    }
}

/// The server of each range of slots.
fn slots(client: &Client) -> BTreeMap<(u16, u16), String> {
    let ranges = client.cached_cluster_state();
    let ranges = ranges.as_ref().map_or(&[][..], |state| state.slots());
    ranges.iter().map(|range| ((range.start, range.end), range.primary.to_string())).collect()
}

fn ended_with(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => Error::new(ErrorKind::IO, "the connection was closed"),
        Err(error) => Error::new(ErrorKind::Unknown, error.to_string()),
    }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Timeout, "it does not answer in time")
}
