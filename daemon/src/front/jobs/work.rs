//! What jobs do: each kind is the work of a request that is answered at once elsewhere, done behind those that somebody
//! waits for. What can be found wrong without doing it is found before the job is taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use proofload_wire::infer::Parameters as WireParameters;

use super::asked;
use crate::engine::{Protocol, RequestContext, ServeError};
use crate::front::body;
use crate::front::http::ModelPath;
use crate::front::http::infer::{self, Asked};
use crate::front::refusal::Refusal;
use crate::front::studio::upload::{self, NoUpload, Upload};
use crate::front::studio::{answer, meshes};
use crate::front::{FrontState, context};
use crate::jobs::{self, Failure, Kind, Output, Reporter, Work};
use crate::relief::laps::Step;
use crate::relief::parameters::Parameters;

/// Work that is ready to be done, and how much memory it holds until then.
pub(super) struct Ready {
    pub(super) work: Work,
    pub(super) held_bytes: usize,
}

/// The steps of a relief, as they are shown.
const RELIEF_STEPS: u8 = 3;

/// Reads a job's body and checks it.
pub(super) async fn read(state: &FrontState, asked: asked::Asked, head: Parts, body: Body) -> Result<Ready, Refusal> {
    match asked.kind {
        Kind::Relief => relief(state, head, body).await,
        Kind::MeshRepair => mesh_repair(state, head, body).await,
        Kind::Inference => inference(state, asked.others, head, body).await,
    }
}

/// Reads a body and keeps nothing of it, so that its sender reads the answer.
pub(super) async fn discard(body: Body) {
    upload::discard(body, &upload::MESH).await;
}

async fn uploaded(state: &FrontState, head: Parts, body: Body, kind: &upload::Kind) -> Result<Upload, Refusal> {
    let read = upload::read(head, body, &state.bodies, state.body_pace(), kind).await;
    let mut upload = read.map_err(|NoUpload { refusal, .. }| refusal)?;
    upload.written.retain(|(name, _)| !asked::is_own(name));
    Ok(upload)
}

async fn relief(state: &FrontState, head: Parts, body: Body) -> Result<Ready, Refusal> {
    let context = context::of(&head.headers, &WireParameters::new(), Protocol::Http, Instant::now())?;
    let Upload { file, written } = uploaded(state, head, body, &upload::PICTURE).await?;
    let pairs = written.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let parameters = Parameters::from_written(pairs).map_err(|errors| asked::bad_request(errors.join("; ")))?;
    let (held_bytes, studio) = (file.len(), Arc::clone(&state.studio));
    let work = move |reporter: Reporter| async move {
        let visit = studio.wait().await.map_err(failure)?;
        reporter.step("prepare", 0, RELIEF_STEPS);
        let visit = visit.spare(Box::new(move |done| match done {
            // On a GPU what follows decoding is done at once, and what follows that is said of the mesh.
            Step::Prepare | Step::Decode => reporter.step("model", 1, RELIEF_STEPS),
            Step::Model | Step::Download => reporter.step("mesh", 2, RELIEF_STEPS),
            Step::Mesh | Step::Encode | Step::Upload | Step::Height | Step::Emit => {}
        }));
        let relief = studio.relief(visit, file, parameters, begun(context)).await.map_err(failure)?;
        output(answer::of(relief, parameters.format, answer::Form::File)).await
    };
    Ok(Ready { work: Box::new(move |reporter| Box::pin(work(reporter))), held_bytes })
}

async fn mesh_repair(state: &FrontState, head: Parts, body: Body) -> Result<Ready, Refusal> {
    let Upload { file, written } = uploaded(state, head, body, &upload::MESH).await?;
    meshes::format(&written)?;
    let held_bytes = file.len();
    let work = move |reporter: Reporter| async move {
        reporter.step("repair", 0, 1);
        let awaited = meshes::Awaited::default();
        let gone = awaited.flag();
        let mended = jobs::aside(move || meshes::mend(&file, &written, &|| !gone.load(Ordering::Relaxed)));
        let mended = mended.await?.map_err(failure)?;
        output(meshes::attachment(mended)).await
    };
    Ok(Ready { work: Box::new(move |reporter| Box::pin(work(reporter))), held_bytes })
}

async fn inference(
    state: &FrontState,
    others: Vec<(String, String)>,
    head: Parts,
    body: Body,
) -> Result<Ready, Refusal> {
    let taken = body::take_plain(state, &head.headers, body).await?;
    let path = model(others)?;
    if state.engine.is_decoupled(&path.model, path.version.as_deref())? {
        let message = "models with decoupled transaction policy cannot be jobs; use generate_stream";
        return Err(ServeError::Unsupported(message.to_owned()).into());
    }
    let Asked { request, context, form } = infer::ask(state, path, &head.headers, taken)?;
    if form.is_placed() {
        return Err(asked::bad_request(
            "a job's outputs cannot go into shared memory; leave `shared_memory_region` out",
        ));
    }
    let (held_bytes, engine) = (context.held_bytes, state.engine.clone());
    let work = move |reporter: Reporter| async move {
        reporter.step("compute", 0, 1);
        let inference = engine.infer(request, begun(context), |response| form.encode(response)).await;
        let inference = inference.map_err(failure)?;
        output(infer::respond(inference.response, &inference.phases)).await
    };
    Ok(Ready { work: Box::new(move |reporter| Box::pin(work(reporter))), held_bytes })
}

/// The model that an address names.
fn model(others: Vec<(String, String)>) -> Result<ModelPath, Refusal> {
    let (mut model, mut version) = (None, None);
    for (name, value) in others {
        match name.as_str() {
            "model" => model = Some(value),
            "version" => version = Some(value),
            _ => return Err(asked::no_parameter(&name, "kind, priority, model, version")),
        }
    }
    let missing = || asked::bad_request("an inference needs a `model` in its address");
    Ok(ModelPath { model: model.ok_or_else(missing)?, version })
}

/// A request's context now that its job begins: nobody waits for the answer, so that no caller's deadline holds.
fn begun(context: RequestContext) -> RequestContext {
    RequestContext { received: Instant::now(), deadline: None, ..context }
}

fn failure(why: impl Into<Refusal>) -> Failure {
    let Refusal { status, message, .. } = why.into();
    Failure { status: status.as_u16(), message }
}

/// What is kept of an answer.
async fn output(response: Response) -> Result<Output, Failure> {
    let (head, body) = response.into_parts();
    // It is in memory, in one piece; nothing is copied.
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| Failure {
        status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
        message: format!("the result cannot be kept: {error}"),
    })?;
    Ok(Output { headers: head.headers, body })
}
