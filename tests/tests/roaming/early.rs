//! A client that comes back says hello with its first packets; somebody who has recorded them, or
//! held them back, gains nothing by sending them.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use skein_net::dial::{DialConfig, Dialer};
use skein_testkit::{
    PATIENCE,
    gate::{Gate, Login, befriend},
    raw::RawSession,
    server::Server,
};
use skein_wire::{
    close::CloseCode,
    pb::{self, open, reply, request},
};
use tokio::{net::UdpSocket, task::JoinHandle};

/// How long the packets of a client are held back: it goes on trying for longer.
const HELD_BACK: Duration = Duration::from_secs(1);
/// How soon what was not answered is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long a recording is played to a server that may remember what it was.
const REMEMBERED_MAX: Duration = Duration::from_secs(20);

/// Stands between a client and a server, and keeps what the client sends.
struct Recorder {
    address: SocketAddr,
    server: SocketAddr,
    tape: Arc<Mutex<Tape>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Tape {
    datagrams: Vec<Vec<u8>>,
    holds_back: bool,
    is_over: bool,
}

impl Recorder {
    async fn start(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = front.local_addr().expect("bound");
        let tape = Arc::<Mutex<Tape>>::default();
        let task = tokio::spawn(relay(front, server, Arc::clone(&tape)));
        Self { address, server, tape, task }
    }

    /// Begins a new tape. What is held back does not reach the server.
    fn record(&self, holds_back: bool) {
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        *tape = Tape { datagrams: Vec::new(), holds_back, is_over: false };
    }

    /// Leaves out of the tape what comes from now on.
    fn stop(&self) {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
    }

    /// Sends what was recorded to the server, from another address, until it answers, and says
    /// whether it has: as long as it remembers the connection that this was, it does not.
    async fn play(&self) -> bool {
        let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner).datagrams.clone();
        assert!(!tape.is_empty(), "something was recorded");
        let playing = async {
            let mut answer = [0; 2048];
            loop {
                for datagram in &tape {
                    stranger.send_to(datagram, self.server).await.expect("sent");
                }
                let answered = stranger.recv(&mut answer);
                if tokio::time::timeout(AGAIN_AFTER, answered).await.is_ok() {
                    break;
                }
            }
        };
        tokio::time::timeout(REMEMBERED_MAX, playing).await.is_ok()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(front: UdpSocket, server: SocketAddr, tape: Arc<Mutex<Tape>>) {
    let back = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (mut up, mut down, mut client) = (vec![0; 65_535], vec![0; 65_535], None);
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut up) => {
                client = Some(from);
                let held_back = {
                    let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
                    if !tape.is_over {
                        tape.datagrams.push(up[..length].to_vec());
                    }
                    tape.holds_back
                };
                if !held_back {
                    back.send_to(&up[..length], server).await.ok();
                }
            }
            Ok(length) = back.recv(&mut down) => {
                if let Some(client) = client {
                    front.send_to(&down[..length], client).await.ok();
                }
            }
        }
    }
}

fn hello(login: &Login) -> pb::Open {
    let token = login.token.clone();
    let hello = pb::SessionOpen { token, cursors: Vec::new(), client: "raw".into() };
    pb::Open { kind: Some(open::Kind::Session(hello)) }
}

async fn is_online(session: &mut RawSession, account: u64) -> bool {
    match session.request(request::Kind::ListContacts(pb::ListContacts {})).await {
        reply::Kind::Contacts(contacts) => contacts.contacts.iter().any(|contact| {
            contact.online && contact.profile.as_ref().is_some_and(|one| one.account == account)
        }),
        other => panic!("{other:?}"),
    }
}

/// Waits until one is told that the other came or went: that it is so can be seen before, and what
/// is told after that would be taken for the work of a recording.
async fn sees(bob: &mut RawSession, account: u64, online: bool) {
    let news = Some(pb::event::Kind::Presence(pb::Presence { account, online }));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while is_online(bob, account).await != online || bob.events.iter().all(|it| it.kind != news) {
        assert!(tokio::time::Instant::now() < deadline, "bob does not see it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bob.events.clear();
}

/// Nobody has come, and nobody was told so.
async fn sees_nobody(bob: &mut RawSession, account: u64) {
    for _ in 0..20 {
        assert!(!is_online(bob, account).await, "a recording is no session");
    }
    let came = |event: &pb::Event| matches!(&event.kind, Some(pb::event::Kind::Presence(one)) if one.online);
    assert!(!bob.events.iter().any(came), "{:?}", bob.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_is_welcomed_at_once_and_a_recording_is_not() {
    let server = Server::with_config("[chat]\nidle_timeout_seconds = 8\n");
    let gate = Gate::new(server.http());
    let (mut alice, bob) = (gate.newcomer("alice").await, gate.newcomer("bob").await);
    let keep_alive = DialConfig { keep_alive: Duration::from_secs(1), ..Default::default() };
    let mut bob = RawSession::open_with(&bob, keep_alive).await.expect("welcome");
    let recorder = Recorder::start(server.quic()).await;
    alice.chat.address = recorder.address.to_string();
    let dialer = Dialer::new(keep_alive).expect("a socket");

    // The first time there is no ticket.
    let connection = dialer.dial_early(&alice.chat, &hello(&alice)).await.expect("a connection");
    assert!(connection.take_begun().is_none());
    let mut session = RawSession::over(connection, &alice.token).await.expect("welcome");
    befriend(&mut session, &mut bob).await;
    let account = session.account();
    session.connection.close(CloseCode::Normal, "bye");
    sees(&mut bob, account, false).await;

    recorder.record(false);
    let connection = dialer.dial_early(&alice.chat, &hello(&alice)).await.expect("a connection");
    let (_sender, mut receiver) = connection.take_begun().expect("said with the first packets");
    let welcome: pb::Welcome = receiver.frame().await.expect("a frame").expect("no end");
    assert_eq!((welcome.account, welcome.heads.len()), (account, 2));
    sees(&mut bob, account, true).await;
    connection.close(CloseCode::Normal, "bye");
    dialer.idle().await;
    sees(&mut bob, account, false).await;
    recorder.play().await;
    sees_nobody(&mut bob, account).await;

    // Somebody keeps the packets from the server and sends them himself: they are answered once,
    // in a way that he cannot read, and make nobody come. What the client says when it gives up he
    // leaves out: a server that hears both at once need not answer.
    let dialer = Dialer::new(keep_alive).expect("a socket");
    let connection = dialer.dial_early(&alice.chat, &hello(&alice)).await.expect("a connection");
    let session = RawSession::over(connection, &alice.token).await.expect("welcome");
    sees(&mut bob, account, true).await;
    session.connection.close(CloseCode::Normal, "bye");
    sees(&mut bob, account, false).await;
    recorder.record(true);
    let hello = hello(&alice);
    let mut dialing = pin!(dialer.dial_early(&alice.chat, &hello));
    assert!(tokio::time::timeout(HELD_BACK, &mut dialing).await.is_err(), "nobody answers");
    recorder.stop();
    assert!(recorder.play().await, "to the server this is a client");
    sees_nobody(&mut bob, account).await;
    recorder.play().await;
    sees_nobody(&mut bob, account).await;
}
