//! A relay for one client that remembers what QUIC shows to everybody: the headers.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// The form and the type of a Retry in its first octet (RFC 9000, section 17.2.5).
const RETRY: u8 = 0b1011_0000;
/// Says that a header is a long one.
const LONG: u8 = 0b1000_0000;

/// What has passed.
#[derive(Default)]
pub(crate) struct Seen {
    /// Retries on their way to the client.
    pub(crate) retries: usize,
    /// The octets after the first of each packet with a short header to the server: they begin with
    /// the connection id.
    pub(crate) short: Vec<Vec<u8>>,
}

/// The relay. It ends when dropped.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

pub(crate) fn is_retry(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & RETRY == RETRY)
}

impl Tap {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let back = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        back.connect(server).await.expect("a server");
        let address = front.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(relay(front, back, Arc::clone(&seen)));
        Self { address, seen, task }
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("whole"))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(front: UdpSocket, back: UdpSocket, seen: Arc<Mutex<Seen>>) {
    let (mut up, mut down) = (vec![0; 65_535], vec![0; 65_535]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut up) => {
                client = Some(from);
                if up[0] & LONG == 0 {
                    seen.lock().expect("whole").short.push(up[1..length.min(64)].to_vec());
                }
                back.send(&up[..length]).await.ok();
            }
            Ok(length) = back.recv(&mut down) => {
                if is_retry(&down[..length]) {
                    seen.lock().expect("whole").retries += 1;
                }
                if let Some(client) = client {
                    front.send_to(&down[..length], client).await.ok();
                }
            }
        }
    }
}
