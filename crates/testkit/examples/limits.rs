//! What the UDP relay itself can carry, and how well it keeps time: datagrams of a full size through
//! a relay that only delays them. Build it with `--release`; the sender and the receiver use the
//! same cores.

use std::{
    error::Error,
    io,
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use skein_testkit::network::{Conditions, UdpRelay};

/// Bytes of data in a datagram, as QUIC has them before it knows the path (RFC 9000, section 14).
const DATAGRAM_BYTES: usize = 1200;
const BITS_PER_BYTE: u64 = 8;
/// Megabits in a second that are sent, of data.
const RATES: [u64; 5] = [10, 100, 200, 400, 800];
/// How long each is sent.
const LENGTH: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_millis(20);
/// How long the receiver waits for the last ones.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the sender sleeps before it sends what has become due.
const NAP: Duration = Duration::from_micros(100);

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>8} {:>9} {:>9} {:>9} {:>32}", "Mbit/s", "sent", "missing", "unread", "late by");
    for rate in RATES {
        measure(rate * 1_000_000)?;
    }
    Ok(())
}

fn measure(bits_per_second: u64) -> Result<(), Box<dyn Error>> {
    let server = socket()?;
    let relay = UdpRelay::start(server.local_addr()?)?;
    relay.set_both(Conditions::delayed(DELAY));
    let client = socket()?;
    client.connect(relay.address())?;
    let begin = Instant::now();
    let receiver = thread::spawn(move || receive(&server, begin));

    let (mut sent, mut datagram) = (0, [0; DATAGRAM_BYTES]);
    while begin.elapsed() < LENGTH {
        let due = begin.elapsed().as_secs_f64() * bits_per_second as f64;
        while ((sent * DATAGRAM_BYTES as u64 * BITS_PER_BYTE) as f64) < due {
            let now = u64::try_from(begin.elapsed().as_nanos())?;
            datagram[..8].copy_from_slice(&now.to_be_bytes());
            client.send(&datagram)?;
            sent += 1;
        }
        thread::sleep(NAP);
    }
    let mut late = receiver.join().map_err(|_| "the receiver has panicked")??;
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "{:>8} {sent:>9} {:>9} {:>9} {:>10.0?} p50 {:>10.0?} p99 {:>10.0?} max",
        bits_per_second / 1_000_000,
        sent - late.len() as u64,
        relay.relay_counts().unread,
        at(0.5),
        at(0.99),
        at(1.0),
    );
    Ok(())
}

/// By how much each datagram came later than it should.
fn receive(server: &UdpSocket, begin: Instant) -> io::Result<Vec<Duration>> {
    server.set_read_timeout(Some(SILENCE))?;
    let (mut late, mut datagram) = (Vec::new(), [0; DATAGRAM_BYTES]);
    while server.recv(&mut datagram).is_ok() {
        let mut sent = [0; 8];
        sent.copy_from_slice(&datagram[..8]);
        let due = Duration::from_nanos(u64::from_be_bytes(sent)) + DELAY;
        late.push(begin.elapsed().saturating_sub(due));
    }
    Ok(late)
}

/// A socket with room for what comes while the others use the cores.
fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 * 1024 * 1024)?;
    Ok(socket)
}
