//! One connection through a TCP relay: real sockets at both ends, and the model between them.

use std::{
    future::ready,
    io,
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};

use super::{
    Death, Shared,
    flow::{Flow, HEADER_BYTES, TIMEOUT_INITIAL},
};
use crate::network::{Direction, Path};

/// How often a client says that it wants to connect before it gives up (Linux, `tcp_syn_retries`).
const HANDSHAKES_MAX: u32 = 7;

/// Carries the bytes of a client until both sides have ended, or one has failed.
pub(super) async fn run(client: TcpStream, shared: &Shared, mut changes: watch::Receiver<u64>) {
    let mut server = None;
    let whole = async {
        client.set_nodelay(true)?;
        let handshake = handshake(&shared.path).await?;
        let server = server.insert(connect(shared).await?);
        carry(&client, server, &shared.path, handshake).await
    };
    let died = tokio::select! {
        // What is written after a change of address must not pass.
        biased;
        changed = changes.changed() => changed.is_ok(),
        ended = whole => match ended {
            Ok(()) => return,
            Err(_) => false,
        },
    };
    if died && shared.state().death == Death::Silent {
        // Nobody is told until the relay ends.
        while changes.changed().await.is_ok() {}
    }
    for side in [Some(&client), server.as_ref()].into_iter().flatten() {
        // It may be closed already.
        side.set_zero_linger().ok();
    }
}

async fn carry(
    client: &TcpStream,
    server: &TcpStream,
    path: &Path,
    handshake: Duration,
) -> io::Result<()> {
    let mut up = Half::new(Direction::Up, handshake);
    let mut down = Half::new(Direction::Down, handshake);
    while !(up.end_is_told && down.end_is_told) {
        up.read(client)?;
        down.read(server)?;
        advance(path, &mut up, &mut down);
        up.write(server)?;
        down.write(client)?;
        // What was taken has made room.
        let next = advance(path, &mut up, &mut down);
        let timer = async {
            match next {
                Some(next) => sleep(next.saturating_sub(path.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = client.readable(), if up.wants_to_read() => ready?,
            ready = server.readable(), if down.wants_to_read() => ready?,
            ready = server.writable(), if up.wants_to_write() => ready?,
            ready = client.writable(), if down.wants_to_write() => ready?,
            () = timer => {}
            // The last end was told above.
            () = ready(()), if up.end_is_told && down.end_is_told => {}
        }
    }
    Ok(())
}

/// Does what is due, and says when the next thing is.
fn advance(path: &Path, up: &mut Half, down: &mut Half) -> Option<Duration> {
    let mut links = path.links();
    let now = path.now();
    up.flow.advance(now, &mut links);
    down.flow.advance(now, &mut links);
    drop(links);
    up.flow.next_at().into_iter().chain(down.flow.next_at()).min()
}

/// Takes the time of a TCP handshake, and says how long its round trip was.
async fn handshake(path: &Path) -> io::Result<Duration> {
    for tries in 0..HANDSHAKES_MAX {
        let began = path.now();
        let timeout = TIMEOUT_INITIAL * 2_u32.pow(tries);
        if let Some(there) = path.offer(Direction::Up, began, HEADER_BYTES).arrival() {
            sleep(there.saturating_sub(path.now())).await;
            if let Some(back) = path.offer(Direction::Down, path.now(), HEADER_BYTES).arrival() {
                sleep(back.saturating_sub(path.now())).await;
                return Ok(back - began);
            }
        }
        sleep((began + timeout).saturating_sub(path.now())).await;
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn connect(shared: &Shared) -> io::Result<TcpStream> {
    let outside = SocketAddr::new(shared.state().outside, 0);
    let socket = if outside.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(outside)?;
    let server = socket.connect(shared.server).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// One direction: from a program to the model, and from the model to a program.
struct Half {
    flow: Flow,
    /// What the receiver's program has not taken.
    bytes: BytesMut,
    has_ended: bool,
    end_is_told: bool,
}

impl Half {
    fn new(direction: Direction, handshake: Duration) -> Self {
        let flow = Flow::new(direction, Some(handshake));
        Self { flow, bytes: BytesMut::new(), has_ended: false, end_is_told: false }
    }

    fn wants_to_read(&self) -> bool {
        !self.has_ended && self.flow.may_write() > 0
    }

    const fn wants_to_write(&self) -> bool {
        self.flow.readable() > 0
    }

    /// Takes what the sender's program has written.
    fn read(&mut self, from: &TcpStream) -> io::Result<()> {
        while self.wants_to_read() {
            let mut room = [0; 16 * 1024];
            let most = self.flow.may_write().min(room.len());
            match from.try_read(&mut room[..most]) {
                Ok(0) => self.has_ended = true,
                Ok(length) => {
                    self.bytes.extend_from_slice(&room[..length]);
                    self.flow.write(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Hands over what has come, and the end after the last of it.
    fn write(&mut self, to: &TcpStream) -> io::Result<()> {
        while self.wants_to_write() {
            match to.try_write(&self.bytes[..self.flow.readable()]) {
                Ok(length) => {
                    self.bytes.advance(length);
                    self.flow.take(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.has_ended && self.flow.is_empty() && !self.end_is_told {
            self.end_is_told = true;
            SockRef::from(to).shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}
