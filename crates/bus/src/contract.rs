//! What an implementation of [`Bus`](crate::Bus) owes its callers, as stories. Each starts with an
//! empty bus and knows nothing but the traits.
//!
//! An implementation runs all of them with `run_contract!(path)`, where the path is that of a
//! function that makes an empty bus, as seen from a module inside the calling one.

pub(crate) mod hints;
pub(crate) mod keys;
pub(crate) mod leases;

/// Makes a test of every story for the bus that `$empty` makes. The clock is paused, so stories
/// move it by themselves.
macro_rules! run_contract {
    ($empty:path) => {
        $crate::contract::run_contract! { $empty;
            hints:
                reach_whoever_watches_the_topic,
                come_in_the_order_of_publication,
                are_missed_when_the_queue_is_full,
                go_nowhere_without_a_subscriber;
            keys:
                are_kept_until_they_expire,
                are_deleted_by_one_caller_only,
                count_within_a_window,
                limit_a_rate;
            leases:
                have_one_holder,
                end_when_they_are_not_renewed,
                grow_in_epoch,
                are_listed_by_prefix;
        }
    };
    ($empty:path; $($part:ident: $($story:ident),+;)+) => {
        $(
            mod $part {
                $(
                    #[tokio::test(start_paused = true)]
                    async fn $story() {
                        $crate::contract::$part::$story($empty()).await;
                    }
                )+
            }
        )+
    };
}
pub(crate) use run_contract;
