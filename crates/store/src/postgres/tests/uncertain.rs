//! The connection breaks while a commit is under way, so that nobody knows whether it took effect.
//! It did; whoever tries again has to find out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use skein_core::{
    account::SessionPolicy,
    id::{BlobId, LogId, Seq},
    name::{Email, Username},
};
use skein_testkit::postgres::Postgres as Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{config, migrated};
use crate::{
    Store,
    account::NewAccount,
    contract::scene::{NOW, ROOMY, bytes, entry, note, person, spec, token, words},
    postgres::Postgres,
    upload::{Opening, UploadState},
};

/// Stands between a node and the server. When armed, it lets the next commit through and cuts the
/// connection before its answer.
struct Cutter {
    armed: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
    port: u16,
}

impl Cutter {
    async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_armed, counter) = (Arc::clone(&armed), Arc::clone(&cuts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&is_armed), Arc::clone(&counter)));
            }
        });
        Self { armed, cuts, port }
    }

    fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// How often it has cut.
    fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    armed: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                server.write_all(&up[..count]).await.unwrap();
                let commits = up[..count].windows(7).any(|part| part == b"COMMIT\0");
                if commits && armed.swap(false, Ordering::SeqCst) {
                    // Its answer says that it was done; only the client never hears of it.
                    while !down.windows(7).any(|part| part == b"COMMIT\0") {
                        let start = down.len();
                        down.resize(start + 1024, 0);
                        let Ok(count @ 1..) = server.read(&mut down[start..]).await else { return };
                        down.truncate(start + count);
                    }
                    cuts.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                client.write_all(&down[..count]).await.unwrap();
                down.fill(0);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_found_again() {
    let server = Server::shared();
    let direct = migrated(server).await;
    let cutter = Cutter::start(server.port()).await;
    let (from, to) = (server.port().to_string(), cutter.port.to_string());
    let node = Postgres::connect(&config(direct.url.expose().replace(&from, &to))).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(node);
    let bob = person(&store, "bob").await.id;

    cutter.arm();
    let new = NewAccount {
        name: Username::parse("alice").unwrap(),
        email: Email::parse("alice@example.org").unwrap(),
        password_hash: crate::contract::scene::PASSWORD_HASH.into(),
    };
    let alice = store.create_account(new, NOW).await.unwrap().id;
    cutter.arm();
    let step = store.request_contact(alice, bob, note("hi"), entry(1), NOW).await.unwrap();
    assert_eq!(step.committed.len(), 2, "the caller has to tell the bus");
    cutter.arm();
    let step = store.accept_contact(bob, alice, note(""), entry(2), NOW).await.unwrap();
    assert_eq!(step.committed.len(), 2);
    let conversation = step.conversation.unwrap();
    let heads = store.heads(&[LogId::Personal(alice), LogId::Personal(bob)]).await.unwrap();
    assert_eq!(heads, [Seq(2), Seq(2)]);

    cutter.arm();
    let appended = store.append(alice, words(conversation, 10, "once"), NOW).await.unwrap();
    assert_eq!((appended.entry.seq, appended.repeated), (Seq(1), false), "it is still news");
    let again = store.append(alice, words(conversation, 10, "once"), NOW).await.unwrap();
    assert_eq!((again.entry.seq, again.repeated), (Seq(1), true));

    store.issue_token(token(alice, 1, 1, SessionPolicy::Many), NOW).await.unwrap();
    cutter.arm();
    let issued =
        store.issue_token(token(alice, 2, 2, SessionPolicy::Exclusive), NOW).await.unwrap();
    assert_eq!((issued.replaced, issued.ended.len(), issued.committed.len()), (false, 1, 1));
    cutter.arm();
    assert!(store.revoke_token(&[2; 32]).await.unwrap());
    assert!(!store.revoke_token(&[2; 32]).await.unwrap());

    cutter.arm();
    let opened = store.open_upload(alice, spec(1, 10), BlobId(bytes(1)), ROOMY, NOW).await.unwrap();
    let UploadState::Receiving { opening, .. } = opened else { panic!("{opened:?}") };
    let blob = BlobId(bytes(1));
    let latest = Opening { blob, number: 2 };
    assert_eq!(opening, latest, "the latest opening counts");
    cutter.arm();
    let info =
        store.complete_upload(alice, spec(1, 10).id, BlobId(bytes(1)), None, NOW).await.unwrap();
    assert_eq!(info.id, blob);
    cutter.arm();
    assert!(store.delete_unreferenced_blob(blob).await.unwrap());
    assert_eq!(store.used_bytes(alice).await.unwrap(), 0);
    assert_eq!(cutter.cuts(), 9);
}
