//! What an implementation of [`Store`](crate::Store) owes its callers, as stories. Each starts with
//! an empty store and knows nothing but the traits.
//!
//! An implementation runs all of them by naming, in its test module, a function that makes an empty
//! store: `run_contract!(crate::sqlite::tests::empty)`. It is `async`, and returns the store as an
//! `Arc<dyn Store>` with something that keeps it alive until the story is over. A new story is
//! listed here once.

pub(crate) mod account;
pub(crate) mod blob;
pub(crate) mod coming;
pub(crate) mod contact;
pub(crate) mod contact_retry;
pub(crate) mod instance;
pub(crate) mod log;
pub(crate) mod log_order;
pub(crate) mod scene;
pub(crate) mod token;
pub(crate) mod upload;
pub(crate) mod upload_opening;

/// Makes a test of every story for the store that `$empty` makes; or, with `together` before it, one
/// test of them all, for a store whose server takes longer to start than a story to tell.
macro_rules! run_contract {
    ($empty:path) => { $crate::contract::run_contract! { @list each $empty } };
    (together $empty:path) => { $crate::contract::run_contract! { @list together $empty } };
    (@list $how:ident $empty:path) => {
        $crate::contract::run_contract! { @$how $empty;
            instance:
                has_an_id_that_stays;
            account:
                names_and_addresses_are_unique,
                is_found_by_name_address_and_id,
                is_searched_by_prefix,
                a_new_password_ends_every_token,
                is_listed_in_pages,
                has_no_tokens_while_disabled;
            token:
                speaks_for_its_owner_until_it_expires,
                is_one_a_device,
                is_not_issued_for_a_former_password,
                stays_beside_others_under_many,
                ends_the_others_under_exclusive,
                is_listed_and_ended_by_device;
            contact:
                begins_with_a_request_and_its_acceptance,
                begins_when_both_have_asked,
                is_declined,
                is_removed_and_begins_again,
                is_refused_as_the_policy_says;
            contact_retry:
                changes_nothing,
                is_told_from_another_step,
                renews_a_greeting,
                stops_at_the_limit_of_requests;
            log:
                takes_entries_of_members_only,
                returns_the_first_result_to_a_retry,
                describes_attachments_from_the_blob,
                lists_conversations_with_heads;
            log_order:
                is_dense_under_concurrent_appends,
                survives_refused_neighbours,
                is_read_in_pages,
                bounds_pages_in_bytes;
            upload:
                resumes_where_it_stopped,
                completes_once,
                is_one_file_for_good,
                respects_the_quota,
                is_charged_for_a_block_at_least,
                goes_stale_and_is_thrown_away,
                is_found_stale_in_pages;
            upload_opening:
                supersedes_earlier_ones,
                can_be_cancelled_by_its_account,
                counts_as_a_touch,
                is_not_hit_by_who_means_an_earlier_one,
                goes_on_completing,
                is_not_stale_while_completing,
                counts_as_open_until_it_is_complete,
                is_listed_for_operators;
            coming:
                say_for_whom_they_are,
                are_coming_until_they_are_there,
                are_not_taken_for_others;
            blob:
                is_seen_by_its_uploader_and_where_it_was_sent,
                stays_while_an_entry_refers_to_it,
                waits_for_its_thumbnail,
                is_known_from_its_first_byte;
        }
    };
    (@together $empty:path; $($noun:ident: $($story:ident),+;)+) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn every_story() {
            let mut stories = tokio::task::JoinSet::new();
            let mut names = std::collections::HashMap::new();
            $($(
                let story = stories.spawn(async {
                    let (store, _alive) = $empty().await;
                    $crate::contract::$noun::$story(store).await;
                });
                names.insert(story.id(), concat!(stringify!($noun), "::", stringify!($story)));
            )+)+
            let mut failed = Vec::new();
            while let Some(told) = stories.join_next().await {
                failed.extend(told.err().map(|error| names[&error.id()]));
            }
            assert!(failed.is_empty(), "{failed:?}");
        }
    };
    (@each $empty:path; $($noun:ident: $($story:ident),+;)+) => {
        $(
            mod $noun {
                $(
                    #[tokio::test]
                    async fn $story() {
                        let (store, _alive) = $empty().await;
                        $crate::contract::$noun::$story(store).await;
                    }
                )+
            }
        )+
    };
}
pub(crate) use run_contract;
