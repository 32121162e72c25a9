//! A TCP connection through a narrow pipe, and a UDP port beside it that may be a hole.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket, tcp},
};

/// Bytes that a narrow pipe passes at a time, and how often.
const PIECE_BYTES: usize = 2048;
const PIECE_INTERVAL: Duration = Duration::from_millis(2);
/// Ports that are tried.
const PORTS_MAX: usize = 16;
/// Bytes that the pipe's sockets hold.
const SOCKET_BYTES: u32 = 16 * 1024;

/// Passes TCP to a server; UDP only once it is opened.
pub(crate) struct Pipe {
    pub(crate) address: SocketAddr,
    /// Bytes that have gone up.
    pub(crate) up: Arc<AtomicU64>,
    /// Datagrams that came.
    pub(crate) datagrams: Arc<AtomicU64>,
    open: Arc<AtomicBool>,
}

impl Pipe {
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let (tcp, udp) = sockets().await;
        let address = tcp.local_addr().expect("bound");
        let (up, datagrams) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let open = Arc::<AtomicBool>::default();
        let count = Arc::clone(&up);
        tokio::spawn(async move {
            while let Ok((client, _)) = tcp.accept().await {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_send_buffer_size(SOCKET_BYTES).expect("taken");
                let server = socket.connect(server).await.expect("it listens");
                tokio::spawn(pass(client, server, Arc::clone(&count)));
            }
        });
        tokio::spawn(relay(udp, server, Arc::clone(&open), Arc::clone(&datagrams)));
        Self { address, up, datagrams, open }
    }

    /// Lets UDP through.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }
}

/// Sockets for both protocols on one port. What is free in TCP may be taken in UDP.
async fn sockets() -> (TcpListener, UdpSocket) {
    for _ in 0..PORTS_MAX {
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(SOCKET_BYTES).expect("taken");
        tcp.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let tcp = tcp.listen(8).expect("it listens");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("bound")).await {
            return (tcp, udp);
        }
    }
    panic!("no port is free in both");
}

async fn pass(client: TcpStream, server: TcpStream, up: Arc<AtomicU64>) {
    let (client_out, client_in) = client.into_split();
    let (server_out, server_in) = server.into_split();
    tokio::join!(narrow(client_out, server_in, Some(up)), narrow(server_out, client_in, None));
}

async fn narrow(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    count: Option<Arc<AtomicU64>>,
) {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if let Some(count) = &count {
            count.fetch_add(length as u64, Ordering::Relaxed);
            tokio::time::sleep(PIECE_INTERVAL).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// One client at a time is enough.
async fn relay(
    udp: UdpSocket,
    server: SocketAddr,
    open: Arc<AtomicBool>,
    datagrams: Arc<AtomicU64>,
) {
    let out = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    out.connect(server).await.expect("a route");
    let (mut up, mut down) = ([0; 2048], [0; 2048]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((length, from)) = udp.recv_from(&mut up) => {
                client = Some(from);
                datagrams.fetch_add(1, Ordering::Relaxed);
                if open.load(Ordering::Relaxed) {
                    out.send(&up[..length]).await.ok();
                }
            }
            Ok(length) = out.recv(&mut down) => {
                if let Some(client) = client {
                    udp.send_to(&down[..length], client).await.ok();
                }
            }
        }
    }
}
