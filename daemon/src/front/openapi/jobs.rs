//! Jobs.

use serde_json::{Value, json};

use super::Schemas;
use super::operation::{Operation, bytes, events, integer, one_of, text};
use super::studio::OPEN_MESH;
use crate::front::jobs::document::{JobDocument, PageDocument};
use crate::jobs::Kind;

const TAG: &str = "jobs";
const JSON: &str = "application/json";
const PATH: &str = "/api/v1/jobs";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (job, page) = (schemas.answer::<JobDocument>(), schemas.answer::<PageDocument>());
    let of_one = |below: &str| format!("{PATH}/{{id}}{below}");
    let limit = "How many, the newest first.";
    vec![
        submit(&job),
        Operation::get(PATH, TAG, "listJobs", "One's own jobs")
            .about("Those that came with the same `Authorization` or `X-API-Key` as this request, or all without.")
            .query("limit", integer(1, 100), json!(20), limit)
            .query("after", id(), Value::Null, "The id of the last job on the page before.")
            .answer(200, "A page.", JSON, page)
            .errors(&[400, 403, 404]),
        Operation::get(&of_one(""), TAG, "getJob", "How far a job is")
            .answer(200, "The job.", JSON, job.clone())
            .errors(&[400, 404]),
        Operation::delete(&of_one(""), TAG, "cancelJob", "Give a job up")
            .about("One that waits leaves at once, one that runs stops at its next step. Again is the same.")
            .answer(200, "The job, cancelled.", JSON, job)
            .errors(&[400, 404, 409, 410]),
        Operation::get(&of_one("/events"), TAG, "watchJob", "What happens to a job, as it happens")
            .about(EVENTS)
            .header("last-event-id", integer(0, 1000), json!(0), "The number of the last event that was seen.")
            .answer(200, "Events until the job has ended.", "text/event-stream", events())
            .errors(&[400, 404, 410]),
        Operation::get(&of_one("/result"), TAG, "jobResult", "What a job gave")
            .about("The answer that the same request would have got at once: a mesh file, or the outputs of a model.")
            .query("wait_seconds", integer(0, 60), json!(30), "How long to wait for it.")
            .answer(200, "The result.", JSON, json!(true))
            .answer(200, "The result.", "application/octet-stream", bytes())
            .answer(200, "The result.", "model/stl", bytes())
            .answer(200, "The result.", "model/obj", bytes())
            .answer(200, "The result.", "application/ply", bytes())
            .errors(&[400, 404, 409, 410]),
    ]
}

const EVENTS: &str = "`queued`, `running`, `step`, and at the end `done`, `failed` or `cancelled`: numbered, so that a client \
                      that was cut off gets the later ones. `position`, without a number, when a job that waits has moved up.";
const SUBMIT: &str = "The body, and the other parameters of the address, are those of the request that the job is: a picture \
                      with the parameters of generate-3d, a mesh with those of mesh/repair, or a KServe v2 request for \
                      `model` (and `version`). Answered at once, with a position and an estimated wait.";

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
}

fn submit(job: &Value) -> Operation {
    let location = json!({ "Location": { "description": "Where the job is.", "required": true, "schema": text() } });
    Operation::post(PATH, TAG, "submitJob", "Have long work done")
        .about(SUBMIT)
        .needed("kind", one_of(&Kind::ALL.map(Kind::as_str)), json!("mesh_repair"), "What kind of work it is.")
        .query("priority", integer(1, 9), json!(2), "1 is the most urgent; 5 when nothing is said.")
        .query("model", text(), Value::Null, "With kind=inference: the model.")
        .query("version", text(), Value::Null, "With kind=inference: its version.")
        .query("format", one_of(&["stl", "obj", "ply"]), json!("ply"), "With meshes: the format of the result.")
        .body("image/png", bytes(), true)
        .body("image/jpeg", bytes(), true)
        .body("application/octet-stream", bytes(), true)
        .body_like("model/obj", text(), true, json!(OPEN_MESH))
        .body("application/json", json!({ "$ref": "#/components/schemas/InferRequest" }), true)
        .answer(202, "The job is taken.", JSON, job.clone())
        .answer_headers(202, location)
        .body_errors()
        .errors(&[404, 415, 429, 500, 501])
}
