//! Skein's transport: endpoints, TLS, and one session type over all of them.
//!
//! [`Listener`](listen::Listener) and [`Dialer`](dial::Dialer) make [`Connection`]s; a connection
//! opens and accepts streams; a stream carries frames, then raw bytes ([`stream`]). Beside streams there
//! may be [datagrams](datagram). One UDP port serves every protocol, told apart by ALPN; the TCP port
//! of the same number serves WebSocket for clients whose network drops UDP ([`qmux`]).
//!
//! **Architecture Invariant**: this is the only crate of the server and of the SDK that names
//! quinn. What its callers see is the same over QUIC and the TCP fallback.

pub mod admission;
pub mod congestion;
pub mod connection;
pub mod connection_id;
pub mod datagram;
pub mod dial;
mod file;
pub mod identity;
pub mod listen;
pub mod metric;
mod metronome;
pub mod migration;
mod pace;
pub mod priority;
pub mod qmux;
mod quic;
pub mod quic_lb;
mod reset;
pub mod secret;
pub mod stream;
mod tls;
mod token;
pub mod transport;
pub mod watch;
mod websocket;

pub use connection::Connection;
