//! QUIC's limits. Credit is memory that a peer may make this side hold, so it starts small and is
//! raised once the peer has logged in.

use std::{net::UdpSocket, sync::Arc, time::Duration};

#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::{congestion, quic::datagram};

/// Streams that a peer may open before it has logged in: the session stream and little else.
const STREAMS_BEFORE_LOGIN: u32 = 4;
/// Streams that a peer may have open after it has logged in. quinn allocates for each.
const STREAMS_AFTER_LOGIN: u32 = 16;
/// Bytes that one stream may hold unread at a server: no upload runs further ahead.
pub const STREAM_BYTES_UP: u32 = 2 * 1024 * 1024;
/// The same at a client: 300 Mbit/s at 80 ms, 120 Mbit/s at 200 ms. With more, a path that loses much
/// could end a connection: quinn gives it up when what has arrived of a stream is in over 1,024
/// pieces, as 4 MiB may be from 40 % on.
pub const STREAM_BYTES_DOWN: u32 = 3 * 1024 * 1024;
/// Bytes that a connection may hold unread before login. A longer hello arrives all the same, as
/// it is read.
const RECEIVE_BYTES_BEFORE_LOGIN: u32 = 64 * 1024;
/// Bytes that a connection may hold unread at a server after login. Bulk may use up what its streams
/// have; three of them leave room for the session, which would wait behind them otherwise, whatever
/// its priority.
pub(crate) const BYTES_UP: u32 = 4 * STREAM_BYTES_UP;
/// The same at a client, and what either may have sent that is not acknowledged.
pub const BYTES_DOWN: u32 = 4 * STREAM_BYTES_DOWN;
/// Bytes that streams which a client does not read just now may come to: as much as one stream may
/// hold is left for what it does read.
pub const UNREAD_BYTES_DOWN: u32 = BYTES_DOWN - STREAM_BYTES_DOWN;
/// Bytes sent and not acknowledged before login.
const SEND_BYTES_BEFORE_LOGIN: u64 = 256 * 1024;
/// What is assumed of a path that was not measured (RFC 9002, section 6.2.2).
pub(crate) const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(333);
/// Bytes that the kernel is asked to buffer for the UDP socket in each direction.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A listener's side.
pub(crate) fn server(idle_timeout: Duration, datagrams: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS_BEFORE_LOGIN.into())
        .stream_receive_window(STREAM_BYTES_UP.into())
        .receive_window(RECEIVE_BYTES_BEFORE_LOGIN.into())
        .send_window(SEND_BYTES_BEFORE_LOGIN);
    Arc::new(both(config, idle_timeout, datagrams))
}

/// A dialer's side, over a path whose round trip is taken for so long until it is measured. The server
/// opens no streams; replies and downloads may use the path fully.
pub(crate) fn client(
    idle_timeout: Duration,
    keep_alive: Duration,
    datagrams: bool,
    round_trip: Duration,
) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .initial_rtt(round_trip)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(STREAM_BYTES_DOWN.into())
        .receive_window(BYTES_DOWN.into())
        .send_window(BYTES_DOWN.into())
        .keep_alive_interval(Some(keep_alive));
    Arc::new(both(config, idle_timeout, datagrams))
}

/// The peer has logged in: it may move bulk.
pub(crate) fn raise(connection: &quinn::Connection) {
    connection.set_max_concurrent_bi_streams(STREAMS_AFTER_LOGIN.into());
    connection.set_receive_window(BYTES_UP.into());
    connection.set_send_window(BYTES_DOWN.into());
}

/// Makes the peer of a dialed connection acknowledge something.
///
/// quinn offers no ping. A window that grows is told at once (MAX_DATA; RFC 9000, section 19.9), and
/// what is taken back is only not granted later: so it grows by a byte and shrinks again.
pub(crate) fn probe(connection: &quinn::Connection) {
    congestion::permit_probe(connection);
    connection.set_receive_window((BYTES_DOWN + 1).into());
    connection.set_receive_window(BYTES_DOWN.into());
}

/// Has a connection look whether it may send now. Bulk is sent after login, so its window is this one
/// already.
pub(crate) fn wake(connection: &quinn::Connection) {
    connection.set_send_window(BYTES_DOWN.into());
}

/// Asks for large socket buffers: the kernel drops what arrives while the process is not scheduled.
/// It grants what `net.core.rmem_max` allows, so a refusal is no error.
pub(crate) fn enlarge_buffers(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    for granted in [
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES),
    ] {
        if let Err(error) = granted {
            tracing::debug!(%error, "the kernel keeps its UDP buffer size");
        }
    }
}

/// Has the kernel hand over one datagram at a time, which quinn has it do otherwise where it can (GRO).
///
/// What quinn keeps of a stream, because something before it is missing, is a part of the buffer that
/// it came in, and counts as the datagram that it came in. A buffer of 64 KiB may hold one datagram with
/// bytes to keep among forty others: so a peer could have this side hold forty times its credit.
pub(crate) fn one_datagram_at_a_time(socket: &UdpSocket) {
    #[cfg(target_os = "linux")]
    if let Err(error) = setsockopt(socket, sockopt::UdpGroSegment, &false) {
        tracing::warn!(%error, "the kernel goes on to hand over many datagrams at once");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

fn both(mut config: TransportConfig, idle_timeout: Duration, datagrams: bool) -> TransportConfig {
    let idle_timeout = IdleTimeout::try_from(idle_timeout).unwrap_or(VarInt::MAX.into());
    config
        .congestion_controller_factory(Arc::new(congestion::Factory))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Where nobody empties quinn's queue there is none, and a datagram ends the connection.
        .datagram_receive_buffer_size(datagrams.then_some(datagram::RECEIVE_BYTES))
        .datagram_send_buffer_size(datagram::SEND_BYTES)
        .max_idle_timeout(Some(idle_timeout));
    config
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use nix::sys::socket::getsockopt;
    use quinn::{Endpoint, EndpointConfig, TokioRuntime};

    use super::*;

    #[tokio::test]
    async fn quinn_takes_one_datagram_at_a_time() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let kernel = socket.try_clone().unwrap();
        let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let _endpoint = Endpoint::new(config, None, socket, runtime).unwrap();
        assert!(getsockopt(&kernel, sockopt::UdpGroSegment).unwrap(), "quinn asks for many");
        one_datagram_at_a_time(&kernel);
        assert!(!getsockopt(&kernel, sockopt::UdpGroSegment).unwrap());
    }
}
