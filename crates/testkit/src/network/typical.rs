//! Networks with names. They are shapes to test with, in the range of what such networks do, and
//! measurements of none: a result names the numbers and not only the name.

use std::time::Duration;

use super::conditions::{Burst, Conditions, Queue, Rate, Reordering};

/// A network with a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// What it is called.
    pub name: &'static str,
    /// From the client to the server.
    pub up: Conditions,
    /// From the server to the client.
    pub down: Conditions,
}

impl Network {
    /// All of them, from good to bad.
    #[must_use]
    pub fn all() -> [Self; 7] {
        [wired(), wifi(), busy_wifi(), lte(), hspa(), satellite(), edge()]
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|network| network.name == name)
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A direction: kilobits in a second, queue, delay of one way, jitter, loss.
const fn direction(kilobits: u64, queue: u64, delay: u64, jitter: u64, loss: f64) -> Conditions {
    let bits_per_second = kilobits * 1000;
    Conditions {
        loss,
        burst: None,
        delay: ms(delay),
        jitter: ms(jitter),
        reordering: None,
        duplication: 0.0,
        rate: Some(Rate { bits_per_second, queue: Queue::Time(ms(queue)) }),
        mtu: Some(1500),
        cut: false,
    }
}

/// A line to the next city: 100 Mbit/s, 10 ms there and back.
#[must_use]
pub fn wired() -> Network {
    let both = direction(100_000, 50, 5, 0, 0.0);
    Network { name: "wired", up: both, down: both }
}

/// A good Wi-Fi: 50 Mbit/s, 20 ms there and back.
#[must_use]
pub fn wifi() -> Network {
    let both = direction(50_000, 50, 10, 2, 0.001);
    Network { name: "wifi", up: both, down: both }
}

/// A Wi-Fi that many share, from behind a wall: bursts of loss, some late, a long queue.
#[must_use]
pub fn busy_wifi() -> Network {
    let both = Conditions {
        burst: Some(Burst::of(0.02, 4.0)),
        reordering: Some(Reordering { probability: 0.005, late: ms(8) }),
        ..direction(8_000, 200, 15, 20, 0.005)
    };
    Network { name: "busy-wifi", up: both, down: both }
}

/// A phone: 12 and 30 Mbit/s, 60 ms there and back, a long queue.
#[must_use]
pub fn lte() -> Network {
    let (up, down) = (direction(12_000, 300, 30, 8, 0.001), direction(30_000, 300, 30, 8, 0.001));
    Network { name: "lte", up, down }
}

/// A phone in the country: 1 and 4 Mbit/s, 120 ms there and back.
#[must_use]
pub fn hspa() -> Network {
    let (up, down) = (direction(1_000, 500, 60, 20, 0.005), direction(4_000, 500, 60, 20, 0.005));
    Network { name: "hspa", up, down }
}

/// A geostationary satellite: 5 and 20 Mbit/s, 600 ms there and back, 1 % lost in bursts.
#[must_use]
pub fn satellite() -> Network {
    let lossy = |conditions| Conditions { burst: Some(Burst::of(0.01, 8.0)), ..conditions };
    let up = lossy(direction(5_000, 300, 300, 5, 0.0));
    Network { name: "satellite", up, down: lossy(direction(20_000, 300, 300, 5, 0.0)) }
}

/// What remains at the edge of the map: 60 and 180 kbit/s, 500 ms there and back, 2 % lost.
#[must_use]
pub fn edge() -> Network {
    let small = |conditions| Conditions { mtu: Some(1400), ..conditions };
    let up = small(direction(60, 2000, 250, 80, 0.02));
    Network { name: "edge", up, down: small(direction(180, 2000, 250, 80, 0.02)) }
}
