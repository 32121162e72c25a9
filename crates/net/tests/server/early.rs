//! What a client says before the handshake is over.

use std::time::Duration;

use skein_core::port::directory::ChatNode;
use skein_net::{Connection, dial::Dialer, listen::Listener};
use skein_wire::pb;

use crate::scene::{ANY, Certified, dialer};

const FIRST: pb::Presence = pb::Presence { account: 7, online: true };

/// Both ends of a new connection of a client that has something to say at once.
async fn come(listener: &Listener, dialer: &Dialer, node: &ChatNode) -> (Connection, Connection) {
    let server = async {
        let arriving = listener.accept().await.expect("open");
        arriving.establish().await.expect("a handshake")
    };
    let (server, client) = tokio::join!(server, dialer.dial_early(node, &FIRST));
    (server, client.expect("a connection"))
}

/// Says it in the usual way, and waits for the answer, after which the client has its tickets.
async fn talk(server: &Connection, client: &Connection) {
    let asking = async {
        let opened = client.open(skein_net::priority::Priority::Session).await;
        let (mut sender, mut receiver) = opened.expect("a stream");
        sender.frame(&FIRST).await.expect("sent");
        let answer: pb::Presence = receiver.frame().await.expect("a frame").expect("no end");
        assert_eq!(answer, FIRST);
    };
    let answering = async {
        let (mut sender, mut receiver) = server.accept().await.expect("a stream");
        let asked: pb::Presence = receiver.frame().await.expect("a frame").expect("no end");
        sender.frame(&asked).await.expect("sent");
        sender
    };
    let ((), mut sender) = tokio::join!(asking, answering);
    sender.finish();
}

#[tokio::test]
async fn who_was_here_before_is_heard_with_the_first_packets() {
    let certified = Certified::new("early");
    let listener = certified.listen(skein_net::listen::ListenConfig::default());
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    assert_eq!(listener.address().expect("bound").ip(), ANY.ip());
    let (server, client) = come(&listener, &dialer, &node).await;
    assert!(client.take_begun().is_none(), "nobody has a ticket the first time");
    assert!(!server.is_early());
    talk(&server, &client).await;

    let (server, client) = come(&listener, &dialer, &node).await;
    let (_sender, mut receiver) = client.take_begun().expect("it was taken");
    assert!(server.is_early());
    let (mut answer, mut heard) = server.accept().await.expect("the stream");
    let said: pb::Presence = heard.frame().await.expect("a frame").expect("no end");
    assert_eq!(said, FIRST);
    server.proven().await.expect("the client is who it was");
    server.proven().await.expect("and stays so");
    answer.frame(&said).await.expect("sent");
    let answer: pb::Presence = receiver.frame().await.expect("a frame").expect("no end");
    assert_eq!(answer, FIRST);
    talk(&server, &client).await;
}

#[tokio::test]
async fn attempts_with_nothing_to_say_early_leave_the_tickets_for_one_that_has() {
    let certified = Certified::new("spared");
    let listener = certified.listen(skein_net::listen::ListenConfig::default());
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    let (server, client) = come(&listener, &dialer, &node).await;
    talk(&server, &client).await;
    // More of them than it was given tickets, and nobody answers.
    for _ in 0..4 {
        let attempt = tokio::time::timeout(Duration::from_millis(50), dialer.dial(&node)).await;
        assert!(attempt.is_err(), "nobody accepts");
    }
    let server = async {
        loop {
            let arriving = listener.accept().await.expect("open");
            if let Ok(server) = arriving.establish().await {
                break server;
            }
        }
    };
    let (server, client) = tokio::join!(server, dialer.dial_early(&node, &FIRST));
    assert!(client.expect("a connection").take_begun().is_some() && server.is_early());
}

#[tokio::test]
async fn a_server_that_knows_the_ticket_no_more_is_told_again() {
    let certified = Certified::new("forgotten");
    let listener = certified.listen(skein_net::listen::ListenConfig::default());
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    let (server, client) = come(&listener, &dialer, &node).await;
    talk(&server, &client).await;
    // As after a restart: it shows the same certificate and has no tickets.
    listener.replace_identity(&certified.identity).expect("the same certificate");
    let (server, client) = come(&listener, &dialer, &node).await;
    assert!(client.take_begun().is_none() && !server.is_early());
    talk(&server, &client).await;
}
