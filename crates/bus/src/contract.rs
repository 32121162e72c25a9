//! What an implementation of [`Bus`](crate::Bus) owes its callers, as stories. Each starts with an
//! empty bus and knows nothing but the traits and the clock that the bus goes by.
//!
//! An implementation runs all of them with `run_contract!(path)`, where the path is that of a
//! function that sets an empty stage, as seen from a module inside the calling one.
//!
//! Stories let the clock of the bus pass by hours and look at it with [`SLACK`], so that the time
//! that a story takes to run decides nothing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::Bus;

pub(crate) mod hints;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod presence;

/// What lifetimes are made of.
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
/// How far a clock that goes on by itself may get while a story is told.
pub(crate) const SLACK: Duration = Duration::from_secs(10 * 60);

/// An empty bus, and the clock that it goes by.
pub(crate) struct Stage {
    pub(crate) bus: Arc<dyn Bus>,
    clock: Box<dyn Passing>,
}

/// A clock that can be moved on.
#[async_trait]
pub(crate) trait Passing: Send + Sync {
    /// Moves the clock on.
    async fn pass(&self, time: Duration);
}

impl Stage {
    pub(crate) fn new(bus: Arc<dyn Bus>, clock: impl Passing + 'static) -> Self {
        Self { bus, clock: Box::new(clock) }
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.pass(time).await;
    }
}

/// Whether `time` is what was expected, but for what has passed by itself.
pub(crate) fn is_about(time: Duration, expected: Duration) -> bool {
    time <= expected && time + SLACK > expected
}

/// Makes a test of every story on the stage that `$empty` sets.
macro_rules! run_contract {
    ($empty:path) => {
        $crate::contract::run_contract! { $empty;
            hints:
                reach_whoever_watches_the_topic,
                reach_whoever_watches_many_topics_at_once,
                come_in_the_order_of_publication,
                keep_what_they_say,
                are_missed_when_the_queue_is_full,
                go_nowhere_without_a_subscriber;
            keys:
                are_kept_until_they_expire,
                are_deleted_by_one_caller_only,
                count_within_a_window,
                refuse_to_count_what_is_no_number,
                limit_a_rate;
            leases:
                have_one_holder,
                end_when_they_are_not_renewed,
                grow_in_epoch,
                are_listed_by_prefix;
            presence:
                is_of_accounts_with_a_session_somewhere,
                ends_when_it_is_not_renewed,
                is_told_by_the_latest_term_of_a_node,
                is_kept_for_many_accounts;
        }
    };
    ($empty:path; $($part:ident: $($story:ident),+;)+) => {
        $(
            mod $part {
                $(
                    #[tokio::test]
                    async fn $story() {
                        $crate::contract::$part::$story($empty().await).await;
                    }
                )+
            }
        )+
    };
}
pub(crate) use run_contract;
