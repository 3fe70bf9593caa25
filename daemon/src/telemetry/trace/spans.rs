//! From records to spans. An inference is `InferRequest` → the model → `queue`, `copy_in`, `compute`, `copy_out`, of an
//! ensemble the inferences of its steps below the model; a relief is `ReliefRequest` → `decode`, `prepare`, `model`,
//! `mesh`, `encode`, with its inference below `model`; a job is `Job` → `queue`, `run`, beside the request that it was.

use std::time::{Instant, SystemTime};

use opentelemetry::trace::{
    Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use proofload_wire::trace::TraceParent;

use super::record::{Inference, Job, Record, Relief};
use crate::backend::Timeline;

/// The step of a relief that its inference belongs to.
const MODEL: &str = "model";

/// One moment on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), system: SystemTime::now() }
    }

    fn system(self, at: Instant) -> SystemTime {
        self.system - self.instant.saturating_duration_since(at)
    }
}

/// Makes the spans of a record.
pub(super) fn emit(tracer: &SdkTracer, clock: Clock, record: &Record) {
    let maker = Maker { tracer, clock };
    match record {
        Record::Inference(inference) => maker.inference(inference, &outside(inference.parent), SpanKind::Server),
        Record::Relief(relief) => maker.relief(relief),
        Record::Job(job) => maker.job(job),
    }
}

fn outside(parent: Option<TraceParent>) -> Context {
    parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(remote(parent)))
}

fn remote(parent: TraceParent) -> SpanContext {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from(parent.trace_id), SpanId::from(parent.parent_id));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

#[derive(Clone, Copy)]
struct Maker<'a> {
    tracer: &'a SdkTracer,
    clock: Clock,
}

impl Maker<'_> {
    /// A span that has begun, as a context for those below it.
    fn begin(&self, name: String, parent: &Context, kind: SpanKind, from: Instant, about: Vec<KeyValue>) -> Context {
        let builder = self.tracer.span_builder(name).with_kind(kind).with_start_time(self.clock.system(from));
        parent.with_span(self.tracer.build_with_context(builder.with_attributes(about), parent))
    }

    fn end(&self, context: &Context, at: Instant, error: Option<&String>) {
        if let Some(error) = error {
            context.span().set_status(Status::error(error.clone()));
        }
        context.span().end_with_timestamp(self.clock.system(at));
    }

    fn phase(&self, name: &'static str, parent: &Context, from: Instant, to: Instant) {
        let builder = self.tracer.span_builder(name).with_start_time(self.clock.system(from));
        self.tracer.build_with_context(builder, parent).end_with_timestamp(self.clock.system(to));
    }

    fn inference(&self, record: &Inference, parent: &Context, kind: SpanKind) {
        let request = self.begin("InferRequest".to_owned(), parent, kind, record.received, attributes(record));
        match &record.result {
            Ok((timeline, batch)) => self.model(record, &request, timeline, *batch),
            Err(_) => self.steps(record, &request),
        }
        self.end(&request, record.answered, record.result.as_ref().err());
    }

    fn model(&self, record: &Inference, request: &Context, timeline: &Timeline, batch: u32) {
        let batch = vec![KeyValue::new("batch_size", i64::from(batch))];
        let model = self.begin(record.model.clone(), request, SpanKind::Internal, record.received, batch);
        if record.steps.is_empty() {
            self.phase("queue", &model, record.received, timeline.started);
            self.phase("copy_in", &model, timeline.started, timeline.computing);
            self.phase("compute", &model, timeline.computing, timeline.computed);
            self.phase("copy_out", &model, timeline.computed, record.answered);
        }
        self.steps(record, &model);
        self.end(&model, record.answered, None);
    }

    /// The phases of an ensemble are those of its steps, which may run side by side.
    fn steps(&self, record: &Inference, parent: &Context) {
        for step in &record.steps {
            self.inference(step, parent, SpanKind::Internal);
        }
    }

    fn relief(&self, record: &Relief) {
        let (name, outside) = ("ReliefRequest".to_owned(), outside(record.parent));
        let request = self.begin(name, &outside, SpanKind::Server, record.received, Vec::new());
        for step in &record.steps {
            let span = self.begin(step.name.to_owned(), &request, SpanKind::Internal, step.from, Vec::new());
            if let (MODEL, Some(inference)) = (step.name, &record.model) {
                self.inference(inference, &span, SpanKind::Internal);
            }
            self.end(&span, step.to, None);
        }
        self.end(&request, record.answered, record.error.as_ref());
    }

    fn job(&self, record: &Job) {
        let about = vec![KeyValue::new("job.kind", record.kind)];
        let job = self.begin("Job".to_owned(), &outside(record.parent), SpanKind::Internal, record.taken, about);
        self.phase("queue", &job, record.taken, record.began.unwrap_or(record.ended));
        if let Some(began) = record.began {
            self.phase("run", &job, began, record.ended);
        }
        self.end(&job, record.ended, record.error.as_ref());
    }
}

