//! Clients that go on from another address: as often as people move, and as often as a machine can.

use std::time::Duration;

use skein_net::{listen::ListenConfig, migration::MigrationLimits};
use skein_wire::close::CloseCode;

use crate::scene::{Certified, PATIENCE, connect, dialer, speak};

/// How long a client flips at most. A burst of the limits by default would last for over two minutes.
const FLIPPING_MAX: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_client_that_flips_is_turned_away_soon() {
    let certified = Certified::new("flipping");
    let listener = certified.listen(ListenConfig::default());
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    let (server, client) = connect(&listener, &dialer, &node).await;
    let flipping = async {
        loop {
            // The packet that tells the server of it is sent at once.
            dialer.rebind().expect("another socket");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let closed = tokio::select! {
        closed = server.closed() => closed,
        () = flipping => unreachable!("it flips on"),
        () = tokio::time::sleep(FLIPPING_MAX) => panic!("it is let flip"),
    };
    assert!(closed.by_us);
    let closed = client.closed().await;
    assert!(matches!(closed.code, Some(CloseCode::Unsteady) | None), "{closed:?}");
}

#[tokio::test]
async fn a_client_that_wavers_is_followed() {
    let certified = Certified::new("wavering");
    let listener = certified.listen(ListenConfig::default());
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    let (server, client) = connect(&listener, &dialer, &node).await;
    // For longer than flipping is borne.
    for _ in 0..3 {
        for _ in 0..3 {
            dialer.rebind().expect("another socket");
            assert!(speak(&server, &client).await);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(speak(&server, &client).await);
}

#[tokio::test]
async fn a_client_that_moves_without_end_is_turned_away() {
    let certified = Certified::new("restless");
    let migration = MigrationLimits { per_second: 1, burst: 3 };
    let listener = certified.listen(ListenConfig { migration, ..ListenConfig::default() });
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    let (server, client) = connect(&listener, &dialer, &node).await;
    let moving = async {
        loop {
            dialer.rebind().expect("another socket");
            if !speak(&server, &client).await {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, moving).await.expect("it is turned away");
    assert!(server.closed().await.by_us);
    // What it is told may go where it is not any more; then its next packet finds no connection.
    let closed = client.closed().await;
    assert!(matches!(closed.code, Some(CloseCode::Unsteady) | None), "{closed:?}");

    // It comes back, and stays where it is.
    let (server, client) = connect(&listener, &dialer, &node).await;
    assert!(speak(&server, &client).await);
}

#[tokio::test]
async fn a_walk_is_followed() {
    let certified = Certified::new("walk");
    let listener = certified.listen(ListenConfig::default());
    let (dialer, node) = (dialer(), certified.node(listener.address().expect("bound")));
    let (server, client) = connect(&listener, &dialer, &node).await;
    // Faster than anybody walks, and longer than the server takes to look.
    let walk = async {
        for _ in 0..12 {
            let before = server.peer();
            dialer.rebind().expect("another socket");
            assert!(speak(&server, &client).await);
            assert_ne!(server.peer(), before);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, walk).await.expect("a walk");
    assert!(speak(&server, &client).await);
}
