//! What a listener said in its former life, and what its connection ids say to a load balancer.

use std::{net::SocketAddr, sync::mpsc, thread, time::Duration};

use skein_net::{
    admission::AdmissionLimits,
    connection_id::{Form, Router, Routing},
    listen::{ListenConfig, Listener},
    secret::Secret,
};

use crate::{
    scene::{ANY, Certified, PATIENCE, connect, dialer, speak},
    tap::Tap,
};

fn config(secret: &Secret, routing: Option<Routing>) -> ListenConfig {
    let (secret, node) = (secret.clone(), "a".to_owned());
    ListenConfig { secret, node, routing, ..ListenConfig::default() }
}

/// A listener in a runtime of its own, which accepts one client and can be killed: nobody is told.
struct Doomed {
    address: SocketAddr,
    kill: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Doomed {
    fn start(name: &str, secret: &Secret, routing: Option<Routing>) -> (Self, Certified) {
        let certified = Certified::new(name);
        let config = config(secret, routing);
        let (kill, killed) = mpsc::channel();
        let (bound, listening) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = {
            let _inside = runtime.enter();
            certified.listen(config)
        };
        let thread = thread::spawn(move || {
            bound.send(listener.address().expect("bound")).expect("waited for");
            let serving = async move {
                let arriving = listener.accept().await.expect("open");
                let connection = arriving.establish().await.expect("a handshake");
                connection.closed().await
            };
            runtime.spawn(serving);
            killed.recv().expect("killed in time");
            // Nothing runs any more that could tell the client.
            runtime.shutdown_timeout(PATIENCE);
        });
        let address = listening.recv().expect("bound");
        (Self { address, kill, thread }, certified)
    }

    fn kill(self) {
        self.kill.send(()).expect("alive");
        self.thread.join().expect("no panic");
    }
}

/// Connects to a server that is killed and comes back with the same secret; tells how the client
/// learns of it.
async fn learns_of_the_restart(name: &str, routing: Option<Routing>) {
    let secret = Secret::passing();
    let (doomed, certified) = Doomed::start(name, &secret, routing);
    let address = doomed.address;
    // Its packets go on to the port while nobody is there, which some systems report.
    let tap = Tap::start(address).await;
    let client = dialer().dial(&certified.node(tap.address)).await.expect("a connection");
    tokio::task::spawn_blocking(|| doomed.kill()).await.expect("killed");

    // Somebody else may have the port for a moment.
    let again = async {
        loop {
            match Listener::bind(address, &certified.identity, config(&secret, routing)) {
                Ok(again) => return again,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let again = tokio::time::timeout(PATIENCE, again).await.expect("the port is free");
    let (mut sender, _receiver) =
        client.open(skein_net::priority::Priority::Bulk).await.expect("a stream");
    // A reset is shorter than the packet that it answers, so that has to have some length.
    sender.bytes(vec![0; 1000].into()).await.expect("sent");
    let closed = tokio::time::timeout(PATIENCE / 2, client.closed()).await.expect("a reset");
    assert_eq!(closed.message, "the peer has restarted");
    drop(again);
}

#[tokio::test]
async fn a_client_learns_of_a_restart() {
    learns_of_the_restart("reset-random", None).await;
}

#[tokio::test]
async fn a_client_learns_of_a_restart_behind_a_load_balancer() {
    let routing = Routing { node: 3, form: Form::Encrypted, rotation: 1 };
    learns_of_the_restart("reset-routed", Some(routing)).await;
}

#[tokio::test]
async fn an_address_that_was_proved_to_one_node_is_known_to_all_with_its_secret() {
    let secret = Secret::passing();
    let certified = Certified::new("token");
    // Everybody has to show that he is there, with a token or in answer to a Retry.
    let admission = AdmissionLimits { unvalidated_max: 0, ..AdmissionLimits::default() };
    let strict = |secret: &Secret, node: &str, routing| ListenConfig {
        admission,
        node: node.to_owned(),
        ..config(secret, routing)
    };
    let dialer = dialer();
    let visit = async |config| {
        let listener = certified.listen(config);
        let tap = Tap::start(listener.address().expect("bound")).await;
        let (server, client) = connect(&listener, &dialer, &certified.node(tap.address)).await;
        // Tokens come after the handshake, before what is said then.
        assert!(speak(&server, &client).await);
        assert!(speak(&server, &client).await);
        tap.seen(|seen| seen.retries)
    };
    // A client that is not answered soon says hello again, and is challenged once more.
    assert!(visit(strict(&secret, "a", None)).await >= 1, "the first time");
    assert_eq!(visit(strict(&secret, "a", None)).await, 0, "after a restart");
    let routing = Routing { node: 9, form: Form::Encrypted, rotation: 0 };
    assert_eq!(visit(strict(&secret, "b", Some(routing))).await, 0, "at another node");
    assert!(visit(strict(&Secret::passing(), "a", None)).await >= 1, "at a stranger's");
}

#[tokio::test]
async fn each_packet_leads_to_its_node_also_after_a_move() {
    for (form, rotation) in [(Form::Encrypted, 2), (Form::Plain, 0)] {
        let secret = Secret::passing();
        let certified = Certified::new(&format!("routed-{rotation}"));
        let routing = Routing { node: 0x0102, form, rotation };
        let listener = certified.listen(config(&secret, Some(routing)));
        let tap = Tap::start(listener.address().expect("bound")).await;
        let dialer = dialer();
        let (server, client) = connect(&listener, &dialer, &certified.node(tap.address)).await;
        assert!(speak(&server, &client).await);
        dialer.rebind().expect("another socket");
        assert!(speak(&server, &client).await);

        let ids = tap.seen(|seen| seen.short.clone());
        let router = Router::new(form, &secret).expect("a router");
        let node = |id: &Vec<u8>| router.node(&id[..id.len().min(17)]);
        assert!(ids.iter().all(|id| node(id) == Some(0x0102)), "{ids:02x?}");
        let mut different: Vec<_> = ids.iter().filter_map(|id| id.get(..17)).collect();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 1, "a client that moves takes another id");
        assert_eq!(listener.address().expect("bound").ip(), ANY.ip());
    }
}
