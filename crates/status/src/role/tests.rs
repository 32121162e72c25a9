//! Nodes that report, leave, die, freeze and drain, over the bus in memory.

use skein_bus::local::Local;
use skein_core::port::directory::Trust;
use tokio::time;

use super::*;

fn report(name: &str, sessions: u64) -> NodeReport {
    let trust = Trust::Authority { server_name: "chat.example.org".into() };
    NodeReport {
        node: ChatNode { name: name.into(), address: format!("{name}:4433"), trust },
        sessions,
        sessions_max: 10,
        draining: false,
        memory_bytes: 1 << 30,
        cpu_permille: 10,
    }
}

fn moved(name: &str, address: &str) -> NodeReport {
    let mut report = report(name, 0);
    report.node.address = address.into();
    report
}

fn two() -> (Status, Status) {
    let leases = Arc::new(Local::new());
    (Status::new(leases.clone()), Status::new(leases))
}

async fn first(status: &Status, name: &str, sessions: u64) -> Term {
    status.report(report(name, sessions), None).await.expect("the first report").term
}

async fn assigned(status: &Status) -> Result<String, Code> {
    status.assign(None).await.map(|node| node.name).map_err(|refusal| refusal.code)
}

#[tokio::test]
async fn assigns_who_reports() {
    let (status, _) = two();
    let refusal = status.assign(None).await.expect_err("there is no node");
    assert_eq!((refusal.code, refusal.retry_after), (Code::Unavailable, Some(RETRY_AFTER)));

    let a = first(&status, "a", 1).await;
    assert_eq!(status.assign(None).await, Ok(report("a", 1).node));
    first(&status, "b", 2).await;
    assert_eq!(assigned(&status).await, Ok("a".into()));
    status.report(report("a", 3), Some(a)).await.expect("a later report");
    assert_eq!(assigned(&status).await, Ok("b".into()));
    assert_eq!(status.assign(Some("b")).await.map(|node| node.name), Ok("a".into()));
    assert_eq!(status.nodes().await, Ok(vec![report("a", 3), report("b", 2)]));
}

#[tokio::test]
async fn two_processes_are_interchangeable() {
    let (one, other) = two();
    let term = first(&one, "a", 1).await;
    let reported = other.report(report("a", 2), Some(term)).await;
    assert_eq!(reported, Ok(Reported { term, drain: None }));
    assert_eq!(one.nodes().await, Ok(vec![report("a", 2)]));
    other.drain("a", Duration::from_secs(5)).await.expect("it is there");
    let reported = one.report(report("a", 2), Some(term)).await.expect("in time");
    assert_eq!(reported.drain, Some(Duration::from_secs(5)));
    one.leave("a", term).await.expect("it was there");
    assert_eq!(other.nodes().await, Ok(Vec::new()));
}

#[tokio::test]
async fn who_leaves_comes_back_at_once() {
    let (status, _) = two();
    let term = first(&status, "a", 0).await;
    let draining = NodeReport { draining: true, ..report("a", 0) };
    status.report(draining, Some(term)).await.expect("a later report");
    assert_eq!(assigned(&status).await, Err(Code::Unavailable));
    assert_eq!(status.nodes().await.map(|nodes| nodes.len()), Ok(1));

    status.leave("a", term).await.expect("it was there");
    status.leave("a", term).await.expect("leaving again changes nothing");
    assert_eq!(status.nodes().await, Ok(Vec::new()));
    let again = first(&status, "a", 0).await;
    assert!(again > term);
    status.leave("a", term).await.expect("the late word of the stay before changes nothing");
    assert_eq!(assigned(&status).await, Ok("a".into()));
}

#[tokio::test(start_paused = true)]
async fn forgets_who_stops_and_takes_back_who_was_late() {
    let (status, other) = two();
    let term = first(&status, "a", 0).await;
    time::advance(LEASE_LIFETIME - Duration::from_millis(1)).await;
    status.report(report("a", 0), Some(term)).await.expect("just in time");
    time::advance(LEASE_LIFETIME - Duration::from_millis(1)).await;
    assert_eq!(assigned(&status).await, Ok("a".into()));
    time::advance(Duration::from_millis(1)).await;
    assert_eq!(assigned(&status).await, Err(Code::Unavailable));
    let late = other.report(report("a", 0), Some(term)).await.expect("late is no harm");
    assert!(late.term > term);
    assert_eq!(assigned(&status).await, Ok("a".into()));
}

#[tokio::test]
async fn a_node_that_was_killed_has_its_name_back_at_once() {
    let (status, other) = two();
    let killed = first(&status, "a", 5).await;
    let term = first(&other, "a", 0).await;
    assert!(term > killed);
    // Should the former process live after all, it hears of it, again and again.
    for _ in 0..2 {
        let refusal = status.report(report("a", 5), Some(killed)).await.expect_err("too late");
        assert_eq!((refusal.code, refusal.retry_after), (Code::Unavailable, Some(LEASE_LIFETIME)));
    }
    assert_eq!(status.nodes().await, Ok(vec![report("a", 0)]));
}

