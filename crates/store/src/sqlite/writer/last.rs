//! How the last batch went: for the log, and for whoever asks whether the store can be written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Broken;
use crate::sqlite::fault::Obstacle;

/// What was in the way of the last batch. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Last(Arc<Mutex<Option<Obstacle>>>);

impl Last {
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        *self.lock()
    }

    /// Logs how a batch went, and keeps it. A full disk breaks batch after batch: it is told once, and
    /// once that it is over.
    pub(super) fn set(&self, failure: Option<&Broken>, jobs: usize) {
        let mut obstacle = self.lock();
        match (failure, *obstacle) {
            (None, None) => {}
            (None, Some(former)) => {
                tracing::info!(store.obstacle = %former, "the store writes again");
                *obstacle = None;
            }
            (Some(Broken { obstacle: Some(new), .. }), Some(former)) if *new == former => {}
            (Some(Broken { obstacle: Some(new), cause }), _) => {
                tracing::error!(
                    error.cause = cause,
                    "the store cannot write: {new}; it reads on, and tries to write with each request"
                );
                *obstacle = Some(*new);
            }
            (Some(Broken { cause, .. }), _) => {
                tracing::error!(
                    error.cause = cause,
                    batch.jobs = jobs,
                    "a batch was not committed"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Obstacle>> {
        // Each use leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
