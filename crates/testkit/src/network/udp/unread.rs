//! What the kernel has thrown away because a socket was not read in time: the one loss that a relay
//! does not see by itself, and which would be taken for one of the network under test.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

/// The column of the address in /proc/net/udp (proc(5)).
const COLUMN_ADDRESS: usize = 1;

/// How many datagrams the kernel has dropped for the sockets at these addresses. None where it does
/// not say so, which only Linux does.
pub(super) fn unread(sockets: &[SocketAddr]) -> u64 {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    let tables: String = tables.into_iter().flatten().collect();
    let wanted: Vec<String> = sockets.iter().map(name).collect();
    let counts = tables.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        let address = columns.nth(COLUMN_ADDRESS)?;
        if !wanted.iter().any(|one| one == address) {
            return None;
        }
        columns.last()?.parse::<u64>().ok()
    });
    counts.sum()
}

/// An address as the kernel writes it: words as they are in memory, in hexadecimal digits.
fn name(address: &SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word));
    let words: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_that_is_not_read_drops() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            // A host without IPv6 has only the other.
            let Ok(socket) = UdpSocket::bind(host) else { continue };
            let address = socket.local_addr().expect("bound");
            assert_eq!(unread(&[address]), 0);
            let sender = UdpSocket::bind(host).expect("a port");
            socket2::SockRef::from(&socket).set_recv_buffer_size(4096).expect("a size");
            for _ in 0..1000 {
                sender.send_to(&[0; 1000], address).expect("sent");
            }
            assert!(unread(&[address]) > 900, "{}", unread(&[address]));
        }
    }
}
