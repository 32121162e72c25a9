//! The network of the device: notices when it is another, and moves there.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use skein_core::sync::Signs;
use skein_net::watch::{Interfaces, local_address};

use super::{Driver, line::Line};

/// How often the route to the server is looked at while nothing says that it has changed. Looking
/// sends nothing.
pub(super) const ROUTE_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the network.
pub(super) struct Network {
    pub(super) interfaces: Interfaces,
    route: Option<Route>,
}

/// The way that packets to the server took when it was looked at last.
#[derive(Debug, Clone, Copy)]
struct Route {
    to: SocketAddr,
    /// The address that they leave from; there may be no way at all.
    from: Option<IpAddr>,
    looked_at: Instant,
}

impl Network {
    pub(super) fn watch() -> Self {
        Self { interfaces: Interfaces::watch(), route: None }
    }
}

impl Driver {
    /// The device has another network, as somebody knows.
    pub(super) fn network_changed(&mut self) {
        let now = self.now();
        self.network.route = None;
        self.parts.session.handle_network_changed(now);
    }

    /// An interface or an address has come or gone. Where there is a connection, that is only of
    /// interest if its packets go another way now.
    pub(super) fn interfaces_changed(&mut self) {
        tracing::debug!("interfaces have changed");
        if self.line.is_none() {
            return self.network_changed();
        }
        self.look_at_route(Duration::ZERO);
    }

    /// Takes the way that packets to the server go for that of a connection that has just been made.
    pub(super) fn note_route(&mut self) {
        self.network.route = None;
        self.look_at_route(Duration::ZERO);
    }

    /// Looks which way packets to the server go, unless that was known so recently.
    pub(super) fn look_at_route(&mut self, recently: Duration) {
        let Some(to) = self.line.as_ref().map(|line| line.connection.peer()) else { return };
        let known = self.network.route.filter(|known| known.to == to);
        if known.is_some_and(|known| known.looked_at.elapsed() < recently) {
            return;
        }
        let from = local_address(to);
        self.network.route = Some(Route { to, from, looked_at: Instant::now() });
        let now = self.now();
        if from.is_some() {
            if known.is_some_and(|known| known.from != from) {
                tracing::debug!("packets to the server go another way");
                self.parts.session.handle_network_changed(now);
            }
        } else if self.parts.dialer.reaches_elsewhere(&self.parts.login.node, to) {
            // What has come so far came while there was a way.
            self.signs();
            self.parts.session.handle_stranded(now);
        }
        // Where there is no way at all there is nowhere to move.
    }

    /// What has come and gone since this was asked last.
    pub(super) fn signs(&mut self) -> Option<Signs> {
        self.line.as_mut().map(Line::signs)
    }

    /// Moves all connections to new sockets, which makes the server acknowledge something.
    pub(super) fn move_sockets(&mut self) {
        if let Err(error) = self.parts.dialer.rebind() {
            tracing::debug!("the connection stays on its socket: {error}");
        }
        if let Some(line) = &self.line {
            line.connection.on_another_path();
        }
        // What has come so far came over the old network.
        self.signs();
    }

    /// Makes the server acknowledge something.
    pub(super) fn probe(&self) {
        if let Some(line) = &self.line {
            line.connection.probe();
        }
    }
}
