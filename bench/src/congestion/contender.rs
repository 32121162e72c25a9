//! The controllers that are compared, and the paths they are compared on.

mod copa;
mod rule;

use std::{fmt, sync::Arc, time::Duration};

use clap::ValueEnum;
use quinn_proto::{
    TransportConfig,
    congestion::{BbrConfig, CubicConfig, NewRenoConfig},
};
use serde::Serialize;
use skein_net::transport::{BYTES_DOWN, STREAM_BYTES_DOWN, STREAM_BYTES_UP};

use self::{copa::Copa, rule::Factory};
use super::{
    link::Quality,
    work::{Kind, Task},
    world::{Flow, Path},
};

/// Time between two messages of a chat: 20 a second.
const MESSAGE_EVERY: Duration = Duration::from_millis(50);
/// Bytes of the shortest queue: as many as quinn sends at once without asking.
const QUEUE_BYTES_MIN: f64 = 15_000.0;

/// A congestion controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contender {
    /// Skein's.
    Skein,
    /// quinn's default (RFC 9438).
    Cubic,
    /// quinn's (RFC 9002).
    Newreno,
    /// quinn's, of version 1 and marked experimental.
    Bbr,
    /// As its paper has it, but for the pace (NSDI 2018).
    Copa,
}

impl Contender {
    /// What an endpoint sends with, and what it takes of a stream: Skein's windows, so that only the
    /// controllers differ.
    fn transport(self, stream_bytes: u32) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        config
            .max_idle_timeout(None)
            .stream_receive_window(stream_bytes.into())
            .receive_window((4 * stream_bytes).into())
            .send_window(BYTES_DOWN.into());
        match self {
            Self::Skein => {
                config.congestion_controller_factory(Arc::new(skein_net::congestion::Factory))
            }
            Self::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
            Self::Newreno => {
                config.congestion_controller_factory(Arc::new(NewRenoConfig::default()))
            }
            Self::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
            Self::Copa => {
                config.congestion_controller_factory(Arc::new(Factory::<Copa>::default()))
            }
        };
        Arc::new(config)
    }

    /// A connection that does these things, from a time in seconds.
    pub(crate) fn flow(self, from: f64, tasks: Vec<Task>) -> Flow {
        let from = Duration::from_secs_f64(from);
        let (client, server) = (self.transport(STREAM_BYTES_DOWN), self.transport(STREAM_BYTES_UP));
        Flow { client, server, from, tasks }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Skein => "skein",
            Self::Cubic => "cubic",
            Self::Newreno => "newreno",
            Self::Bbr => "bbr",
            Self::Copa => "copa",
        })
    }
}

/// A path, the same in both directions: megabits a second, milliseconds there and back, how many
/// times what the path holds fits into its queue, and of how many packets in a hundred one is lost.
pub(crate) fn path(megabits: f64, millis: f64, queue: f64, percent_lost: u32) -> Path {
    let holds = megabits * 1e6 / 8.0 * millis / 1e3;
    let quality = Quality {
        bits_per_second: (megabits * 1e6) as u64,
        delay: Duration::from_secs_f64(millis / 2e3),
        queue_bytes: (holds * queue).max(QUEUE_BYTES_MIN) as u64,
        lost_per_mille: 10 * percent_lost,
        jitter: Duration::ZERO,
    };
    Path { up: quality, down: quality }
}

/// The same path, but packets are late by up to so many milliseconds in each direction.
pub(crate) fn uneven(mut path: Path, millis: u64) -> Path {
    path.up.jitter = Duration::from_millis(millis);
    path.down.jitter = Duration::from_millis(millis);
    path
}

/// A stream from one time to another, in seconds.
pub(crate) fn task(kind: Kind, from: f64, until: f64) -> Task {
    let (from, until) = (Duration::from_secs_f64(from), Duration::from_secs_f64(until));
    Task { kind, from, until, every: MESSAGE_EVERY }
}
