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
    ways: Ways,
}

/// From which addresses the last attempt to connect was made, one for each address of the node.
struct Ways(Vec<Option<IpAddr>>);

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
        Self { interfaces: Interfaces::watch(), route: None, ways: Ways(Vec::new()) }
    }
}

impl Ways {
    /// Whether an attempt would go as the last one did. Where there was no way, or none was known, one
    /// may come with what has changed, and be told of by nothing else.
    fn are_still(&self, now: &[Option<IpAddr>]) -> bool {
        self.0 == now && now.iter().any(Option::is_some)
    }
}

impl Driver {
    /// The device has another network, as somebody knows.
    pub(super) fn network_changed(&mut self) {
        let now = self.now();
        self.network.route = None;
        self.parts.session.handle_network_changed(now);
    }

    /// An interface or an address has come or gone. That is only of interest if packets to the server go
    /// another way now: on a host that runs containers it happens all the time.
    pub(super) fn interfaces_changed(&mut self) {
        tracing::debug!("interfaces have changed");
        if self.line.is_some() {
            return self.look_at_route(Duration::ZERO);
        }
        let now = self.parts.dialer.ways(&self.parts.login.node);
        if !self.network.ways.are_still(&now) {
            self.network_changed();
        }
    }

    /// Somebody is about to connect to the node.
    pub(super) fn note_ways(&mut self) {
        self.network.ways = Ways(self.parts.dialer.ways(&self.parts.login.node));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_only_given_up_for_another_way() {
        let [wifi, cell] = [1, 2].map(|number| Some(IpAddr::from([10, 0, 0, number])));
        let ways = Ways(vec![wifi, None]);
        assert!(ways.are_still(&[wifi, None]), "a container has come");
        assert!(!ways.are_still(&[cell, None]));
        assert!(!ways.are_still(&[wifi, cell]), "the other family has come");
        assert!(!ways.are_still(&[None, None]));
        assert!(!Ways(vec![None]).are_still(&[None]), "a way may come in a moment");
        assert!(!Ways(Vec::new()).are_still(&[]), "nobody knows the addresses");
    }
}
