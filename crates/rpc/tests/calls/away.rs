//! Peers that are away, frozen or going: the caller hears it in time, or another peer answers.

use std::{sync::Arc, time::Duration};

use skein_core::{
    name::Email,
    port::{
        directory::Directory,
        verifier::{Purpose, Verifier},
    },
    refusal::{Code, Refusal},
};
use skein_rpc::{access::Role, directory, server::Ports, verifier};
use tokio::{net::TcpListener, time::timeout};

use super::{
    double::{Codes, Nodes},
    peer::{Authority, Nobody, PATIENCE, Process, Relay, answer},
};

/// How often a story is told whose point a slow machine may pass over.
const TOLD_MAX: usize = 5;

async fn requested(client: &verifier::Client) -> Result<(), Refusal> {
    let email = Email::parse("alice@example.org").unwrap();
    let asked = client.request(Purpose::Register, &email, "192.0.2.1".parse().unwrap(), true);
    timeout(PATIENCE, asked).await.expect("the call has a deadline").map(|_| ())
}

async fn assigned(client: &directory::Client) -> Result<(), Refusal> {
    timeout(PATIENCE, client.assign(None)).await.expect("the call has a deadline").map(|_| ())
}

/// Calls until it succeeds.
async fn answered<F, Fut>(call: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), Refusal>>,
{
    assert_eq!(answer(call).await, Ok(()));
}

fn assert_unavailable(answer: Result<(), Refusal>) {
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable);
    assert!(refusal.retry_after.is_some());
}

fn codes() -> (Arc<Codes>, Ports) {
    let codes = Arc::new(Codes::default());
    (codes.clone(), Ports { verifier: Some(codes), ..Ports::default() })
}

fn nodes() -> Ports {
    Ports { directory: Some(Arc::new(Nodes::default())), ..Ports::default() }
}

#[tokio::test]
async fn who_is_away_is_unavailable() {
    let gate = Authority::new().credentials(Role::Gate);
    let none = directory::Client::new(&[], &gate).unwrap();
    assert_unavailable(assigned(&none).await);
    let away = Nobody::new();
    let client = directory::Client::new(std::slice::from_ref(&away.address), &gate).unwrap();
    for _ in 0..3 {
        assert_unavailable(assigned(&client).await);
    }
}

#[tokio::test]
async fn who_takes_connections_and_says_nothing_is_unavailable() {
    let gate = Authority::new().credentials(Role::Gate);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let client = directory::Client::new(std::slice::from_ref(&address), &gate).unwrap();
    assert_unavailable(assigned(&client).await);
    let client = verifier::Client::new(&[address], &gate).unwrap();
    assert_unavailable(requested(&client).await);
}

#[tokio::test]
async fn who_is_back_answers_again() {
    let authority = Authority::new();
    let (gate, status) = (authority.credentials(Role::Gate), authority.credentials(Role::Status));
    let process = Process::start(status.clone(), nodes()).await;
    let addr = process.addr;
    let client = directory::Client::new(&[process.address()], &gate).unwrap();
    answered(|| assigned(&client)).await;
    process.stop().await;
    assert_unavailable(assigned(&client).await);
    let _again = Process::start_at(addr, status, nodes()).await;
    answered(|| assigned(&client)).await;
}

#[tokio::test]
async fn a_caller_that_goes_while_connecting_leaves_no_harm() {
    let authority = Authority::new();
    let process = Process::start(authority.credentials(Role::Status), nodes()).await;
    let gate = authority.credentials(Role::Gate);
    for _ in 0..TOLD_MAX {
        let relay = Relay::held_before(process.addr).await;
        let client = directory::Client::new(std::slice::from_ref(&relay.address), &gate).unwrap();
        tokio::select! {
            () = relay.accepts() => {}
            answer = client.assign(None) => panic!("nothing flows: {answer:?}"),
        }
        relay.flow();
        // Longer than either side waits for a handshake.
        tokio::time::sleep(Duration::from_secs(4)).await;
        // At the first call, unless the machine was too slow for the handshake.
        if assigned(&client).await.is_ok() {
            return;
        }
    }
    panic!("it never answers");
}

#[tokio::test]
async fn the_next_peer_answers_for_one_that_is_away() {
    let authority = Authority::new();
    let gate = authority.credentials(Role::Gate);
    let process = Process::start(authority.credentials(Role::Status), nodes()).await;
    let away = Nobody::new();
    // A new caller each time, which has not learned yet that one is away.
    answered(|| async {
        let peers = [away.address.clone(), process.address()];
        assigned(&directory::Client::new(&peers, &gate).unwrap()).await
    })
    .await;

    // What was not sent may go to the next although it may be done only once.
    let (codes, ports) = codes();
    let process = Process::start(authority.credentials(Role::Verify), ports).await;
    answered(|| async {
        codes.asked.lock().unwrap().clear();
        let peers = [away.address.clone(), process.address()];
        requested(&verifier::Client::new(&peers, &gate).unwrap()).await
    })
    .await;
    assert_eq!(codes.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_next_peer_answers_for_one_that_freezes() {
    let authority = Authority::new();
    let (gate, status) = (authority.credentials(Role::Gate), authority.credentials(Role::Status));
    let (first, second) =
        (Process::start(status.clone(), nodes()).await, Process::start(status, nodes()).await);
    let relay = Relay::before(first.addr).await;
    let client = directory::Client::new(&[relay.address.clone(), second.address()], &gate).unwrap();
    answered(|| assigned(&client)).await;
    relay.freeze();
    answered(|| assigned(&client)).await;
}

#[tokio::test]
async fn what_may_be_done_once_is_not_sent_twice() {
    let authority = Authority::new();
    let (gate, verify) = (authority.credentials(Role::Gate), authority.credentials(Role::Verify));
    let stuck = Arc::new(Codes { stuck: true, ..Codes::default() });
    let ports = Ports { verifier: Some(stuck.clone()), ..Ports::default() };
    let first = Process::start(verify.clone(), ports).await;
    let (codes, ports) = codes();
    let second = Process::start(verify, ports).await;
    for _ in 0..TOLD_MAX {
        codes.asked.lock().unwrap().clear();
        let client = verifier::Client::new(&[first.address(), second.address()], &gate).unwrap();
        let answer = requested(&client).await;
        // What did not get as far as the first peer may go to the second.
        if stuck.asked.lock().unwrap().is_empty() {
            continue;
        }
        assert_unavailable(answer);
        assert_eq!(stuck.asked.lock().unwrap().len(), 1);
        assert_eq!(codes.asked.lock().unwrap().len(), 0);
        // The next call goes to the other peer first.
        answered(|| requested(&client)).await;
        assert!(!codes.asked.lock().unwrap().is_empty());
        return;
    }
    panic!("the first peer is never reached");
}
