//! WebSocket over TLS over TCP, where UDP is blocked: the same streams, as QMux records in binary
//! messages ([`qmux`](crate::qmux) decides, this module carries out).
//!
//! Little is handed to the kernel ahead of time ([`socket`]), so that what is urgent overtakes bulk
//! also here; the rest waits in the multiplexer.

pub(crate) mod dial;
mod drive;
pub(crate) mod line;
pub(crate) mod listen;
mod socket;

use std::time::Duration;

use skein_wire::close::CloseCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::{
    connection::Closed,
    qmux::{
        RECORD_BYTES_MAX,
        mux::{Config, End},
    },
    transport::{BYTES_DOWN, STREAM_BYTES_DOWN, STREAM_BYTES_UP},
};

/// Where a WebSocket is asked for.
const PATH: &str = "/skein/1";
/// What is spoken over it (RFC 6455, section 1.9): the draft of QMux, then Skein's wire. A slash may
/// not be part of it.
const SUBPROTOCOL: &str = "qmux-02.skein-1";

/// Streams that a client may open before it has logged in, as over QUIC.
const STREAMS_BEFORE_LOGIN: u64 = 4;
/// Streams that a client may have open after it has logged in.
const STREAMS_AFTER_LOGIN: u64 = 16;
/// Bytes that a connection may hold unread at a server before login.
const RECEIVE_BYTES_BEFORE_LOGIN: u64 = 64 * 1024;
/// Bytes that one stream may hold unsent before login.
const STREAM_SEND_BYTES_BEFORE_LOGIN: usize = 64 * 1024;
/// Bytes that one stream may hold unsent after login: with all streams 2 MiB. Over QUIC it is more,
/// since what is under way counts there.
const STREAM_SEND_BYTES_AFTER_LOGIN: usize = 128 * 1024;

/// How long a silent WebSocket is kept at most. TCP outlives no change of network, and after a long
/// silence a new connection is sooner there than its next repetition. So keeping one for as long as
/// QUIC is kept gains nothing, and a client that goes from network to network would leave more
/// dead sessions behind than an account may have.
const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

fn server_config(idle_timeout: Duration, datagrams: bool) -> Config {
    Config {
        client: false,
        streams: STREAMS_BEFORE_LOGIN,
        receive_bytes: RECEIVE_BYTES_BEFORE_LOGIN,
        stream_receive_bytes: STREAM_BYTES_UP.into(),
        stream_send_bytes: STREAM_SEND_BYTES_BEFORE_LOGIN,
        idle_timeout: idle_timeout.min(IDLE_TIMEOUT_MAX),
        keep_alive: None,
        datagrams,
    }
}

fn client_config(idle_timeout: Duration, keep_alive: Duration, datagrams: bool) -> Config {
    Config {
        client: true,
        streams: 0,
        receive_bytes: BYTES_DOWN.into(),
        stream_receive_bytes: STREAM_BYTES_DOWN.into(),
        stream_send_bytes: STREAM_SEND_BYTES_AFTER_LOGIN,
        idle_timeout: idle_timeout.min(IDLE_TIMEOUT_MAX),
        keep_alive: Some(keep_alive),
        datagrams,
    }
}

/// Each message is a record, and each is written at once.
fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(RECORD_BYTES_MAX)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * RECORD_BYTES_MAX)
        .max_message_size(Some(RECORD_BYTES_MAX))
        .max_frame_size(Some(RECORD_BYTES_MAX))
}

/// The end of a connection in the words that all transports share.
fn closed(end: &End) -> Closed {
    let lost = |message: String| Closed { code: None, message, by_us: false };
    match end {
        End::Here => Closed { by_us: true, ..lost("this side closed the connection".into()) },
        End::Closed(code, reason) => Closed {
            code: CloseCode::from_number(*code),
            message: String::from_utf8_lossy(reason).into_owned(),
            by_us: false,
        },
        End::Refused(_, reason) => {
            lost(format!("the peer gave up: {}", String::from_utf8_lossy(reason)))
        }
        End::Fault(violation) => lost(violation.to_string()),
        End::Lost(message) => lost(message.clone()),
    }
}
