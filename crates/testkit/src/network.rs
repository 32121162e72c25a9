//! A network in userspace, as bad as told: for tests, benches and trying things by hand, on any
//! machine and without privileges.
//!
//! [`Link`] is one direction of a path without sockets or a clock; it decides what is lost, what
//! waits and when the rest arrives, and a simulation can drive it in virtual time. [`Path`] is two
//! of them in real time. [`UdpRelay`] stands between real clients and a real server and passes
//! their datagrams over a path; several relays may share one (the same Wi-Fi), and several may lead
//! to one server (a Wi-Fi and a mobile network). [`TcpRelay`] does the same for TCP, by a model of what
//! TCP does there. A [`Script`] says what happens when, and [`typical`] has networks with names.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use skein_testkit::network::{Conditions, UdpRelay};
//! # let server = "127.0.0.1:4433".parse().unwrap();
//! let relay = UdpRelay::start(server).unwrap();
//! let bad = Conditions::delayed(Duration::from_millis(40)).with_loss(0.02);
//! relay.set_both(bad.with_rate(10_000_000, Duration::from_millis(100)));
//! // Clients connect to relay.address().
//! relay.cut(true); // They walk into a lift,
//! relay.rebind(); // out of it at another address,
//! relay.cut(false); // and go on.
//! ```

mod conditions;
mod counts;
mod link;
mod path;
mod schedule;
mod script;
mod tcp;
mod text;
pub mod typical;
mod udp;

pub use conditions::{Burst, Conditions, Queue, Rate, Reordering};
pub use counts::{Amount, Counts, Loss};
pub use link::{Link, Verdict};
pub use path::{Direction, Links, Path, SEED};
pub use script::{Script, Scripted, Step};
pub use tcp::{Death, Flow, TcpRelay};
pub use text::BadText;
pub use typical::Network;
pub use udp::{Blocking, UdpCounts, UdpRelay};
