//! A narrow way for UDP: some packets wait, and more are dropped.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use tokio::{net::UdpSocket, time::MissedTickBehavior};

/// How often a packet passes: some 50 KB/s where they are full.
const INTERVAL: Duration = Duration::from_millis(25);
/// Packets that wait at most.
const WAITING_MAX: usize = 16;

/// Passes the packets of one client to a server, one by one, and whatever comes back at once.
pub(crate) struct Narrow {
    pub(crate) address: SocketAddr,
}

impl Narrow {
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = near.local_addr().expect("bound");
        let far = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        far.connect(server).await.expect("a route");
        tokio::spawn(pass(near, far));
        Self { address }
    }
}

async fn pass(near: UdpSocket, far: UdpSocket) {
    let mut waiting = VecDeque::new();
    let (mut up, mut down) = ([0; 2048], [0; 2048]);
    let mut client = None;
    let mut turn = tokio::time::interval(INTERVAL);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Ok((length, from)) = near.recv_from(&mut up) => {
                client = Some(from);
                if waiting.len() < WAITING_MAX {
                    waiting.push_back(up[..length].to_vec());
                }
            }
            _ = turn.tick() => {
                if let Some(packet) = waiting.pop_front() {
                    far.send(&packet).await.ok();
                }
            }
            Ok(length) = far.recv(&mut down) => {
                if let Some(client) = client {
                    near.send_to(&down[..length], client).await.ok();
                }
            }
        }
    }
}
