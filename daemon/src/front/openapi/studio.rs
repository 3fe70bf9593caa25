//! Pictures to reliefs, and meshes.

use serde_json::{Value, json};

use super::Schemas;
use super::inference::with_deadline;
use super::operation::{Operation, boolean, bytes, events, integer, number, one_of, text};
use crate::front::studio::{answer, meshes};

const TAG: &str = "studio";
const JSON: &str = "application/json";
const PICTURES: [&str; 2] = ["image/png", "image/jpeg"];
const MESHES: [&str; 3] = ["model/stl", "model/ply", "application/octet-stream"];
/// An octahedron that lacks a face.
pub(super) const OPEN_MESH: &str = "v 1 0 0\nv -1 0 0\nv 0 1 0\nv 0 -1 0\nv 0 0 1\nv 0 0 -1\n\
    f 3 2 5\nf 2 4 5\nf 4 1 5\nf 3 1 6\nf 2 3 6\nf 4 2 6\nf 1 4 6\n";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let times = json!({ "type": "object", "required": ["phases_ns"], "properties": { "phases_ns": schemas.answer::<answer::Times>() } });
    let relief = json!({ "allOf": [schemas.answer::<answer::Document<'static>>(), times] });
    let generate = |path: &str, id, summary: &str| {
        let operation = with_deadline(picture(relief_parameters(Operation::post(path, TAG, id, summary))));
        meshes_answered(operation, "The relief as a file, with facts about it in the headers.")
            .answer(200, "The relief.", JSON, relief.clone())
            .answer_headers(200, relief_headers())
            .phases(200)
            .errors(&RELIEF_ERRORS)
    };
    let progressive = Operation::post("/api/v1/generate-progressive", TAG, "generateProgressive", "A relief in stages");
    vec![
        generate("/api/v1/generate-3d", "generate3d", "A relief of a picture").about(RELIEF),
        generate("/api/v1/generate", "generateRelief", "The same as generate-3d").about(RELIEF),
        with_deadline(picture(relief_parameters(progressive)))
            .about(STAGES)
            .answer(200, "A line of JSON for each stage.", "application/x-ndjson", text())
            .answer(200, "An event for each stage, to who accepts that.", "text/event-stream", events())
            .errors(&RELIEF_ERRORS),
        mesh(Operation::post("/api/v1/mesh/analyze", TAG, "analyzeMesh", "What is right and wrong with a mesh"))
            .answer(200, "Facts about the mesh.", JSON, schemas.answer::<meshes::Looked>()),
        repair(schemas),
    ]
}

const RELIEF: &str = "The body is the picture, or a form with it and the parameters. The answer is the mesh file; with \
                      `Accept: application/json` it is a document with the facts and the file in base64.";
const STAGES: &str = "The same request, answered with a preview of blocks, then the relief at a quarter, a half and all of \
                      the resolution. A failure after the first stage is the last line.";
const RELIEF_ERRORS: [u16; 10] = [400, 404, 408, 413, 415, 422, 429, 500, 503, 504];

fn repair(schemas: &mut Schemas) -> Operation {
    let operation = Operation::post("/api/v1/mesh/repair", TAG, "repairMesh", "Repair a mesh");
    let operation =
        operation.about("Welds, drops what is no surface, turns all faces outwards and closes every hole.").query(
            "format",
            one_of(&["stl", "obj", "ply"]),
            json!("ply"),
            "The format of the answer; that of the file by default.",
        );
    meshes_answered(mesh(operation), "The repaired mesh as a file.").answer(
        200,
        "The repaired mesh.",
        JSON,
        schemas.answer::<meshes::Document<'static>>(),
    )
}

/// The parameters that make a relief.
pub(super) fn relief_parameters(operation: Operation) -> Operation {
    operation
        .query("format", one_of(&["stl", "obj", "ply"]), json!("ply"), "The mesh's format.")
        .query("quality", integer(1, 10), json!(3), "1 is the coarsest; sets resolution and smoothing.")
        .query("resolution", integer(16, 512), json!(48), "Samples along the longer side.")
        .query("smoothing", number(0.0, 8.0), json!(0.5), "Standard deviation of the smoothing, in samples.")
        .query("width_mm", number(10.0, 500.0), json!(60), "Width of the plate. Not together with size_mm.")
        .query("size_mm", number(10.0, 500.0), Value::Null, "Longer side of the plate. Not together with width_mm.")
        .query("height_mm", number(0.1, 100.0), json!(6), "From the lowest to the highest point.")
        .query("base_mm", number(0.2, 50.0), json!(1.5), "Thickness of the plate under the lowest point.")
        .query("invert", boolean(), json!(false), "Whether what is near lies low: a mould.")
        .query("mask", one_of(&["none", "auto", "alpha"]), json!("none"), "What of the picture is raised.")
}

fn form() -> Value {
    json!({ "type": "object", "required": ["file"], "properties": { "file": bytes() }, "additionalProperties": text() })
}

fn picture(operation: Operation) -> Operation {
    let bodies = PICTURES.into_iter().fold(operation, |operation, picture| operation.body(picture, bytes(), true));
    bodies.body("multipart/form-data", form(), true)
}

fn mesh(operation: Operation) -> Operation {
    let bodies = MESHES.into_iter().fold(operation, |operation, mesh| operation.body(mesh, bytes(), true));
    bodies
        .body_like("model/obj", text(), true, json!(OPEN_MESH))
        .body("multipart/form-data", form(), true)
        .errors(&[400, 408, 413, 415, 422, 500, 503])
}

fn meshes_answered(operation: Operation, description: &str) -> Operation {
    let formats = ["model/stl", "model/obj", "application/ply"];
    formats.into_iter().fold(operation, |operation, format| operation.answer(200, description, format, bytes()))
}

fn relief_headers() -> Value {
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "x-proofload-triangles": header("Number of triangles."),
        "x-proofload-vertices": header("Number of vertices."),
        "x-proofload-size-mm": header("Extent along x, y and z."),
        "x-proofload-volume-mm3": header("Volume of the solid."),
        "x-proofload-area-mm2": header("Area of its surface."),
        "x-proofload-minimum-wall-mm": header("Thickness of the plate where it is thinnest."),
        "x-proofload-overhang-share": header("Share of the surface that hangs over by more than 45°."),
        "x-proofload-watertight": header("Whether the solid is closed: true or false."),
        "x-proofload-mask": header("Where the mask came from, or none."),
        "x-proofload-foreground-share": header("Share of the picture that is raised."),
    })
}
