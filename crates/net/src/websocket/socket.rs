//! What is asked of the kernel for the TCP socket under a WebSocket.

use tokio::net::TcpStream;

/// Bytes that the kernel may hold without having sent them. More would go ahead of whatever becomes
/// urgent meanwhile; what was sent and is not acknowledged is not limited by it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 16 * 1024;

/// Makes the socket send at once what it is given, and take little more than it can send.
/// A kernel that refuses leaves it slower, so that is no error.
pub(super) fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the kernel delays small segments");
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "the kernel takes as much as it likes");
    }
}
