//! Beats the time for the bulk that a connection sends, so that its controller can keep an
//! [even pace](crate::congestion) on a narrow path.

use std::time::Instant;

use tokio::{task::JoinHandle, time::sleep};

use crate::{congestion, transport};

/// Beats as long as it lives.
#[derive(Debug)]
pub(crate) struct Metronome {
    connection: quinn::Connection,
    task: JoinHandle<()>,
}

impl Metronome {
    /// Begins. Takes a runtime.
    pub(crate) fn start(connection: &quinn::Connection) -> Self {
        let task = tokio::spawn(beat(connection.clone()));
        Self { connection: connection.clone(), task }
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.task.abort();
        congestion::rest(&self.connection);
        transport::wake(&self.connection);
    }
}

async fn beat(connection: quinn::Connection) {
    while connection.close_reason().is_none() {
        // A path that the peer has moved to has a controller of its own.
        let beat = congestion::beat(connection.congestion_state(), Instant::now());
        if beat.wakes {
            transport::wake(&connection);
        }
        sleep(beat.next).await;
    }
}
