//! What every call passes before it is served: whether its caller may make it, the id that joins its
//! log lines to those of the caller, and the metrics.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use skein_core::refusal::{self, Refusal};
use skein_ops::trace::{self, TraceParent};
use tokio::time::Instant;
use tonic::{
    Code,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response},
    },
};
use tower::Layer;
use tracing::{Instrument, field::Empty};

use super::accept::Caller;
use crate::{metric, refusal::to_status};

/// Puts a [`Guard`] before a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardLayer;

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner }
    }
}

/// Lets through what the table allows.
#[derive(Debug, Clone)]
pub(crate) struct Guard<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let begun = Instant::now();
        let method = match may_pass(&request) {
            Ok(method) => method,
            Err(refusal) => {
                // Not by the path, which the caller chooses.
                metric::served("forbidden", Code::PermissionDenied, begun.elapsed());
                return Box::pin(async move { Ok(to_status(refusal).into_http()) });
            }
        };
        let span = tracing::info_span!("rpc", rpc.method = %method, trace_id = Empty);
        trace::begin(&span, parent(request.headers()));
        let serving = span.in_scope(|| self.inner.call(request));
        let served = async move {
            let response = serving.await?;
            let code = code(response.headers());
            metric::served(method, code, begun.elapsed());
            tracing::debug!(rpc.code = ?code, "a call is answered");
            Ok(response)
        };
        Box::pin(served.instrument(span))
    }
}

/// The method as the table of rights names it.
fn may_pass(request: &Request<Body>) -> Result<&'static str, Refusal> {
    let Some(Caller { roles, address }) = request.extensions().get::<Caller>() else {
        return Err(Refusal::new(refusal::Code::Forbidden, "the caller is not known"));
    };
    let method = roles.may_call(request.uri().path());
    method.ok_or_else(|| {
        tracing::warn!(
            peer.roles = %roles,
            peer.address = %address,
            "refused a call that the caller's certificate does not allow",
        );
        Refusal::new(refusal::Code::Forbidden, format!("{roles} may not make this call"))
    })
}

fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// The gRPC code of an answer: in the headers if there is nothing but a failure, and else taken for
/// good, as that of a stream comes after its last message.
fn code(headers: &HeaderMap) -> Code {
    let code = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    code.unwrap_or(Code::Ok)
}
