//! A TCP relay between clients and a server, on the same kind of path as the UDP relay: for the
//! WebSocket fallback, and for other systems that are to be measured on the same network.
//!
//! It ends the connections on both sides and carries their bytes by a TCP of its own, which is
//! modelled (see [`Flow`]): segments are lost, sent again after the time that takes, and hold back
//! what follows; the window bounds the rate; a blackout stops everything. The handshake of a client
//! takes the round trip that it would, and is lost like the rest.
//!
//! What a program cannot see through it: that its kernel's own connection never fails by itself
//! (no `TCP_USER_TIMEOUT`, no keep-alive sees the path), and that some bytes wait in the sockets of
//! this machine. A thread of its own does the work; timers are accurate to two milliseconds.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use tokio::{
    runtime,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    conditions::Conditions,
    counts::Counts,
    path::{Path, loopback_of},
};

mod connection;
mod flow;
mod window;

pub use flow::Flow;

#[cfg(test)]
mod tests;

/// Connections through one relay at a time. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// What becomes of connections when the client's address changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Death {
    /// Nothing is heard of them any more, as behind a NAT that has forgotten.
    #[default]
    Silent,
    /// Both ends are told (RST).
    Reset,
}

/// A relay. It ends when dropped, and resets its connections.
#[derive(Debug)]
pub struct TcpRelay {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Dropped at the end, which ends the thread.
    changed: Option<watch::Sender<u64>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: Path,
    server: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The address by which the server knows clients from now on.
    outside: IpAddr,
    /// How connections die that were made before the present generation.
    death: Death,
    /// Counts the changes of address.
    generation: u64,
}

impl TcpRelay {
    /// A relay on loopback, on a path of its own that does nothing yet.
    ///
    /// # Errors
    /// If no socket or thread can be had.
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        Self::start_on(Path::default(), server)
    }

    /// A relay on loopback, on this path.
    ///
    /// # Errors
    /// If no socket or thread can be had.
    pub fn start_on(path: Path, server: SocketAddr) -> io::Result<Self> {
        Self::listen_on(path, server, SocketAddr::new(loopback_of(server), 0))
    }

    /// A relay on this path, at this address.
    ///
    /// # Errors
    /// If no socket or thread can be had.
    pub fn listen_on(path: Path, server: SocketAddr, listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let outside = loopback_of(server);
        let state = State { outside, death: Death::default(), generation: 0 };
        let shared = Arc::new(Shared { path, server, state: Mutex::new(state) });
        let (changed, changes) = watch::channel(0);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("tcp relay".into());
        let of_thread = Arc::clone(&shared);
        let thread = thread.spawn(move || {
            runtime.block_on(async move {
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    accept(listener, of_thread, changes).await;
                }
            });
        })?;
        Ok(Self { shared, address, changed: Some(changed), thread: Some(thread) })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The path that the segments take.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// [`Path::set`].
    pub fn set(&self, up: Conditions, down: Conditions) {
        self.path().set(up, down);
    }

    /// [`Path::set_both`].
    pub fn set_both(&self, conditions: Conditions) {
        self.path().set_both(conditions);
    }

    /// [`Path::cut`].
    pub fn cut(&self, cut: bool) {
        self.path().cut(cut);
    }

    /// [`Path::counts`].
    #[must_use]
    pub fn counts(&self) -> (Counts, Counts) {
        self.path().counts()
    }

    /// The client's address changes: all connections die, in this way.
    pub fn rebind(&self, death: Death) {
        let outside = self.shared.state().outside;
        self.readdress(outside, death);
    }

    /// The client's address changes: all connections die, in this way, and the server sees new ones
    /// at this address, which must be this machine's.
    pub fn readdress(&self, address: IpAddr, death: Death) {
        let mut state = self.shared.state();
        state.outside = address;
        state.death = death;
        state.generation += 1;
        let generation = state.generation;
        drop(state);
        if let Some(changed) = &self.changed {
            changed.send_replace(generation);
        }
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.changed = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; if it panicked, that was printed.
            thread.join().ok();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves clients until the relay is dropped.
async fn accept(
    listener: tokio::net::TcpListener,
    shared: Arc<Shared>,
    mut changes: watch::Receiver<u64>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        tokio::select! {
            (room, accepted) = next => {
                // A client that has gone before it was accepted is no failure.
                let (Ok(room), Ok((client, _))) = (room, accepted) else { continue };
                changes.borrow_and_update();
                let (shared, changes) = (Arc::clone(&shared), changes.clone());
                connections.spawn(async move {
                    connection::run(client, &shared, changes).await;
                    drop(room);
                });
            }
            Some(_) = connections.join_next() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
