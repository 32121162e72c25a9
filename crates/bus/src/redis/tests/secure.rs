//! Redis over TLS, with an authority of its own.

use std::{fs, path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use skein_testkit::{
    port,
    process::{Process, Program},
};
use tempfile::TempDir;

use super::prefix;
use crate::{
    key::Keys,
    redis::{Config, ConnectError, Redis},
};

/// Makes an authority and a certificate of 127.0.0.1, as `NAME-ca.pem`, `NAME.pem` and `NAME.key`.
fn certify(folder: &Path, name: &str) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join(format!("{name}-ca.pem")), ca_pem).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn start(folder: &Path, port: u16) -> Process {
    let path = |name: &str| folder.join(name).into_os_string();
    let program = Program::new("redis-server", folder.join("log"))
        .args(["--bind", "127.0.0.1", "--port", "0", "--tls-port", &port.to_string()])
        .args(["--tls-auth-clients", "no", "--save", ""])
        .args(["--dir".into(), folder.as_os_str().to_owned()])
        .args(["--tls-cert-file".into(), path("redis.pem")])
        .args(["--tls-key-file".into(), path("redis.key")]);
    let mut process = program.start();
    process.until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_that_is_vouched_for_is_spoken_to() {
    let folder = TempDir::new().unwrap();
    certify(folder.path(), "redis");
    certify(folder.path(), "other");
    let port = port::free();
    let _server = start(folder.path(), port);
    let config = |ca: &str| Config {
        url: format!("rediss://127.0.0.1:{port}"),
        prefix: prefix(),
        tls_ca: Some(folder.path().join(ca)),
        allow_plain: false,
    };
    let bus = Redis::connect(&config("redis-ca.pem")).await.unwrap();
    bus.put("key", b"value", Duration::from_secs(60)).await.unwrap();
    assert_eq!(bus.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));

    let error = Redis::connect(&config("other-ca.pem")).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("its certificate is not accepted"), "{error}");
    for file in ["nowhere.pem", "redis.key"] {
        let error = Redis::connect(&config(file)).await.err().unwrap();
        assert!(matches!(&error, ConnectError::Config(why) if why.contains(file)), "{error}");
    }
}
