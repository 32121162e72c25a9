//! What operators find in the logs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use skein_core::port::{directory::Directory, verifier::Verifier};
use skein_ops::{telemetry, trace};
use skein_rpc::{access::Role, directory, server::Ports, verifier};
use tracing::{Instrument, field::Empty};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    double::{Codes, Nodes},
    peer::{Authority, EXPIRED, Process},
};

/// Lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
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

/// On one thread, so that the subscriber of the test sees everything.
#[tokio::test]
async fn an_expired_certificate_is_named_with_its_date_by_both_sides() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let authority = Authority::new();
    let nodes = || Ports { directory: Some(Arc::new(Nodes::default())), ..Ports::default() };
    let process = Process::start(authority.credentials(Role::Status), nodes()).await;
    let expired = authority.credentials_for(Role::Chat, EXPIRED);
    let date = expired.not_after();
    let date = jiff::Timestamp::from_millisecond(i64::try_from(date.0).unwrap()).unwrap();
    let own = format!("the certificate of this process, chat.skein.internal, expired on {date}");
    assert!(lines.text().contains(&own), "{}", lines.text());

    let client = directory::Client::new(&[process.address()], &expired).unwrap();
    client.assign(None).await.unwrap_err();
    let theirs =
        format!("the certificate of a calling peer, chat.skein.internal, expired on {date}");
    assert!(lines.text().contains(&theirs), "{}", lines.text());

    let late = authority.credentials_for(Role::Status, EXPIRED);
    let late = Process::start(late, nodes()).await;
    let chat = authority.credentials(Role::Chat);
    let client = directory::Client::new(&[late.address()], &chat).unwrap();
    client.assign(None).await.unwrap_err();
    let called = "the certificate of a called peer, status.skein.internal, expired on";
    assert!(lines.text().contains(called), "{}", lines.text());
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
    client.check(purpose, &email, "123456").instrument(span).await.unwrap();
    assert_eq!(*codes.trace.lock().unwrap(), Some(id));
}
