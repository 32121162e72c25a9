//! The scenarios, one a file. Each tells what it has found, and fails if something went missing.

pub(crate) mod congestion;
pub(crate) mod loss;
pub(crate) mod networks;
pub(crate) mod pingpong;
pub(crate) mod priority;
pub(crate) mod transfer;

use crate::{
    arguments::{Loss, Networks, Pingpong, Priority, Transfer},
    failure::Failure,
    report::Report,
};

/// Runs every scenario but the model of `congestion` with a load that takes seconds, to show that it
/// works.
pub(crate) async fn smoke(report: &mut Report) -> Result<(), Failure> {
    pingpong::run(&Pingpong::tiny(), report).await?;
    transfer::run(&Transfer::tiny(), report).await?;
    loss::run(&Loss::tiny(), report).await?;
    networks::run(&Networks::tiny(), report).await?;
    priority::run(&Priority::tiny(), report).await
}
