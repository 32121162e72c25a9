//! Spans reach a real collector over OTLP, under the id that the log lines show. A process of its
//! own, because telemetry is installed once a process.

use std::{net::SocketAddr, time::Duration};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use skein_ops::{
    telemetry::Config,
    trace::{self, TraceParent},
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};
use tracing::{field::Empty, info_span};

/// Exports that may wait for the test.
const EXPORTS_MAX: usize = 16;

/// Spans that are made.
const EXPECTED: usize = 2;
/// When a test is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that hands on what it is sent.
struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.expect("the test listens");
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_under_the_id_of_the_log_lines() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let incoming = TcpIncoming::bind(any).expect("a port is free");
    let address = incoming.local_addr().expect("it is bound");
    let (sender, mut exports) = mpsc::channel(EXPORTS_MAX);
    let collector = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Collector(sender)))
        .serve_with_incoming(incoming);
    tokio::spawn(collector);

    let config = Config { otlp: Some(format!("http://{address}")), ..Config::default() };
    let telemetry = config.install("skein-test").expect("the configuration is right");
    // Spans are exported by the name of their crate, which for a test is this one's.
    let span = info_span!(target: "skein_test", "request", trace_id = Empty);
    let own = trace::begin(&span, None);
    let header = span.in_scope(trace::current).expect("within a trace");
    assert_eq!(header.trace, own);
    drop(span);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = TraceParent::parse(parent).expect("the example of the specification");
    let span = info_span!(target: "skein_test", "call", trace_id = Empty);
    trace::begin(&span, Some(parent));
    drop(span);
    // Dropping it exports what waits, and blocks meanwhile.
    tokio::task::spawn_blocking(move || drop(telemetry)).await.expect("it ends");

    let mut found = Vec::new();
    // On a busy machine the last export may still be on its way.
    while found.len() < EXPECTED {
        let export = timeout(PATIENCE, exports.recv()).await.expect("the spans come");
        let export = export.expect("the collector is there");
        for spans in export.resource_spans.into_iter().flat_map(|one| one.scope_spans) {
            for span in spans.spans {
                let id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                found.push((span.name, id));
            }
        }
    }
    assert!(exports.try_recv().is_err(), "and no others");
    found.sort();
    let expected = [("call", parent.trace.to_string()), ("request", own.to_string())];
    assert_eq!(found, expected.map(|(name, id)| (name.to_owned(), id)));
}
