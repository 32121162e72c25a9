//! The id that joins the log lines of one request, from the gate to the store and across processes.
//!
//! Whoever takes a request in makes a span with an empty field `trace_id` and calls [`begin`]. Every
//! line within shows the id; [`current`] gives it to whoever calls another process, in the form of
//! the header `traceparent` (W3C Trace Context, level 1). Where spans are exported to OpenTelemetry,
//! they carry the same id.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
};

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId as OtelTraceId, TraceState,
};
use tracing::{
    Span, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer, Registry,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// The name of the field.
const FIELD: &str = "trace_id";

/// The id of one request. Displayed as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// A trace and the place in it from which a call comes. Displayed as `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    span: NonZeroU64,
}

/// Gives the span, which must have an empty field `trace_id`, its id: that of the caller if there
/// is one.
pub fn begin(span: &Span, parent: Option<TraceParent>) -> TraceId {
    if let Some(parent) = parent {
        // Without export there is no OpenTelemetry span to tell, which is no harm.
        span.set_parent(parent.context()).ok();
    }
    let trace = match parent {
        Some(parent) => parent.trace,
        None => exported(span).map_or_else(TraceId::random, |context| context.trace),
    };
    span.record(FIELD, tracing::field::display(trace));
    trace
}

/// Where the calling code is, if within a trace.
#[must_use]
pub fn current() -> Option<TraceParent> {
    let span = Span::current();
    if let Some(exported) = exported(&span) {
        return Some(exported);
    }
    let trace = span.with_subscriber(|(id, dispatch)| {
        let spans = dispatch.downcast_ref::<Registry>()?;
        of(&spans.span(id)?)
    });
    Some(TraceParent { trace: trace??, span: random_span() })
}

impl TraceId {
    fn random() -> Self {
        Self(NonZeroU128::new(rand::random()).unwrap_or(NonZeroU128::MIN))
    }

    fn parse(digits: &str) -> Option<Self> {
        if digits.len() != 32 || !is_lower_hex(digits) {
            return None;
        }
        NonZeroU128::new(u128::from_str_radix(digits, 16).ok()?).map(Self)
    }
}

impl TraceParent {
    /// Reads a `traceparent` header. Versions after 00 may append fields, which are ignored.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.splitn(4, '-');
        let version = parts.next().filter(|version| version.len() == 2 && is_lower_hex(version))?;
        let trace = TraceId::parse(parts.next()?)?;
        let span = parts.next().filter(|span| span.len() == 16 && is_lower_hex(span))?;
        let flags = parts.next()?;
        let whole = if version == "00" { flags.len() == 2 } else { version != "ff" };
        let span = NonZeroU64::new(u64::from_str_radix(span, 16).ok()?)?;
        whole.then_some(Self { trace, span })
    }

    fn context(self) -> opentelemetry::Context {
        let remote = SpanContext::new(
            OtelTraceId::from_bytes(self.trace.0.get().to_be_bytes()),
            SpanId::from_bytes(self.span.get().to_be_bytes()),
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        );
        opentelemetry::Context::new().with_remote_span_context(remote)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-01", self.trace, self.span)
    }
}

/// Remembers the id of each span that has one, and finds it again from the spans within.
pub(crate) struct TraceLayer;

impl<S> Layer<S> for TraceLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut found = Found(None);
        attributes.record(&mut found);
        keep(found, id, &context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut found = Found(None);
        values.record(&mut found);
        keep(found, id, &context);
    }
}

fn keep<S>(found: Found, id: &Id, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if let (Some(trace), Some(span)) = (found.0, context.span(id)) {
        span.extensions_mut().replace(trace);
    }
}

/// The id of a span, or of the nearest span around it that has one.
fn of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<TraceId> {
    span.scope().find_map(|span| span.extensions().get::<TraceId>().copied())
}

/// The place of a span in an exported trace; `None` if nothing is exported.
fn exported(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let context = context.span().span_context().clone();
    let trace = NonZeroU128::new(u128::from_be_bytes(context.trace_id().to_bytes()))?;
    let span = NonZeroU64::new(u64::from_be_bytes(context.span_id().to_bytes()))?;
    Some(TraceParent { trace: TraceId(trace), span })
}

fn random_span() -> NonZeroU64 {
    NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MIN)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

struct Found(Option<TraceId>);

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == FIELD {
            self.0 = TraceId::parse(&format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{field::Empty, info_span, subscriber::with_default};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn an_id_holds_within_its_span_and_no_further() {
        with_default(tracing_subscriber::registry().with(TraceLayer), || {
            assert_eq!(current(), None);
            let outer = info_span!("request", trace_id = Empty);
            let trace = begin(&outer, None);
            outer.in_scope(|| {
                let inner = info_span!("step");
                let found = inner.in_scope(current).expect("within a trace");
                assert_eq!(found.trace, trace);
                assert_eq!(TraceParent::parse(&found.to_string()), Some(found));
            });
            assert_eq!(current(), None);
        });
    }

    #[test]
    fn a_callers_id_goes_on() {
        with_default(tracing_subscriber::registry().with(TraceLayer), || {
            let parent = TraceParent::parse(HEADER).expect("the example of the specification");
            assert_eq!(parent.to_string(), HEADER);
            let span = info_span!("call", trace_id = Empty);
            assert_eq!(begin(&span, Some(parent)), parent.trace);
            assert_eq!(span.in_scope(current).map(|found| found.trace), Some(parent.trace));
        });
    }

    #[test]
    fn what_is_no_traceparent_is_not_taken() {
        let future = HEADER.replacen("00", "01", 1) + "-more";
        assert!(TraceParent::parse(&future).is_some());
        for bad in [
            "",
            "00",
            &HEADER.to_uppercase(),
            &HEADER.replacen("00", "ff", 1),
            &HEADER.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &HEADER.replace("b7ad6b7169203331", &"0".repeat(16)),
            &HEADER.replace("b7ad", "+7ad"),
            &(HEADER.to_owned() + "-more"),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
