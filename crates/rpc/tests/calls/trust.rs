//! Who is not let in: without a certificate, with another authority's, with an expired one, with the
//! wrong role, without TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use skein_core::{
    port::directory::{Directory, Term},
    refusal::{Code, Refusal},
};
use skein_rpc::{access::Role, config::Config, credentials::Credentials, directory, server::Ports};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    double::Nodes,
    peer::{Authority, EXPIRED, GOOD, Process, answer},
};

async fn status(credentials: Arc<Credentials>) -> Process {
    let directory: Arc<dyn Directory> = Arc::new(Nodes::default());
    Process::start(credentials, Ports { directory: Some(directory), ..Ports::default() }).await
}

async fn assigned(address: SocketAddr, caller: &Arc<Credentials>) -> Result<String, Refusal> {
    let client = directory::Client::new(&[address.to_string()], caller).unwrap();
    client.assign(None).await.map(|node| node.name)
}

#[tokio::test]
async fn a_role_may_call_what_the_table_says_and_nothing_else() {
    let authority = Authority::new();
    let process = status(authority.credentials(Role::Status)).await;
    let calls = |role| {
        let caller = authority.credentials(role);
        directory::Client::new(&[process.address()], &caller).unwrap()
    };
    for (role, may_assign, may_leave, may_drain) in [
        (Role::Gate, true, false, false),
        (Role::Chat, true, true, false),
        (Role::Admin, false, false, true),
        (Role::Verify, false, false, false),
        (Role::Resource, false, false, false),
    ] {
        let client = calls(role);
        let answers = [
            (may_assign, answer(|| client.assign(None)).await.map(|_| ())),
            (may_leave, answer(|| client.leave("a", Term(7))).await),
            (may_drain, answer(|| client.drain("a", Duration::from_secs(1))).await.map(|_| ())),
        ];
        for (may, answer) in answers {
            let code = answer.map_err(|refusal| refusal.code);
            assert_eq!(code, if may { Ok(()) } else { Err(Code::Forbidden) }, "{role}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_no_role_may_call_nothing() {
    let authority = Authority::new();
    let process = status(authority.credentials(Role::Status)).await;
    let config = authority.config();
    authority.sign(&config, "www.example.org", GOOD);
    let clock = Arc::new(skein_ops::clock::SystemClock);
    let stranger = Credentials::load(&config, clock).unwrap();
    let refusal = answer(|| assigned(process.addr, &stranger)).await.unwrap_err();
    assert_eq!(refusal.code, Code::Forbidden);
}

#[tokio::test]
async fn another_authority_is_not_trusted_by_either_side() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let process = status(ours.credentials(Role::Status)).await;
    let refusal = assigned(process.addr, &theirs.credentials(Role::Gate)).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable);
    // A caller that trusts us, but that we do not.
    let mut config = theirs.config();
    theirs.sign(&config, &Role::Gate.server_name(), GOOD);
    config.ca = ours.authority();
    let clock = Arc::new(skein_ops::clock::SystemClock);
    let half = Credentials::load(&config, clock).unwrap();
    let refusal = assigned(process.addr, &half).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable);
}

#[tokio::test]
async fn a_server_of_another_role_is_not_taken_for_the_one_that_is_called() {
    let authority = Authority::new();
    let process = status(authority.credentials(Role::Verify)).await;
    let refusal = assigned(process.addr, &authority.credentials(Role::Gate)).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable);
}

#[tokio::test]
async fn an_expired_certificate_shuts_out_its_owner_and_nobody_else() {
    let authority = Authority::new();
    let process = status(authority.credentials(Role::Status)).await;
    let expired = authority.credentials_for(Role::Gate, EXPIRED);
    let refusal = assigned(process.addr, &expired).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable);
    let good = authority.credentials(Role::Gate);
    assert_eq!(answer(|| assigned(process.addr, &good)).await, Ok("any".to_owned()));

    // A server that has expired is passed over for one that has not.
    let late = status(authority.credentials_for(Role::Status, EXPIRED)).await;
    let both = [late.address(), process.address()];
    // A new caller each time, which has not learned yet that one is passed over.
    let name = answer(|| async {
        let client = directory::Client::new(&both, &good).unwrap();
        client.assign(None).await.map(|node| node.name)
    });
    assert_eq!(name.await, Ok("any".to_owned()));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let authority = Authority::new();
    let config = authority.config();
    authority.sign(&config, &Role::Status.server_name(), EXPIRED);
    let clock = Arc::new(skein_ops::clock::SystemClock);
    let credentials = Credentials::load(&config, clock).unwrap();
    let process = status(Arc::clone(&credentials)).await;
    let gate = authority.credentials(Role::Gate);
    assert_eq!(assigned(process.addr, &gate).await.unwrap_err().code, Code::Unavailable);

    // Half a renewal changes nothing.
    let before = credentials.not_after();
    std::fs::write(&config.cert, "half a certificate").unwrap();
    credentials.refresh();
    assert_eq!(credentials.not_after(), before);

    authority.sign(&config, &Role::Status.server_name(), GOOD);
    credentials.refresh();
    assert!(credentials.not_after() > before);
    assert_eq!(answer(|| assigned(process.addr, &gate)).await, Ok("any".to_owned()));
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let authority = Authority::new();
    let load = |config: &Config| {
        let clock = Arc::new(skein_ops::clock::SystemClock);
        Credentials::load(config, clock).unwrap_err().to_string()
    };
    let config = authority.config();
    let sentence = load(&config);
    let cert = config.cert.display();
    assert!(sentence.starts_with(&format!("cannot read {cert}: ")), "{sentence}");
    authority.sign(&config, "chat.skein.internal", GOOD);
    std::fs::write(&config.key, "no key").unwrap();
    let key = config.key.display();
    assert_eq!(load(&config), format!("{key} holds no usable private key"));

    let other = authority.config();
    authority.sign(&other, "chat.skein.internal", GOOD);
    let mixed = Config { key: other.key, ..config };
    let sentence = load(&mixed);
    let expected = format!("the certificate {} cannot be used with its key", mixed.cert.display());
    assert!(sentence.starts_with(&expected), "{sentence}");
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_turned_away() {
    let authority = Authority::new();
    let process = status(authority.credentials(Role::Status)).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.authority()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(process.addr).await.unwrap();
    let name = ServerName::try_from("status.skein.internal").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    // In TLS 1.3 the server refuses after the caller's side of the handshake is done.
    let answer = tls.read(&mut [0; 64]).await;
    let error = answer.expect_err("an alert").to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn plain_text_gets_no_answer() {
    let authority = Authority::new();
    let process = status(authority.credentials(Role::Status)).await;
    let mut tcp = TcpStream::connect(process.addr).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    // The end may be a reset, which is as good.
    tcp.read_to_end(&mut answer).await.ok();
    // At most an alert of TLS, whose record type is 21.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
}
