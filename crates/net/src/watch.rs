//! Notices that the device has another network: an interface or an address that came or went, or
//! another route to the server.
//!
//! Interfaces are watched with the system's own notifications (netlink, routing sockets, the IP
//! helper), which need no privileges. They do not tell of routes, so those who care compare
//! [`local_address`] now and then: which address the system would send from says by which interface
//! it would, and asking sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Watches the interfaces of this machine. Where it cannot, it never says anything.
pub struct Interfaces {
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
    watch: Option<netwatcher::AsyncWatch>,
}

impl std::fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interfaces").finish_non_exhaustive()
    }
}

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
impl Interfaces {
    /// Watches from now on.
    #[must_use]
    pub fn watch() -> Self {
        let watch = netwatcher::watch_interfaces_async::<netwatcher::async_adapter::Tokio>();
        let watch = watch.inspect_err(|error| {
            tracing::debug!("this system does not tell of its interfaces: {error}");
        });
        Self { watch: watch.ok() }
    }

    /// Resolves when an interface or an address has come or gone. May be dropped and called again.
    pub async fn changed(&mut self) {
        let Some(watch) = &mut self.watch else { return std::future::pending().await };
        // The first thing it tells is what there is.
        while watch.changed().await.is_initial {}
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
impl Interfaces {
    /// Watches nothing: here the system tells the program.
    #[must_use]
    pub fn watch() -> Self {
        Self {}
    }

    /// Never resolves.
    pub async fn changed(&mut self) {
        std::future::pending().await
    }
}

/// The address from which this machine would send to `peer` now; `None` if it has no way there.
#[must_use]
pub fn local_address(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // For UDP this looks up the route and sends nothing.
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_oneself_is_known_and_the_way_to_nowhere_is_not() {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(local_address(loopback), Some(Ipv4Addr::LOCALHOST.into()));
        let nowhere = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        assert_eq!(local_address(nowhere), None);
    }

    #[tokio::test]
    async fn watching_needs_no_privileges_and_tells_only_of_changes() {
        let mut interfaces = Interfaces::watch();
        let quiet = std::time::Duration::from_millis(50);
        // Other tests may make interfaces: it must neither fail nor hold anyone up.
        tokio::time::timeout(quiet, interfaces.changed()).await.ok();
    }
}
