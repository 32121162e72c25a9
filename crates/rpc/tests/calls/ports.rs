//! Each port arrives as it was called, and each refusal as it was given.

use std::{sync::Arc, time::Duration};

use skein_core::{
    name::Email,
    port::{
        directory::{Directory, NodeReport, Reported, Term, Trust},
        verifier::{CodeSent, Purpose, Verifier},
    },
    refusal::Code,
};
use skein_ops::lifecycle::Outcome;
use skein_rpc::{access::Role, directory, health::Probe, server::Ports, verifier};

use super::{
    double::{Codes, Nodes, node, refusal},
    peer::{Authority, Process, answer},
};

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

#[tokio::test]
async fn the_verify_role() {
    let authority = Authority::new();
    let codes = Arc::new(Codes::default());
    let ports = Ports { verifier: Some(codes.clone()), ..Ports::default() };
    let process = Process::start(authority.credentials(Role::Verify), ports).await;
    let gate = authority.credentials(Role::Gate);
    let client = verifier::Client::new(&[process.address()], &gate).unwrap();
    let (alice, no) = (email("alice@example.org"), email("no@example.org"));
    // From here on it is connected, and calls take next to no time.
    let connected = answer(|| client.check(Purpose::Register, &alice, "123456")).await;
    assert_eq!(connected, Ok(()));
    codes.asked.lock().unwrap().clear();

    let v4 = "192.0.2.1".parse().unwrap();
    let sent = client.request(Purpose::Register, &alice, v4, true).await;
    assert_eq!(sent, Ok(CodeSent { expires_in: Duration::from_secs(300) }));
    let v6 = "2001:db8::1".parse().unwrap();
    let sent = client.request(Purpose::ResetPassword, &no, v6, false).await;
    assert_eq!(sent, Err(refusal()));
    assert_eq!(client.check(Purpose::ResetPassword, &alice, "123456").await, Ok(()));
    let wrong = client.check(Purpose::Register, &alice, "654321").await.unwrap_err();
    assert_eq!((wrong.code, wrong.retry_after), (Code::WrongCode, None));

    let asked = codes.asked.lock().unwrap().clone();
    let asked: Vec<_> = asked.iter().map(|(a, b, c, d)| (*a, &**b, &**c, *d)).collect();
    assert_eq!(
        asked,
        [
            (Purpose::Register, "alice@example.org", "192.0.2.1", true),
            (Purpose::ResetPassword, "no@example.org", "2001:db8::1", false),
            (Purpose::ResetPassword, "alice@example.org", "123456", true),
            (Purpose::Register, "alice@example.org", "654321", true),
        ]
    );
}

#[tokio::test]
async fn the_status_role() {
    let authority = Authority::new();
    let nodes = Arc::new(Nodes::default());
    let ports = Ports { directory: Some(nodes.clone()), ..Ports::default() };
    let process = Process::start(authority.credentials(Role::Status), ports).await;
    let client =
        |role| directory::Client::new(&[process.address()], &authority.credentials(role)).unwrap();
    let (chat, admin) = (client(Role::Chat), client(Role::Admin));

    let any = node("any", Trust::Authority { server_name: "example.org".into() });
    // From here on it is connected, and calls take next to no time.
    assert_eq!(answer(|| chat.assign(None)).await, Ok(any));
    let other = node("not-a", Trust::Fingerprints(Vec::new()));
    assert_eq!(chat.assign(Some("a")).await, Ok(other));
    assert_eq!(chat.assign(Some("everyone")).await, Err(refusal()));

    let report = |draining| NodeReport {
        node: node("a", Trust::Fingerprints(vec![[1; 32], [2; 32]])),
        sessions: 1,
        sessions_max: u64::MAX,
        draining,
        memory_bytes: 1 << 40,
        cpu_permille: 2_000,
    };
    let first = chat.report(report(false), None).await;
    assert_eq!(first, Ok(Reported { term: Term(7), drain: None }));
    let second = chat.report(report(true), Some(Term(u64::MAX))).await;
    let drain = Some(Duration::from_millis(1_500));
    assert_eq!(second, Ok(Reported { term: Term(u64::MAX), drain }));
    let reports = nodes.reports.lock().unwrap().clone();
    assert_eq!(reports, [(report(false), None), (report(true), Some(Term(u64::MAX)))]);
    assert_eq!(answer(|| admin.nodes()).await, Ok(vec![report(false), report(true)]));

    assert_eq!(chat.leave("a", Term(7)).await, Ok(()));
    assert_eq!(chat.leave("a", Term(8)).await, Err(refusal()));
    let holds = admin.drain("a", Duration::from_secs(30)).await;
    assert_eq!(holds, Ok(Duration::from_secs(15)), "what the directory says, not what was asked");
    let unknown = admin.drain("a", Duration::ZERO).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
}

#[tokio::test]
async fn everyone_may_ask_whether_a_process_is_well() {
    let authority = Authority::new();
    let credentials = authority.credentials(Role::Verify);
    let process = Process::start(credentials, Ports::default()).await;
    let gate = authority.credentials(Role::Gate);
    let probe = Probe::new(Role::Verify, &process.address(), &gate).unwrap();
    assert_eq!(answer(|| probe.check()).await, Ok(()));
    // The idle connection does not keep it from ending.
    assert_eq!(process.end().await, Outcome::Clean);
    assert_eq!(probe.check().await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn an_address_without_a_port_is_none() {
    let gate = Authority::new().credentials(Role::Gate);
    for address in ["", "verify", "verify:", ":7001", "verify:port", "verify:70000"] {
        let client = verifier::Client::new(&[address.to_owned()], &gate);
        assert_eq!(client.err().map(|error| error.0), Some(address.to_owned()));
    }
}
