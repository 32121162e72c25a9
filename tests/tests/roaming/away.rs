//! Somebody who has disconnected comes back: the hello goes with the first packets, and what was
//! written meanwhile is there.

use skein_client::Text;
use skein_testkit::{PATIENCE, port};

use crate::scene::Scene;

/// How many clients have spoken before their handshake was over, as the server counts them.
async fn spoken_early(observe: &str) -> u64 {
    let response = reqwest::get(format!("http://{observe}/metrics")).await.expect("an answer");
    let text = response.text().await.expect("a text");
    let counts = text.lines().filter(|line| {
        line.starts_with("skein_net_handshakes_total{") && line.contains("outcome=\"early\"")
    });
    counts.map(|line| line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_says_hello_with_its_first_packets() {
    let observe = format!("127.0.0.1:{}", port::free());
    let scene = Scene::with_config(&format!("[observe]\nlisten = \"{observe}\"\n")).await;
    for turn in 1..=3 {
        scene.bob.close().await;
        let before = spoken_early(&observe).await;
        let text = Text::parse("while you were away").expect("a text");
        let delivery = scene.alice.send_text(scene.conversation, text).await.expect("kept");
        delivery.acknowledged().await.expect("appended");
        scene.bob.connect().await.expect("there is a login");
        scene.bob.caught_up(PATIENCE).await.expect("caught up");
        scene.bob_has(turn).await;
        assert!(spoken_early(&observe).await > before);
    }
}
