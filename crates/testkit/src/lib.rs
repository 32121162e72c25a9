//! Real Skein services on free ports, for tests and benches.
//!
//! [`Server`](server::Server) is a `skeind` process with a data folder of its own that can be
//! killed, restarted and terminated; [`Cluster`](cluster::Cluster) is one process for each role, on
//! the real parts; [`Cli`](cli::Cli) runs the `skein` binary;
//! [`Postgres`](postgres::Postgres), [`Redis`](redis::Redis) and [`S3`](s3::S3) are the real servers
//! that a cluster stands on, ended when the test process ends, in whatever way;
//! [`RawSession`](raw::RawSession) speaks the wire directly, for what a well-behaved client would
//! not do; [`network`] stands between a client and a server and is as bad as told;
//! [`namespaces`] is a small real network whose interfaces come and go.
//!
//! Nothing here is a double: a missing binary is an error that says how to build it. Helpers panic
//! with a sentence instead of returning errors, since a test has nothing better to do with one.

#![allow(clippy::missing_panics_doc)]

pub mod binaries;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod folder;
pub mod gate;
pub mod memory;
pub mod namespaces;
pub mod network;
pub mod port;
pub mod postgres;
pub mod process;
pub mod raw;
pub mod redis;
pub mod s3;
pub mod server;
pub mod smtp;
pub mod tools;
pub mod transfer;
pub mod user;

use std::{future::Future, time::Duration};

/// How long a test waits for something that should happen soon: long, as machines are shared. It
/// bounds a failure and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let wait = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, wait).await;
    assert!(held.is_ok(), "waited {PATIENCE:?} in vain until {what}");
}
