//! The thread of a UDP relay: waits for datagrams and for the time to send them on.

use std::{
    io::{self, Read},
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Mapping, Shared};
use crate::network::{Direction, Verdict, schedule::Schedule};

/// Bytes of the largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Bytes of the headers of IPv4 and UDP, which count on the link (RFC 791, RFC 768).
const HEADER_BYTES_V4: usize = 20 + 8;
/// Bytes of the headers of IPv6 and UDP (RFC 8200, RFC 768).
const HEADER_BYTES_V6: usize = 40 + 8;
/// Datagrams that are taken from a socket before others have a turn.
const BATCH_MAX: usize = 64;

pub(super) struct Worker {
    shared: Arc<Shared>,
    woken: UnixStream,
    schedule: Schedule<Parcel>,
    /// The sockets to wait for, as of a generation of the state.
    front: Arc<UdpSocket>,
    mappings: Vec<Arc<Mapping>>,
    generation: u64,
    header_bytes: usize,
    buffer: Vec<u8>,
}

/// A datagram on the way.
struct Parcel {
    direction: Direction,
    mapping: Arc<Mapping>,
    datagram: Arc<[u8]>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, woken: UnixStream) -> Self {
        let state = shared.state();
        let (front, generation) = (Arc::clone(&state.front), state.generation);
        drop(state);
        let header_bytes = if shared.server.is_ipv4() { HEADER_BYTES_V4 } else { HEADER_BYTES_V6 };
        Self {
            shared,
            woken,
            schedule: Schedule::new(),
            front,
            mappings: Vec::new(),
            generation,
            header_bytes,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        }
    }

    pub(super) fn run(mut self) {
        while !self.shared.is_over.load(Ordering::Acquire) {
            self.look_at_the_sockets();
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => panic!("cannot wait for datagrams: {error}"),
            };
            if ready.woken {
                self.drain_the_wakes();
            }
            if ready.front {
                self.read_front();
            }
            for index in ready.mappings {
                let mapping = Arc::clone(&self.mappings[index]);
                self.read_back(&mapping);
            }
            self.deliver();
        }
    }

    fn look_at_the_sockets(&mut self) {
        let state = self.shared.state();
        if state.generation != self.generation {
            self.generation = state.generation;
            self.front = Arc::clone(&state.front);
            self.mappings = state.mappings.values().cloned().collect();
        }
    }

    /// Waits until there is something to read or to send.
    fn wait(&self) -> Result<Ready, Errno> {
        let mut sockets = Vec::with_capacity(self.mappings.len() + 2);
        sockets.push(PollFd::new(&self.woken, PollFlags::IN));
        sockets.push(PollFd::new(&*self.front, PollFlags::IN));
        let backs = self.mappings.iter().map(|one| PollFd::new(&one.back, PollFlags::IN));
        sockets.extend(backs);
        let timeout = self.schedule.next_at().map(|at| {
            let left = at.saturating_sub(self.shared.path.now());
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
        });
        poll(&mut sockets, timeout.as_ref())?;
        let is_ready = |socket: &PollFd<'_>| !socket.revents().is_empty();
        let mappings = sockets[2..].iter().enumerate();
        Ok(Ready {
            woken: is_ready(&sockets[0]),
            front: is_ready(&sockets[1]),
            mappings: mappings.filter(|(_, one)| is_ready(one)).map(|(index, _)| index).collect(),
        })
    }

    fn drain_the_wakes(&mut self) {
        // At its end the relay is being dropped, which the loop looks at next.
        while matches!(self.woken.read(&mut self.buffer), Ok(length) if length > 0) {}
    }

    fn read_front(&mut self) {
        for _ in 0..BATCH_MAX {
            let Some((length, client)) = receive(&self.front, &mut self.buffer) else { return };
            let now = self.shared.path.now();
            let mut state = self.shared.state();
            if state.blocking.is_some() {
                self.shared.blocked.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let mapping = state.mapping(client, now);
            drop(state);
            match mapping {
                Ok(mapping) => self.pass(Direction::Up, &mapping, length, now),
                Err(_) => self.count_overfull(),
            }
        }
    }

    fn read_back(&mut self, mapping: &Arc<Mapping>) {
        for _ in 0..BATCH_MAX {
            let Some((length, from)) = receive(&mapping.back, &mut self.buffer) else { return };
            if self.shared.state().blocking.is_some() {
                self.shared.blocked.fetch_add(1, Ordering::Relaxed);
            } else if from == self.shared.server {
                let now = self.shared.path.now();
                self.pass(Direction::Down, mapping, length, now);
            }
        }
    }

    /// Sends what is in the buffer over the path.
    fn pass(&mut self, direction: Direction, mapping: &Arc<Mapping>, length: usize, now: Duration) {
        let verdict = self.shared.path.offer(direction, now, length + self.header_bytes);
        let Verdict::Arrives { at, again } = verdict else { return };
        let datagram: Arc<[u8]> = self.buffer[..length].into();
        for at in [Some(at), again].into_iter().flatten() {
            let (mapping, datagram) = (Arc::clone(mapping), Arc::clone(&datagram));
            if !self.schedule.put(at, length, Parcel { direction, mapping, datagram }) {
                self.count_overfull();
            }
        }
    }

    /// Hands over what is due.
    fn deliver(&mut self) {
        while let Some(parcel) = self.schedule.take(self.shared.path.now()) {
            let Parcel { direction, mapping, datagram } = parcel;
            let sent = match direction {
                // It left by the address that the client had then.
                Direction::Up => mapping.back.send_to(&datagram, self.shared.server),
                Direction::Down if mapping.is_forgotten.load(Ordering::Relaxed) => {
                    self.shared.forgotten.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Direction::Down => self.front.send_to(&datagram, mapping.client),
            };
            if sent.is_err() {
                self.count_overfull();
            }
        }
    }

    fn count_overfull(&self) {
        self.shared.overfull.fetch_add(1, Ordering::Relaxed);
    }
}

/// What there is to read.
struct Ready {
    woken: bool,
    front: bool,
    mappings: Vec<usize>,
}

/// The next datagram, unless there is none for now.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer) {
        Ok(received) => Some(received),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        // An unreachable peer may be reported here; the next call clears it.
        Err(_) => None,
    }
}
