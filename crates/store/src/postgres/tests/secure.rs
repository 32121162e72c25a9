//! TLS to a real server.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use skein_testkit::postgres::{Options, Postgres as Server};

use super::{blocking, config};
use crate::postgres::{Config, ConnectError, Postgres, column, migrate};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn verifies_the_server() {
    let (ours, theirs) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = certificate.signed_by(&key, &ours).unwrap();
    let tls = Some((certificate.pem(), key.serialize_pem()));
    let server = blocking(move || Server::with(&Options { tls, ..Options::default() })).await;
    let folder = tempfile::tempdir().unwrap();
    let trusting = |authority: &CertifiedIssuer<'_, KeyPair>, url: &str| {
        let path =
            folder.path().join(if std::ptr::eq(authority, &ours) { "ours" } else { "theirs" });
        std::fs::write(&path, authority.pem()).unwrap();
        Config { tls_ca: Some(path), ..config(url.into()) }
    };
    let url = server.fresh_database();
    let trusted = trusting(&ours, &url);
    migrate(&trusted).await.unwrap();
    let node = Postgres::connect(&trusted).await.unwrap();
    let version = node.read("read the version of TLS", |db| async move {
        let sql = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        column::get::<String>(&db.query_one(sql, &[]).await?, 0)
    });
    assert_eq!(version.await.unwrap(), "TLSv1.3");

    let plain = url.replace("?sslmode=require", "?sslmode=disable");
    let elsewhere = url.replace("127.0.0.1", "localhost");
    for (config, problem) in [
        (trusting(&theirs, &url), "another authority"),
        (config(url.clone()), "what the system trusts"),
        (trusting(&ours, &elsewhere), "another name"),
    ] {
        let error = migrate(&config).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Unreachable(_)), "{problem}: {error:?}");
        assert!(error.to_string().contains("certificate"), "{problem}: {error}");
    }
    Postgres::connect(&config(plain)).await.unwrap();
}

#[tokio::test]
async fn is_not_done_without() {
    let url = format!("{}?sslmode=require", Server::shared().fresh_database());
    let error = migrate(&config(url)).await.unwrap_err();
    assert!(error.to_string().contains("does not support TLS"), "{error}");
}
