//! What a node does when it may have missed something: the bus has lost hints, or the process was
//! held up for so long that others gave it up. Every session compares its logs with the store, and
//! every login is looked at again, a few at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::stream::{self, StreamExt};
use skein_net::Connection;
use skein_store::{StoreError, token::TokenHash};
use skein_wire::close::CloseCode;

use super::Hub;
use crate::metric;

/// Logins that are looked at, at a time.
const REVIEWS_MAX: usize = 16;
/// How soon those are looked at again that the store could not tell about.
const REVIEW_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the node feels its pulse.
const PULSE_INTERVAL: Duration = Duration::from_secs(1);
/// A pulse that is this late shows that the process did not run: it was frozen, or its machine was.
const FROZEN_AFTER: Duration = Duration::from_secs(5);

impl Hub {
    /// Something may have been missed: nothing that is known here counts without a look.
    pub(crate) fn suspect(&self) {
        for live in self.state().sessions.values() {
            metric::behind("missed");
            live.queue.set_behind();
        }
        self.review.notify_one();
        self.attendance.renew();
    }

    /// Looks at logins again whenever they are in doubt.
    pub(crate) async fn keep_reviewing(self: Arc<Self>) {
        loop {
            self.review.notified().await;
            self.review_logins().await;
        }
    }

    /// Notices when the process was held up.
    pub(crate) async fn feel_pulse(self: Arc<Self>) {
        loop {
            let before = Instant::now();
            tokio::time::sleep(PULSE_INTERVAL).await;
            let late = before.elapsed().saturating_sub(PULSE_INTERVAL);
            if late >= FROZEN_AFTER {
                tracing::warn!(seconds = late.as_secs(), "this process did not run for a while");
                self.suspect();
            }
        }
    }

    async fn review_logins(&self) {
        let mut open: Vec<(TokenHash, Connection)> = {
            let state = self.state();
            let sessions = state.sessions.values();
            sessions.map(|live| (live.token, live.connection.clone())).collect()
        };
        while !open.is_empty() {
            let looks = open.into_iter().map(|login| self.review_login(login));
            let unknown = stream::iter(looks).buffer_unordered(REVIEWS_MAX);
            open = unknown.filter_map(std::future::ready).collect().await;
            if !open.is_empty() {
                tokio::time::sleep(REVIEW_AGAIN_AFTER).await;
            }
        }
    }

    /// Ends a session whose login has ended. Answers it if the store cannot tell now.
    async fn review_login(
        &self,
        (token, connection): (TokenHash, Connection),
    ) -> Option<(TokenHash, Connection)> {
        match self.store.identify(&token, self.clock.now()).await {
            Ok(Some(_)) => None,
            Ok(None) => {
                let message = "this login is not valid any more; log in again";
                connection.close(CloseCode::Unauthorised, message);
                None
            }
            Err(StoreError::Unavailable { .. }) => Some((token, connection)),
            Err(error) => {
                // The session looks for itself each minute.
                let refusal = error.into_refusal();
                tracing::warn!(error.code = %refusal.code, "a session may have to end");
                None
            }
        }
    }
}
