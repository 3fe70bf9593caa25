//! What a starting file sends.

use proofload_wire::types::{ModelMetadata, TensorMetadata};

use super::shape::concrete;
use super::{one_line, quoted};
use crate::discover::{Survey, Tells};
use crate::scenario::Protocol;

/// The entries: one, or two that differ.
pub(super) fn sections(survey: &Survey, two: bool) -> String {
    let entries: Vec<String> = match &survey.tells {
        Tells::Inputs(model) => inputs(survey, model, two),
        Tells::Text(model) => texts(survey.protocol, model, two),
        Tells::Nothing => pages(two),
    };
    entries.join("\n")
}

/// An entry's first lines; weights only where there are several.
fn head(name: &str, weight: Option<u32>, protocol: Protocol) -> String {
    let weight = weight.map_or(String::new(), |weight| format!("weight = {weight}\n"));
    let name = format!("name = \"{name}\"");
    format!(
        "[[mix]]\n{name:<31} # tells it apart in thresholds and reports\n{weight}protocol = \"{}\"\n",
        protocol.as_str()
    )
}

/// The same inputs; with two entries over another transport the second time.
fn inputs(survey: &Survey, model: &ModelMetadata, two: bool) -> Vec<String> {
    let body = format!("model = {}\n{}", quoted(&model.name), tensors(&model.inputs));
    let entry = |name, weight, protocol| format!("{}{body}", head(name, weight, protocol));
    if !two {
        return vec![entry("infer", None, survey.protocol)];
    }
    let second = match survey.protocol {
        Protocol::KserveGrpc => Protocol::KserveGrpcStream,
        Protocol::KserveGrpcStream => Protocol::KserveGrpc,
        _ if survey.grpc_url.is_some() => Protocol::KserveGrpc,
        Protocol::KserveHttpJson => Protocol::KserveHttpBinary,
        _ if has_json_form(model) => Protocol::KserveHttpJson,
        other => other,
    };
    vec![entry("often", Some(4), survey.protocol), entry("seldom", Some(1), second)]
}

/// FP16 and BF16 have none.
fn has_json_form(model: &ModelMetadata) -> bool {
    !model.inputs.iter().any(|input| ["FP16", "BF16"].contains(&input.datatype.as_str()))
}

fn tensors(inputs: &[TensorMetadata]) -> String {
    let policy =
        "# payload = \"zipf\"               # requests repeat by popularity, to test a cache; default: no two alike\n";
    if inputs.is_empty() {
        return format!(
            "{policy}# The server does not say what the model takes: write it here.\n\
             inputs = [{{ name = \"input\", datatype = \"FP32\", shape = [1, 16], data = \"random\" }}]\n"
        );
    }
    let lines: String = inputs.iter().map(tensor).collect();
    format!("{policy}inputs = [\n{lines}]\n")
}

fn tensor(input: &TensorMetadata) -> String {
    let (shape, notes) = concrete(input);
    let comment: String = notes.iter().map(|note| format!("  # {}\n", one_line(note))).collect();
    format!(
        "{comment}  {{ name = {}, datatype = {}, shape = {shape:?}, data = \"random\" }},\n",
        quoted(&input.name),
        quoted(&input.datatype)
    )
}

/// Prompts; with two entries a short and a long one.
fn texts(protocol: Protocol, model: &str, two: bool) -> Vec<String> {
    let entry = |name, weight, prompt: &str, most: u32| {
        format!("{}model = {}\n{prompt}max_tokens = {most}\n", head(name, weight, protocol), quoted(model))
    };
    let words = |count: u32| {
        format!(
            "prompt_words = {count}               # made up, unlike every other; or prompt = \"…\", or files = [\"prompts/*.txt\"]\n"
        )
    };
    if !two {
        return vec![entry("ask", None, &words(100), 128)];
    }
    vec![entry("short", Some(4), &words(50), 64), entry("long", Some(1), &words(1000), 256)]
}

/// Plain HTTP.
fn pages(two: bool) -> Vec<String> {
    let entry = |name, weight, path: &str| {
        format!(
            "{}path = \"{path}\"\n\
             # method = \"POST\"\n\
             # body = '{{\"text\": \"hello {{{{unique}}}}\"}}'   # or files = [\"payloads/*.png\"], one is drawn for each request\n\
             # headers = {{ authorization = \"Bearer ${{env:API_TOKEN}}\" }}\n\
             # expect = {{ status = 200, min_bytes = 2 }}\n",
            head(name, weight, Protocol::Http)
        )
    };
    if !two {
        return vec![entry("get", None, "/")];
    }
    vec![entry("often", Some(4), "/"), entry("seldom", Some(1), "/?n={{sequence}}")]
}
