//! A UDP relay between clients and a server: what it does to datagrams is up to its [`Path`], and
//! it can make clients appear to come from elsewhere, like a NAT or a change of network.
//!
//! A thread of its own does the work, so that it keeps time whatever the runtime of the test does:
//! it waits in poll(2), which is accurate to the timer slack of the kernel (50 µs on Linux), then
//! sends all that is due. On a busy machine that is when the scheduler lets it: the example `limits`
//! measures how late, and how much it can carry. ECN marks are not passed on.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Conditions, Counts,
    path::{Path, loopback_of},
};

#[cfg(test)]
mod tests;
mod unread;
mod worker;

/// Clients that one relay tells apart; of more, the one that has said nothing for longest is
/// forgotten, as by a NAT.
const CLIENTS_MAX: usize = 1024;
/// Bytes that the kernel is asked to hold for a socket while the relay does something else.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// How a network that lets no UDP through says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// Not at all: datagrams vanish.
    Silent,
    /// With "port unreachable" (ICMP), as where nobody listens.
    Refused,
}

/// What a relay has not carried although its path would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UdpCounts {
    /// Datagrams to a client at an address that it no longer has.
    pub forgotten: u64,
    /// Datagrams for which the relay had no room: were there any, what is measured is the relay.
    pub overfull: u64,
    /// Datagrams that the kernel has dropped since the relay did not get its turn on a core, of the
    /// sockets in use now: were there any, what is measured is this machine.
    pub unread: u64,
    /// Datagrams that found UDP blocked.
    pub blocked: u64,
}

/// A relay. It ends when dropped.
#[derive(Debug)]
pub struct UdpRelay {
    shared: Arc<Shared>,
    address: SocketAddr,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: Path,
    server: SocketAddr,
    state: Mutex<State>,
    is_over: AtomicBool,
    forgotten: AtomicU64,
    overfull: AtomicU64,
    blocked: AtomicU64,
}

#[derive(Debug)]
struct State {
    front: Arc<UdpSocket>,
    /// The address by which the server knows clients from now on.
    outside: IpAddr,
    mappings: HashMap<SocketAddr, Arc<Mapping>>,
    blocking: Option<Blocking>,
    /// Counts the changes to the set of sockets.
    generation: u64,
}

/// What a NAT knows of a client: the socket by which the server knows it.
#[derive(Debug)]
struct Mapping {
    client: SocketAddr,
    back: UdpSocket,
    is_forgotten: AtomicBool,
    /// When the client last sent something, in milliseconds of the path.
    used: AtomicU64,
}

impl UdpRelay {
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
        let front = Arc::new(socket(listen)?);
        let address = front.local_addr()?;
        let outside = loopback_of(server);
        let state =
            State { front, outside, mappings: HashMap::new(), blocking: None, generation: 0 };
        let shared = Arc::new(Shared {
            path,
            server,
            state: Mutex::new(state),
            is_over: AtomicBool::new(false),
            forgotten: AtomicU64::new(0),
            overfull: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
        });
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let worker = worker::Worker::new(Arc::clone(&shared), woken);
        let thread = std::thread::Builder::new().name("udp relay".into());
        let thread = thread.spawn(move || worker.run())?;
        Ok(Self { shared, address, wake, thread: Some(thread) })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The path that the datagrams take.
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

    /// What the relay has not carried although its path would have.
    #[must_use]
    pub fn relay_counts(&self) -> UdpCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let backs: Vec<_> = self.shared.state().mappings.values().cloned().collect();
        let sockets = backs.iter().filter_map(|mapping| mapping.back.local_addr().ok());
        let sockets: Vec<_> = sockets.chain([self.address]).collect();
        UdpCounts {
            forgotten: read(&self.shared.forgotten),
            overfull: read(&self.shared.overfull),
            unread: unread::unread(&sockets),
            blocked: read(&self.shared.blocked),
        }
    }

    /// From now on the server sees every client at another port, as after a NAT has forgotten.
    /// What is on the way to the old one is lost.
    pub fn rebind(&self) {
        self.shared.state().forget();
        self.wake();
    }

    /// From now on the server sees every client at this address, which must be this machine's (all
    /// of 127.0.0.0/8 is, on Linux), and at another port. What is on the way to the old one is lost.
    pub fn readdress(&self, address: IpAddr) {
        let mut state = self.shared.state();
        state.outside = address;
        state.forget();
        drop(state);
        self.wake();
    }

    /// From now on UDP is blocked in both directions, or it is not. The address stays taken.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn block(&self, blocking: Option<Blocking>) -> io::Result<()> {
        let mut state = self.shared.state();
        if blocking == Some(Blocking::Refused) {
            // A connected socket takes datagrams of its peer only; the kernel refuses all others.
            // Its peer is a port where nothing is.
            state.front.connect(SocketAddr::new(self.address.ip(), 1))?;
        } else if state.blocking == Some(Blocking::Refused) {
            state.front = Arc::new(socket(self.address)?);
        }
        state.blocking = blocking;
        state.generation += 1;
        drop(state);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // When the pipe is full, it is being woken.
        (&self.wake).write_all(&[0]).ok();
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.wake();
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

impl State {
    fn forget(&mut self) {
        for (_, mapping) in self.mappings.drain() {
            mapping.is_forgotten.store(true, Ordering::Relaxed);
        }
        self.generation += 1;
    }

    /// The socket by which the server knows `client`, made when the client is new.
    fn mapping(&mut self, client: SocketAddr, now: Duration) -> io::Result<Arc<Mapping>> {
        let used = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if let Some(mapping) = self.mappings.get(&client) {
            mapping.used.store(used, Ordering::Relaxed);
            return Ok(Arc::clone(mapping));
        }
        let age = |mapping: &Arc<Mapping>| mapping.used.load(Ordering::Relaxed);
        if self.mappings.len() >= CLIENTS_MAX
            && let Some(idle) = self.mappings.values().min_by_key(|one| age(one)).cloned()
        {
            self.mappings.remove(&idle.client);
            idle.is_forgotten.store(true, Ordering::Relaxed);
        }
        let back = socket(SocketAddr::new(self.outside, 0))?;
        let is_forgotten = AtomicBool::new(false);
        let mapping = Arc::new(Mapping { client, back, is_forgotten, used: AtomicU64::new(used) });
        self.mappings.insert(client, Arc::clone(&mapping));
        self.generation += 1;
        Ok(mapping)
    }
}

/// A socket for the relay to wait for. Its address can be taken again while it is held, so that it
/// can be replaced without anyone else getting the port in between.
fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
