//! What a node says to a database that it cannot work with.

use skein_testkit::postgres::Postgres as Server;
use tokio::task::JoinSet;

use super::config;
use crate::postgres::{ConnectError, Migrated, Postgres, migrate};

async fn refused(config: &super::Config) -> ConnectError {
    match Postgres::connect(config).await {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_migrate_at_once() {
    let config = config(Server::shared().fresh_database());
    let older = refused(&config).await;
    assert!(matches!(older, ConnectError::OlderSchema { found: 0, needed: 2 }), "{older:?}");
    assert!(older.to_string().contains("run `skeind migrate`"), "{older}");
    let mut nodes = JoinSet::new();
    for _ in 0..8 {
        let config = config.clone();
        nodes.spawn(async move { migrate(&config).await });
    }
    let mut migrated = Vec::new();
    while let Some(node) = nodes.join_next().await {
        migrated.push(node.unwrap().unwrap());
    }
    let first = Migrated { from: 0, to: 2 };
    assert_eq!(migrated.iter().filter(|one| **one == first).count(), 1, "{migrated:?}");
    assert!(migrated.iter().all(|one| *one == first || *one == Migrated { from: 2, to: 2 }));
    Postgres::connect(&config).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let server = Server::shared();
    let config = super::migrated(server).await;
    let database = config.url.expose().rsplit('/').next().unwrap().to_owned();
    let newer = "INSERT INTO refinery_schema_history VALUES \
                 (99, 'later', '2030-01-01T00:00:00Z', '0')";
    server.sql(&database, newer);
    for error in [refused(&config).await, migrate(&config).await.unwrap_err()] {
        assert!(matches!(error, ConnectError::NewerSchema { found: 99, known: 2 }), "{error:?}");
        assert!(error.to_string().contains("too old"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_named() {
    let server = Server::shared();
    let name = "no_utf8";
    server.sql(
        "postgres",
        &format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0"),
    );
    let error = migrate(&config(server.url(name))).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Encoding(found) if found == "SQL_ASCII"), "{error:?}");

    let wrong = server.url("postgres").replace("skein-test", "not-the-password");
    let error = refused(&config(wrong)).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!error.to_string().contains("not-the-password"));

    let nobody = refused(&config("postgres://a@127.0.0.1:1/skein".into())).await;
    assert!(matches!(nobody, ConnectError::Unreachable(_)), "{nobody:?}");
}
