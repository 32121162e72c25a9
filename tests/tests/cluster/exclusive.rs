//! Exclusive login across nodes.

use skein_client::{Body, Event, LogId, Status};
use skein_testkit::PATIENCE;

use crate::scene::{LIVE_MAX, Scene};

/// Whichever node the first session is at, and whichever the second: the first is told and ends.
pub(crate) async fn a_login_ends_the_one_at_another_node(scene: &Scene) {
    scene.register("carol").await;
    let mut before = scene.client("carol", "device 0").await;
    // Three nodes, drawn anew by each login: some of these pairs are at two nodes.
    for device in 1..=4 {
        let mut events = before.events().await.expect("the home can be read");
        before.connect().await.expect("connecting");
        before.live(LIVE_MAX).await.expect("live");
        let next = scene.client("carol", &format!("device {device}")).await;
        let mut told = false;
        let ended = async {
            loop {
                match events.next().await.expect("the client goes on") {
                    Event::Entry { log: LogId::Personal(_), entry } => {
                        told |= matches!(entry.body, Body::SessionEnded(_));
                    }
                    Event::Status(Status::Stopped(reason)) => return reason,
                    _ => {}
                }
            }
        };
        let reason = tokio::time::timeout(PATIENCE, ended).await.expect("it ends in time");
        println!("device {} was ended: {}, told: {told}", device - 1, reason.message());
        before.close().await;
        before = next;
    }
}
