//! Tells the directory, each few seconds, that the node is there and how loaded it is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use skein_core::port::directory::{ChatNode, Directory, NodeReport};
use skein_ops::lifecycle::Shutdown;

use crate::hub::Hub;

/// How often a node reports: several times within the directory's lease.
const REPORT_INTERVAL: Duration = Duration::from_secs(3);

/// What a node reports about itself.
pub(crate) struct Reporter {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) node: Mutex<ChatNode>,
    pub(crate) sessions_max: usize,
}

impl Reporter {
    /// Reports now.
    pub(crate) async fn report(&self, draining: bool) {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let report = NodeReport {
            node,
            sessions: self.hub.sessions() as u64,
            sessions_max: self.sessions_max as u64,
            draining,
        };
        if let Err(refusal) = self.directory.report(report).await {
            tracing::warn!(error.code = %refusal.code, "could not report to the directory");
        }
    }

    /// Reports until the node goes away, then says so.
    pub(crate) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => break,
                () = tokio::time::sleep(REPORT_INTERVAL) => self.report(false).await,
            }
        }
        self.report(true).await;
        let name = self.node.lock().unwrap_or_else(PoisonError::into_inner).name.clone();
        if let Err(refusal) = self.directory.leave(&name).await {
            tracing::warn!(error.code = %refusal.code, "could not leave the directory");
        }
    }
}
