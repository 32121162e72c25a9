//! Who takes part: a server, alice behind a network that can be made bad, and bob on an undisturbed
//! path, who only listens.
//!
//! Everything of alice goes over one path: QUIC, the WebSocket on the same port, and HTTP to the
//! gate, which tells where to chat. They share its bandwidth and its blackouts.

use std::{io, net::SocketAddr, time::Duration};

use skein_client::{Attachment, Client, ConversationId, DeviceName, Error, LogId, Seq, Username};
use skein_testkit::{
    PATIENCE,
    cli::PASSWORD,
    gate::{Gate, befriend},
    network::{Blocking, Conditions, Path, Scripted, Step, TcpRelay, UdpRelay},
    raw::RawSession,
    server::Server,
};
use tempfile::TempDir;

use super::peer;
use crate::failure::Failure;

/// Port numbers that are tried until one is free for both protocols.
const PORT_TRIES: u32 = 10;

/// How alice's session is carried where nothing disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a client finds best, which is QUIC.
    Quic,
    /// UDP is blocked all the time: one TCP connection with TLS, and a new one when it is dead.
    Tcp,
}

/// Everyone, in place and connected.
pub(crate) struct Scene {
    pub(crate) alice: Client,
    pub(crate) conversation: ConversationId,
    way: Way,
    udp: UdpRelay,
    tcp: TcpRelay,
    gate: TcpRelay,
    _folder: TempDir,
    _server: Server,
}

impl Way {
    /// The system's name in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quic => "skein",
            Self::Tcp => "skein-tcp",
        }
    }

    /// Whether a course may not end without everything. At some loss TCP brings it across in hours.
    pub(crate) const fn all_arrives(self) -> bool {
        matches!(self, Self::Quic)
    }

    /// How long after the chat the file may take.
    pub(crate) const fn patience(self) -> Duration {
        match self {
            Self::Quic => Duration::from_secs(600),
            Self::Tcp => peer::PATIENCE,
        }
    }
}

/// Relays for UDP and TCP on one port number.
fn relays(path: &Path, server: SocketAddr) -> Result<(UdpRelay, TcpRelay), Failure> {
    let mut tries = PORT_TRIES;
    loop {
        let relay = Failure::machine("open a relay");
        let udp = UdpRelay::start_on(path.clone(), server).map_err(relay)?;
        tries -= 1;
        match TcpRelay::listen_on(path.clone(), server, udp.address()) {
            Ok(tcp) => return Ok((udp, tcp)),
            // Somebody else has that port for TCP.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(Failure::machine("open a relay on the same port")(error)),
        }
    }
}

impl Scene {
    /// Two contacts, of whom alice is behind this network and bob is beside the server.
    pub(crate) async fn new(way: Way, network: Conditions) -> Result<(Self, RawSession), Failure> {
        let mut server = Server::start();
        let path = Path::default();
        let (udp, tcp) = relays(&path, server.quic())?;
        let http = server.http().rsplit('/').next().and_then(|address| address.parse().ok());
        let http: SocketAddr = http.expect("the gate's URL ends with its address");
        let relay = Failure::machine("open a relay");
        let gate = TcpRelay::start_on(path.clone(), http).map_err(relay)?;
        server.kill();
        server.restart_with(&format!(
            "[chat]\nadvertise = \"{}\"\nrequests_per_second = 1000000\nrequests_burst = 1000000\n",
            udp.address()
        ));

        let direct = Gate::new(server.http());
        let (mut near, mut bob) = (direct.newcomer("alice").await, direct.newcomer("bob").await);
        near.chat.address = server.quic().to_string();
        bob.chat.address = server.quic().to_string();
        let mut bob = RawSession::open(&bob).await?;
        let conversation = befriend(&mut RawSession::open(&near).await?, &mut bob).await;

        path.set_both(network);
        if way == Way::Tcp {
            let blocked = udp.block(Some(Blocking::Silent));
            blocked.map_err(Failure::machine("block UDP"))?;
        }
        let folder = TempDir::new().map_err(Failure::machine("make a folder"))?;
        let alice = Client::open(&folder.path().join("alice"))?;
        let name = Username::parse("alice").expect("a name");
        let device = DeviceName::parse("phone").expect("a name");
        alice.log_in(&format!("http://{}", gate.address()), &name, PASSWORD, &device).await?;
        alice.connect().await?;
        alice.caught_up(PATIENCE).await?;
        let conversation = ConversationId(conversation);
        let scene =
            Self { alice, conversation, way, udp, tcp, gate, _folder: folder, _server: server };
        Ok((scene, bob))
    }

    /// The file that a message shows.
    ///
    /// # Errors
    /// If it shows none, or the server cannot be asked.
    pub(crate) async fn attachment(&self, seq: Seq) -> Result<Attachment, Failure> {
        let entry = self.alice.entry(LogId::Conversation(self.conversation), seq).await?;
        let shown = entry.body.attachment().cloned();
        Ok(shown.ok_or_else(|| Error::BadAnswer("the message shows no file".into()))?)
    }

    /// Lets something happen to alice's network.
    ///
    /// # Errors
    /// If no socket can be had for it.
    pub(crate) fn apply(&self, step: Step) -> Result<(), Failure> {
        if self.way == Way::Tcp && matches!(step, Step::Block(_)) {
            // It is blocked all the time.
            return Ok(());
        }
        let relays: [&dyn Scripted; 3] = [&self.udp, &self.tcp, &self.gate];
        for relay in relays {
            relay.apply(step).map_err(Failure::machine("change the network"))?;
        }
        Ok(())
    }
}
