//! Raw quinn: what the transport alone does on this machine. The limit that Skein is held against.
//!
//! A second process of this very binary serves it ([`server`]), so that both systems have the same
//! number of processes. quinn runs with the crypto provider, stream limit, stream window, idle
//! timeout, keep-alive and socket buffers of Skein and otherwise with its own defaults.

pub(crate) mod bulk;
pub(crate) mod echo;
pub(crate) mod process;
pub(crate) mod server;

use std::{io, net::UdpSocket, sync::Arc, time::Duration};

use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use skein_net::transport::{STREAM_BYTES_DOWN, STREAM_BYTES_UP};

/// Streams that a client may have open, as at Skein after login.
const STREAMS_MAX: u32 = 16;
/// As at Skein.
const IDLE_TIMEOUT_MS: u32 = 120_000;
/// As at the clients that the bench makes of Skein.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes that the kernel is asked to buffer, as at Skein.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The first byte of each stream: what it is for.
mod kind {
    /// Every byte comes back.
    pub(super) const ECHO: u8 = b'E';
    /// Bytes are thrown away; at the end, or when no more are to come, their number comes back.
    pub(super) const DISCARD: u8 = b'D';
    /// Bytes are written to a file and synced; at the end their number comes back.
    pub(super) const PERSIST: u8 = b'P';
    /// As many bytes come as the next eight bytes say (big endian).
    pub(super) const SEND: u8 = b'S';
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn transport(is_client: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(if is_client { STREAM_BYTES_DOWN } else { STREAM_BYTES_UP }.into())
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))));
    if is_client {
        config.keep_alive_interval(Some(KEEP_ALIVE));
    }
    Arc::new(config)
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}
