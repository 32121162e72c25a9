//! Ports for servers that cannot be given port 0, or that have to come back on the same port.
//!
//! They are taken from below the range that the kernel uses for outgoing connections, so that none
//! of those gets the port while its server is away, and reserved by a locked file, so that tests
//! which run at the same time do not choose the same.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::unix::fs::MetadataExt,
    sync::Mutex,
};

use rand::Rng;

/// Where to look: above what services have, below the kernel's usual range for outgoing traffic.
const RANGE: std::ops::Range<u16> = 10_240..32_000;
/// How many ports are tried before something else must be wrong.
const ATTEMPTS_MAX: usize = 1000;

/// The reservations of this process, which end with it.
static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that is free for TCP and UDP, and stays this process's.
#[must_use]
pub fn free() -> u16 {
    let user = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
    let folder = env::temp_dir().join(format!("skein-ports-{user}"));
    fs::create_dir_all(&folder).expect("the temporary folder takes folders");
    for _ in 0..ATTEMPTS_MAX {
        let port = rand::rng().random_range(RANGE);
        let path = folder.join(port.to_string());
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.expect("the temporary folder takes files");
        if file.try_lock().is_err() {
            continue;
        }
        let address = (Ipv4Addr::LOCALHOST, port);
        // Port by port, as a server binds them; what holds one makes the next try.
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            RESERVED.lock().expect("no holder panics").push(file);
            return port;
        }
    }
    panic!("no port of {RANGE:?} is free");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: std::collections::HashSet<_> = (0..50).map(|_| free()).collect();
        assert_eq!(ports.len(), 50);
    }
}
