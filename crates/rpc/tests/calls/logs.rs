//! What operators find in the logs.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use skein_core::{
    port::{directory::Directory, verifier::Verifier},
    time::{Clock, Timestamp},
};
use skein_ops::{clock::SystemClock, telemetry, trace};
use skein_rpc::{
    access::Role, credentials::Credentials, directory, metric, server::Ports, verifier,
};
use tokio::{net::TcpStream, time::timeout};
use tracing::{Instrument, field::Empty, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    double::{Codes, Nodes},
    peer::{Authority, EXPIRED, GOOD, PATIENCE, Process, Relay, answer},
};

/// Milliseconds in a day.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// Lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Takes what this thread logs from now on.
    fn taken() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// How many lines have this in them.
    fn count(&self, what: &str) -> usize {
        self.text().matches(what).count()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn nodes() -> Ports {
    Ports { directory: Some(Arc::new(Nodes::default())), ..Ports::default() }
}

/// Is as far ahead as it was turned, in milliseconds.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}

/// The days that the gauge says are left, once it says at most `most`, after a connection.
async fn days_left(process: &Process, gauge: &PrometheusHandle, most: f64) -> f64 {
    let _connection = TcpStream::connect(process.addr).await.unwrap();
    let shown = async {
        loop {
            let text = gauge.render();
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let seconds = lines.find(|(name, _)| *name == metric::CERTIFICATE_SECONDS);
            let days = seconds.map(|(_, value)| value.parse::<f64>().unwrap() / 86_400.0);
            if let Some(days) = days.filter(|days| *days <= most) {
                return days;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, shown).await.expect("the gauge is set with each connection")
}

#[tokio::test]
async fn the_end_of_a_certificate_is_measured_and_complained_of_daily() {
    let (lines, _guard) = Lines::taken();
    let recorder = PrometheusBuilder::new().build_recorder();
    let gauge = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);

    let authority = Authority::new();
    let clock = Arc::new(Ahead::default());
    let credentials = authority.credentials_by(clock.clone(), Role::Status);
    let process = Process::start(credentials, nodes()).await;
    let ahead = |days: u64| clock.0.store(days * DAY, Ordering::Relaxed);
    let (soon, over) = ("status.skein.internal, expires on", "status.skein.internal, expired on");
    let last = GOOD.1 as u64;
    for (day, complaints) in [(0, 0), (last - 15, 0), (last - 13, 1), (last - 12, 2)] {
        ahead(day);
        let most = (last - day) as f64;
        let days = days_left(&process, &gauge, most).await;
        assert!(days > most - 0.5, "{days} of {most}");
        assert_eq!(lines.count(soon), complaints, "{}", lines.text());
    }
    // Another connection on the same day is no reason to complain again.
    clock.0.fetch_add(DAY / 24, Ordering::Relaxed);
    days_left(&process, &gauge, 11.99).await;
    assert_eq!((lines.count(soon), lines.count(over)), (2, 0));
    ahead(last + 1);
    assert_eq!(days_left(&process, &gauge, 0.0).await, 0.0);
    assert_eq!((lines.count(soon), lines.count(over)), (2, 1), "{}", lines.text());
}

/// With TLS 1.3 the caller's side of the handshake is done before the peer has judged the caller's
/// certificate: that must count as a failure, or it would be tried in a tight circle.
#[tokio::test]
async fn a_peer_that_refuses_this_sides_certificate_is_asked_ever_less_often() {
    let (lines, _guard) = Lines::taken();
    let recorder = PrometheusBuilder::new().build_recorder();
    let counts = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);

    let authority = Authority::new();
    let process = Process::start(authority.credentials(Role::Status), nodes()).await;
    let relay = Relay::before(process.addr).await;
    let config = authority.config();
    authority.sign(&config, &Role::Chat.server_name(), EXPIRED);
    let chat = Credentials::load(&config, Arc::new(SystemClock)).unwrap();
    let client = directory::Client::new(std::slice::from_ref(&relay.address), &chat).unwrap();
    let mut calls = 0_u32;
    for _ in 0..4 {
        let refused = async {
            loop {
                client.assign(None).await.unwrap_err();
                calls += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = relay.accepts() => {}
            _ = timeout(PATIENCE, refused) => panic!("it is tried again"),
        }
    }
    // It is one outage, told once, whose pauses grow: no handshake between counted as a success.
    assert_eq!(lines.count("a peer cannot be reached"), 1, "{}", lines.text());
    assert_eq!(lines.count("a peer is back"), 0, "{}", lines.text());
    let connects = |outcome: &str| {
        let name = format!("{}{{service=\"status\",outcome=\"{outcome}\"}} ", metric::CONNECTS);
        let text = counts.render();
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u32>().ok());
        count.unwrap_or(0)
    };
    assert_eq!(connects("ok"), 0, "{}", counts.render());
    assert!(connects("failed") >= 3, "{}", counts.render());
    assert!(calls >= connects("failed"), "calls in a pause fail without a connection");

    authority.sign(&config, &Role::Chat.server_name(), GOOD);
    chat.refresh();
    let welcome = async {
        while client.assign(None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, welcome).await.expect("the next try is not far");
    assert_eq!((lines.count("a peer is back"), connects("ok")), (1, 1), "{}", lines.text());
}

/// On one thread, so that the subscriber of the test sees everything.
#[tokio::test]
async fn an_expired_certificate_is_named_with_its_date_by_both_sides() {
    let (lines, _guard) = Lines::taken();
    let authority = Authority::new();
    let process = Process::start(authority.credentials(Role::Status), nodes()).await;
    let expired = authority.credentials_for(Role::Chat, EXPIRED);
    let date = expired.not_after();
    let date = jiff::Timestamp::from_millisecond(i64::try_from(date.0).unwrap()).unwrap();
    let own = format!("the certificate of this process, chat.skein.internal, expired on {date}");
    assert!(lines.text().contains(&own), "{}", lines.text());

    let client = directory::Client::new(&[process.address()], &expired).unwrap();
    let theirs =
        format!("the certificate of a calling peer, chat.skein.internal, expired on {date}");
    refused_until_told(&client, &lines, &theirs).await;

    let late = authority.credentials_for(Role::Status, EXPIRED);
    let late = Process::start(late, nodes()).await;
    let chat = authority.credentials(Role::Chat);
    let client = directory::Client::new(&[late.address()], &chat).unwrap();
    let called = "the certificate of a called peer, status.skein.internal, expired on";
    refused_until_told(&client, &lines, called).await;
}

/// Calls in vain until the log says why: on a slow machine a call may end before the handshake.
async fn refused_until_told(client: &directory::Client, lines: &Lines, why: &str) {
    let told = async {
        loop {
            client.assign(None).await.unwrap_err();
            if lines.text().contains(why) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, told).await.is_ok(), "{}", lines.text());
}

#[tokio::test]
async fn both_sides_share_the_id_of_a_request() {
    let _telemetry = telemetry::Config::default().install("a test").unwrap();
    let authority = Authority::new();
    let codes = Arc::new(Codes::default());
    let ports = Ports { verifier: Some(codes.clone()), ..Ports::default() };
    let process = Process::start(authority.credentials(Role::Verify), ports).await;
    let gate = authority.credentials(Role::Gate);
    let client = verifier::Client::new(&[process.address()], &gate).unwrap();

    let span = tracing::info_span!(target: "skein_gate", "request", trace_id = Empty);
    let id = trace::begin(&span, None);
    let email = skein_core::name::Email::parse("alice@example.org").unwrap();
    let purpose = skein_core::port::verifier::Purpose::Register;
    answer(|| client.check(purpose, &email, "123456").instrument(span.clone())).await.unwrap();
    assert_eq!(*codes.trace.lock().unwrap(), Some(id));
}
