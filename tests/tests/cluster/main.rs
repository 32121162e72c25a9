//! One cluster of real processes, and what it must do as a whole. The stages share the cluster,
//! because starting one takes some seconds, and follow one another, because each changes it.

mod away;
mod certificate;
mod clocks;
mod drain;
mod exclusive;
mod following;
mod meeting;
mod metrics;
mod observed;
mod operators;
mod readiness;
mod scene;
mod trace;

use skein_testkit::cluster::{Cluster, Options};
use tokio::task::block_in_place;

use self::scene::Scene;

/// The node whose clock is an hour ahead, in all stages.
const AHEAD: &str = "chat-3";
/// How far ahead it is, in seconds.
const AHEAD_SECONDS: i64 = 3600;

/// All clients come from one address here: limits by address would be limits of the test. And a busy
/// machine may take long to end a process in order.
const CONFIG: &str = r#"
[gate]
session_policy = "exclusive"
[gate.limits]
connections_per_network = 500
logins_per_network_per_5_minutes = 100000
logins_per_name_and_network_per_5_minutes = 100000
logins_per_name_per_5_minutes = 100000
registrations_per_network_per_hour = 100000
[log]
format = "json"
filter = """info,skein_chat::answer=debug,skein_chat::drain=debug,skein_rpc::server::guard=debug,\
skein_store::postgres::log::batch=debug"""
[verify]
codes_per_network_per_hour = 100000
[chat]
drain_seconds = 4
[shutdown]
deadline_seconds = 60
"#;

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_are_one_service() {
    let options = Options {
        config: CONFIG.to_owned(),
        clocks: vec![(AHEAD.to_owned(), AHEAD_SECONDS)],
        ..Options::default()
    };
    let cluster = block_in_place(|| Cluster::with(&options));
    let mut scene = Scene::new(cluster);
    block_in_place(|| meeting::two_people_meet_with_mailed_codes(&scene));
    following::a_file_is_followed_over_all_roles(&scene).await;
    clocks::an_hour_between_two_nodes_changes_nothing(&scene).await;
    exclusive::a_login_ends_the_one_at_another_node(&scene).await;
    operators::operators_see_and_change_the_cluster(&scene).await;
    drain::a_node_is_drained_without_a_gap(&mut scene).await;
    readiness::each_process_says_whether_it_can_work(&mut scene).await;
    metrics::each_role_tells_what_it_counts(&scene).await;
    trace::one_id_is_found_from_the_gate_to_the_store(&scene).await;
    away::who_is_away_makes_the_gate_say_when_to_come_back(&mut scene).await;
    away::an_account_is_disabled_while_redis_is_away(&mut scene).await;
    certificate::an_expired_certificate_is_named_and_the_rest_goes_on(&mut scene).await;
}
