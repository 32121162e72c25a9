//! What the store logs carries the id of the request that asked for it, although tasks of its own do
//! the work.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use skein_testkit::postgres::Postgres as Server;
use tracing::{Instrument, Level};

use super::migrated;
use crate::{
    Store,
    contract::scene::{NOW, friends, words},
    log::Logs,
    postgres::Postgres,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_batch_is_logged_under_the_id_of_its_request() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let config = migrated(Server::shared()).await;
    let node = Arc::new(Postgres::connect(&config).await.unwrap());
    let store: Arc<dyn Store> = node.clone();
    let (a, _, conversation) = friends(&store).await;
    let (driver, _) = config.driver().unwrap();
    let (other, connection) = driver.connect(tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let lock = format!("BEGIN; SELECT * FROM logs WHERE log = {} FOR UPDATE", conversation.0);
    other.batch_execute(&lock).await.unwrap();

    let appending = async {
        let span = tracing::info_span!("request", request.id = "4711");
        node.append(a, words(conversation, 10, "hello"), NOW).instrument(span).await
    };
    let logged = || String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    let unlocking = async {
        while !logged().contains("is tried again") {
            tokio::task::yield_now().await;
        }
        drop(other);
        connection.await.ok();
    };
    let (appended, ()) = tokio::join!(appending, unlocking);
    appended.unwrap();
    let logged = logged();
    let line = logged.lines().find(|line| line.contains("is tried again")).unwrap();
    assert!(line.contains("request{request.id=\"4711\"}:store{"), "{line}");
    assert!(line.contains(":store.batch{batch.jobs=1}"), "{line}");
}