#[tokio::test(start_paused = true)]
async fn a_late_node_that_got_no_answer_is_told_again() {
    let (status, other) = two();
    let lost = first(&status, "a", 0).await;
    time::advance(LEASE_LIFETIME).await;
    let unheard = status.report(report("a", 0), Some(lost)).await.expect("late is no harm").term;
    other.drain("a", Duration::from_secs(5)).await.expect("it is there");
    let told = other.report(report("a", 1), Some(lost)).await;
    assert_eq!(told, Ok(Reported { term: unheard, drain: Some(Duration::from_secs(5)) }));
    status.report(report("a", 2), Some(unheard)).await.expect("it is known");
    let former = status.report(report("a", 2), Some(lost)).await.expect_err("it was heard");
    assert_eq!(former.code, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_name_has_one_node_at_a_time() {
    let (status, other) = two();
    let term = first(&status, "a", 0).await;
    let refusal = other.report(moved("a", "b:4433"), None).await.expect_err("the name is held");
    assert_eq!(refusal.code, Code::Unavailable);
    status.report(report("a", 0), Some(term)).await.expect("it is not disturbed");
    time::advance(LEASE_LIFETIME).await;
    other.report(moved("a", "b:4433"), None).await.expect("the lease has run out");
    let refusal = status.report(report("a", 0), Some(term)).await.expect_err("it was lost");
    assert_eq!(refusal.code, Code::Unavailable);
}

#[tokio::test]
async fn who_is_to_drain_gets_no_one_from_the_order_on() {
    let (status, other) = two();
    let over = Duration::from_secs(30);
    let unknown = status.drain("a", over).await.expect_err("not there");
    assert_eq!(unknown.code, Code::NotFound);

    let (a, _) = (first(&status, "a", 0).await, first(&status, "b", 9).await);
    first(&status, "a2", 9).await;
    assert_eq!(status.drain("a", over).await, Ok(over));
    for _ in 0..20 {
        assert_ne!(assigned(&status).await, Ok("a".into()));
    }
    assert_eq!(other.drain("a", over * 2).await, Ok(over), "the first order holds");
    let reported = status.report(report("a", 0), Some(a)).await;
    assert_eq!(reported, Ok(Reported { term: a, drain: Some(over) }));
    let draining: Vec<_> = status.nodes().await.expect("the bus is there");
    let draining = draining.iter().map(|node| (&*node.node.name, node.draining));
    assert_eq!(draining.collect::<Vec<_>>(), [("a", true), ("a2", false), ("b", false)]);
}

#[tokio::test]
async fn no_drain_takes_longer_than_a_day() {
    let (status, _) = two();
    first(&status, "a", 0).await;
    assert_eq!(status.drain("a", DRAIN_MAX * 2).await, Ok(DRAIN_MAX));
}

#[tokio::test(start_paused = true)]
async fn an_order_holds_for_one_stay() {
    let (status, _) = two();
    let over = Duration::from_secs(30);
    let term = first(&status, "a", 0).await;
    status.drain("a", over).await.expect("it is there");
    // Frozen before it heard of the order, the node hears of it when it wakes up.
    time::advance(LEASE_LIFETIME).await;
    let late = status.report(report("a", 0), Some(term)).await.expect("nobody has the name");
    assert_eq!(late.drain, Some(over));
    assert_eq!(status.drain("a", over * 2).await, Ok(over), "it is the first of this stay too");
    // Started again, it is an ordinary node.
    status.leave("a", late.term).await.expect("the bus is there");
    let again = status.report(report("a", 0), None).await.expect("the name is free");
    assert_eq!(again.drain, None);
    assert_eq!(assigned(&status).await, Ok("a".into()));
}

#[tokio::test]
async fn refuses_names_that_fit_no_lease() {
    let (status, _) = two();
    for name in ["", "a/b", "a\n", &"a".repeat(NAME_BYTES_MAX + 1)] {
        let refusal = status.report(report(name, 0), None).await.expect_err("no name");
        assert_eq!(refusal.code, Code::Invalid, "{name:?}");
    }
}

#[tokio::test]
async fn passes_over_leases_that_it_cannot_read() {
    let leases = Arc::new(Local::new());
    let acquired = leases.acquire("node/new", b"{\"v\":9}", LEASE_LIFETIME).await;
    assert!(acquired.expect("the bus is there").is_some());
    let status = Status::new(leases);
    first(&status, "a", 0).await;
    assert_eq!(assigned(&status).await, Ok("a".into()));
}