fn attributes(record: &Inference) -> Vec<KeyValue> {
    vec![
        KeyValue::new("model.name", record.model.clone()),
        KeyValue::new("model.version", record.version),
        KeyValue::new("request.id", record.id.clone()),
        KeyValue::new("network.protocol.name", record.protocol),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};

    use super::super::outbox::Finished;
    use super::super::record::Interval;
    use super::*;

    fn spans(record: &Record) -> Vec<SpanData> {
        let finished = Finished::default();
        let provider = SdkTracerProvider::builder().with_span_processor(finished.clone()).build();
        emit(&provider.tracer("test"), Clock::now(), record);
        finished.take()
    }

    /// Every span's name, and the path of names above it.
    fn paths(spans: &[SpanData]) -> Vec<String> {
        let by_id: BTreeMap<String, &SpanData> =
            spans.iter().map(|span| (span.span_context.span_id().to_string(), span)).collect();
        let above = |span: &SpanData| by_id.get(&span.parent_span_id.to_string()).copied();
        let mut paths: Vec<_> = spans
            .iter()
            .map(|span| {
                let names = std::iter::successors(Some(span), |span| above(span)).map(|span| span.name.to_string());
                names.collect::<Vec<_>>().join(" < ")
            })
            .collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_job_shows_its_wait_and_its_run() {
        let check = |began: Option<u64>, expected: &[&str]| {
            let start = Instant::now() - Duration::from_secs(1);
            let at = |ms| start + Duration::from_millis(ms);
            let parent = Some(TraceParent { trace_id: 7, parent_id: 9, sampled: true });
            let (began, error) = (began.map(at), began.is_none().then(|| "given up".to_owned()));
            let made = spans(&Job { parent, kind: "relief", taken: at(0), began, ended: at(9), error }.into());
            assert!(made.iter().all(|span| span.span_context.trace_id() == TraceId::from(7)));
            assert_eq!(paths(&made), expected);
        };
        check(Some(3), &["Job", "queue < Job", "run < Job"]);
        check(None, &["Job", "queue < Job"]);
    }

    #[test]
    fn a_relief_shows_all_its_steps_and_its_inference_within() {
        let start = Instant::now() - Duration::from_secs(1);
        let at = |ms| start + Duration::from_millis(ms);
        let timeline = Timeline { started: at(3), computing: at(4), computed: at(5), finished: at(6) };
        let inference = Inference {
            parent: None,
            id: String::new(),
            model: "depth".to_owned(),
            version: 1,
            protocol: "internal",
            received: at(2),
            answered: at(6),
            result: Ok((timeline, 1)),
            steps: Vec::new(),
        };
        let step = |name, from, to| Interval { name, from: at(from), to: at(to) };
        let names = ["decode", "prepare", "model", "mesh", "encode"];
        let steps = names.into_iter().zip(0..).map(|(name, index)| step(name, index, index + 1)).collect();
        let parent = Some(TraceParent { trace_id: 7, parent_id: 9, sampled: true });
        let record = Relief { parent, received: at(0), answered: at(9), steps, model: Some(inference), error: None };
        let made = spans(&record.into());
        assert!(made.iter().all(|span| span.span_context.trace_id() == TraceId::from(7)), "one trace, the caller's");
        let root = made.iter().find(|span| span.name == "ReliefRequest").expect("a root");
        assert_eq!(root.parent_span_id, SpanId::from(9));
        assert_eq!(root.end_time.duration_since(root.start_time).unwrap(), Duration::from_millis(9));
        let expected = [
            "InferRequest < model < ReliefRequest",
            "ReliefRequest",
            "compute < depth < InferRequest < model < ReliefRequest",
            "copy_in < depth < InferRequest < model < ReliefRequest",
            "copy_out < depth < InferRequest < model < ReliefRequest",
            "decode < ReliefRequest",
            "depth < InferRequest < model < ReliefRequest",
            "encode < ReliefRequest",
            "mesh < ReliefRequest",
            "model < ReliefRequest",
            "prepare < ReliefRequest",
            "queue < depth < InferRequest < model < ReliefRequest",
        ];
        assert_eq!(paths(&made), expected);
    }
    #[test]
    fn an_ensemble_shows_its_steps() {
        let now = Instant::now();
        let timeline = Timeline { started: now, computing: now, computed: now, finished: now };
        let inference = |model: &str, result, steps| Inference {
            parent: None,
            id: String::new(),
            model: model.to_owned(),
            version: 1,
            protocol: "internal",
            received: now,
            answered: now,
            result,
            steps,
        };
        let step = || inference("s", Ok((timeline, 1)), Vec::new());
        let under = |parent: &str| {
            let phases =
                ["compute", "copy_in", "copy_out", "queue"].map(|phase| format!("{phase} < s < InferRequest{parent}"));
            let mut paths = phases.to_vec();
            paths.extend([format!("InferRequest{parent}"), format!("s < InferRequest{parent}")]);
            paths
        };
        let check = |record: Inference, parent: &str, own: &[&str]| {
            let mut expected: Vec<_> = own.iter().map(|path| (*path).to_owned()).chain(under(parent)).collect();
            expected.sort();
            assert_eq!(paths(&spans(&record.into())), expected);
        };
        let whole = inference("e", Ok((timeline, 1)), vec![step()]);
        check(whole, " < e < InferRequest", &["InferRequest", "e < InferRequest"]);
        check(inference("e", Err("why".to_owned()), vec![step()]), " < InferRequest", &["InferRequest"]);
    }
}
