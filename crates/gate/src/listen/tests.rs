//! Listening for real: which addresses are refused, TLS, connections that dawdle, and the end.

use std::{fs, path::Path};

use rustls::{
    DEFAULT_VERSIONS,
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS12,
};
use skein_ops::lifecycle::Outcome;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time,
};

use super::*;
use crate::{
    config::Limits,
    testing::{World, client, open},
};

async fn refusal(config: GateConfig, addr: &str) -> String {
    let world = World::start().await;
    let addr = addr.parse().expect("an address");
    let bound = bind(config, addr, world.parts(), &Shutdown::new()).await;
    bound.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn refuses_plain_http_beyond_this_machine() {
    for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = refusal(GateConfig::default(), addr).await;
        assert!(error.contains("gate.tls_cert") && error.contains("gate.allow_plain_http = true"));
    }
    let world = World::start().await;
    let shutdown = Shutdown::new();
    let allowed = GateConfig { allow_plain_http: true, ..open() };
    for (config, addr) in [(allowed, "0.0.0.0:0"), (open(), "127.0.0.2:0")] {
        let addr = addr.parse().expect("an address");
        let running = bind(config, addr, world.parts(), &shutdown).await.expect("it listens");
        assert_ne!(running.addr.port(), 0);
        assert_eq!(running.url, format!("http://{}", running.addr));
    }
}

#[tokio::test]
async fn names_the_key_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cert, key) = certificate(folder.path());
    let half = GateConfig { tls_cert: Some(cert.clone()), ..open() };
    assert!(refusal(half, "127.0.0.1:0").await.contains("go together"));

    let missing = folder.path().join("missing.pem");
    let with = |cert: &Path, key: &Path| GateConfig {
        tls_cert: Some(cert.into()),
        tls_key: Some(key.into()),
        ..open()
    };
    for (config, expected) in [
        (with(&missing, &key), "gate.tls_cert: "),
        (with(&cert, &missing), "gate.tls_key: "),
        (with(&key, &key), "gate.tls_cert: "),
        (with(&cert, &cert), "gate.tls_key: "),
    ] {
        let error = refusal(config, "127.0.0.1:0").await;
        assert!(error.starts_with(expected), "{error}");
    }

    let world = World::start().await;
    let taken = refusal(open(), &world.addr.to_string()).await;
    assert!(taken.starts_with(&format!("cannot listen on {}", world.addr)), "{taken}");
}

#[tokio::test]
async fn speaks_tls_with_a_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cert, key) = certificate(folder.path());
    let root = CertificateDer::from_pem_file(&cert).expect("a certificate");
    let config = GateConfig { tls_cert: Some(cert), tls_key: Some(key), ..open() };
    let world = World::with(config).await;
    assert!(world.base.starts_with("https://127.0.0.1:"), "{}", world.base);

    let trusting = client(Some(root.clone()), DEFAULT_VERSIONS);
    let response = trusting.get(world.url("/healthz")).send().await.expect("TLS");
    assert_eq!(response.status(), 200);
    let old = client(Some(root), &[&TLS12]);
    assert!(old.get(world.url("/healthz")).send().await.is_err(), "nothing below TLS 1.3");
    assert!(world.http.get(world.url("/healthz")).send().await.is_err(), "not trusted");
    let plain = format!("http://{}/healthz", world.addr);
    assert!(world.http.get(plain).send().await.is_err(), "no plain HTTP beside it");
}

#[tokio::test]
async fn ends_connections_that_dawdle() {
    let world = World::start().await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    for sent in [&b""[..], &request[..30], request] {
        let mut stream = TcpStream::connect(world.addr).await.expect("a connection");
        stream.write_all(sent).await.expect("the server reads");
        let mut heard = Vec::new();
        while sent == request && !heard.ends_with(b"ok") {
            assert_ne!(stream.read_buf(&mut heard).await.expect("an answer"), 0);
        }
        // A paused clock moves on by itself when all wait, so nobody waits for real.
        time::pause();
        heard.clear();
        stream.read_to_end(&mut heard).await.expect("the server closes");
        time::resume();
        assert!(!heard.starts_with(b"HTTP/1.1 2"), "{heard:?}");
    }
}

#[tokio::test]
async fn one_host_leaves_room_for_others() {
    let limits = Limits { connections_per_network: 1, ..Limits::default() };
    let world = World::with(GateConfig { limits, ..open() }).await;
    let healthz = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address of this machine");
        let mut stream = socket.connect(world.addr).await.expect("a connection");
        let mut heard = Vec::new();
        // A connection that is closed unread may be reset: what counts is what was heard.
        if stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok() {
            while !heard.ends_with(b"ok") && stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0)
            {
            }
        }
        (stream, heard.starts_with(b"HTTP/1.1 200"))
    };
    let (_held, served) = healthz([127, 0, 0, 1]).await;
    assert!(served, "the first of its network");
    assert!(!healthz([127, 0, 0, 1]).await.1, "its network has one place");
    assert!(healthz([127, 0, 0, 2]).await.1, "another has its own");
}

#[tokio::test]
async fn ends_in_order() {
    let world = World::start().await;
    assert_eq!(world.get("/v1/openapi.json", None).await.status, 200);
    world.shutdown.begin();
    assert_eq!(world.shutdown.finish(Duration::from_secs(60)).await, Outcome::Clean);
    assert!(TcpStream::connect(world.addr).await.is_err(), "nobody listens");
}

/// A certificate for 127.0.0.1 and its key, as files.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    (cert, key)
}
