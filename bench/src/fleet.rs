//! A real server and the sessions that load it.
//!
//! Each session of a pair has an account of its own. Idle sessions share accounts, as many as an
//! account may have by default, because making an account costs two password hashes and an idle
//! session gets nothing anyway. When the accounts are made the server is started anew, so that the
//! memory that those hashes took is not mistaken for room that sessions need.

use futures::{StreamExt, TryStreamExt, stream};
use skein_net::dial::{DialConfig, Dialer};
use skein_testkit::{
    gate::{Gate, Login, befriend},
    raw::RawSession,
    server::Server,
};

use crate::{arguments::Pingpong, failure::Failure};

/// Connections on one UDP socket of the load generator.
pub(crate) const SESSIONS_PER_SOCKET: usize = 100;
/// Handshakes under way, well below where the server asks clients to prove their address.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// Idle sessions of one account: what the server allows by default.
const IDLE_PER_ACCOUNT: usize = 16;
/// Accounts being made at a time, well below where the gate turns logins away.
const ACCOUNTS_AT_A_TIME: usize = 8;

/// Everything but how often one address may do something is as it comes.
const CONFIG: &str = "\
    [gate.limits]\n\
    logins_per_network_per_5_minutes = 1000000\n\
    registrations_per_network_per_hour = 1000000\n\
    [chat]\n\
    handshakes_per_address_per_second = 1000000\n\
    requests_per_second = 1000000\n\
    requests_burst = 1000000\n";

/// A loaded server.
pub(crate) struct Fleet {
    pub(crate) pairs: Vec<Pair>,
    /// How much the server grew, for each session.
    pub(crate) bytes_per_session: u64,
    _server: Server,
    _idle: Vec<RawSession>,
    _dialers: Vec<Dialer>,
}

/// Two contacts, both connected.
pub(crate) struct Pair {
    pub(crate) sender: RawSession,
    pub(crate) recipient: RawSession,
    pub(crate) conversation: u64,
}

/// The accounts of a pair, and what makes them one.
struct Acquaintance {
    sender: Login,
    recipient: Login,
    conversation: u64,
}

impl Fleet {
    /// Starts a server and connects the sessions of the load.
    ///
    /// # Errors
    /// If a session is not let in.
    pub(crate) async fn start(load: &Pingpong) -> Result<Self, Failure> {
        let mut server = Server::with_config(CONFIG);
        let gate = Gate::new(server.http());
        let pairs = 2 * load.pairs() as usize;
        let accounts = pairs + (load.idle() as usize).div_ceil(IDLE_PER_ACCOUNT);
        let logins: Vec<_> = stream::iter(0..accounts)
            .map(|number| {
                let gate = &gate;
                async move { gate.newcomer(&format!("bench-{number}")).await }
            })
            .buffered(ACCOUNTS_AT_A_TIME)
            .collect()
            .await;
        let (busy, idle) = logins.split_at(pairs);
        let acquaintances = acquaint(busy).await?;
        server.terminate();
        server.wait();
        server.restart();

        let dialers = Dialers::new(load.sessions as usize)?;
        let before = server.memory_bytes();
        let pairs = connect_pairs(&dialers, &acquaintances).await?;
        let idle: Vec<_> = stream::iter(0..load.idle() as usize)
            .map(|number| {
                dialers.open(2 * acquaintances.len() + number, &idle[number / IDLE_PER_ACCOUNT])
            })
            .buffer_unordered(HANDSHAKES_MAX)
            .try_collect()
            .await?;
        let grown = server.memory_bytes().saturating_sub(before);
        let bytes_per_session = grown / u64::from(load.sessions);
        Ok(Self { pairs, bytes_per_session, _server: server, _idle: idle, _dialers: dialers.0 })
    }
}

/// Makes contacts of each two.
async fn acquaint(logins: &[Login]) -> Result<Vec<Acquaintance>, Failure> {
    let dialers = Dialers::new(logins.len())?;
    stream::iter(logins.chunks_exact(2).enumerate())
        .map(|(number, two)| {
            let dialers = &dialers;
            async move {
                let mut sender = dialers.open(2 * number, &two[0]).await?;
                let mut recipient = dialers.open(2 * number + 1, &two[1]).await?;
                let conversation = befriend(&mut sender, &mut recipient).await;
                let (sender, recipient) = (two[0].clone(), two[1].clone());
                Ok(Acquaintance { sender, recipient, conversation })
            }
        })
        .buffered(ACCOUNTS_AT_A_TIME)
        .try_collect()
        .await
}

async fn connect_pairs(
    dialers: &Dialers,
    acquaintances: &[Acquaintance],
) -> Result<Vec<Pair>, Failure> {
    stream::iter(acquaintances.iter().enumerate())
        .map(|(number, both)| async move {
            Ok(Pair {
                sender: dialers.open(2 * number, &both.sender).await?,
                recipient: dialers.open(2 * number + 1, &both.recipient).await?,
                conversation: both.conversation,
            })
        })
        .buffered(HANDSHAKES_MAX)
        .try_collect()
        .await
}

/// Sockets, each for a number of sessions.
struct Dialers(Vec<Dialer>);

impl Dialers {
    fn new(sessions: usize) -> Result<Self, Failure> {
        let sockets = sessions.div_ceil(SESSIONS_PER_SOCKET);
        let dialers = (0..sockets).map(|_| Dialer::new(DialConfig::default()));
        Ok(Self(dialers.collect::<Result<_, _>>()?))
    }

    /// Opens the session of this number.
    async fn open(&self, number: usize, login: &Login) -> Result<RawSession, Failure> {
        let connection = self.0[number / SESSIONS_PER_SOCKET].dial(&login.chat).await?;
        Ok(RawSession::over(connection, &login.token).await?)
    }
}
