//! From an entry as a scenario states it to an entry ready to send: files read, tensors encoded, headers built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use proofload_wire::WireError;
use proofload_wire::completion::Dialect;
use proofload_wire::grpc::inference::ModelInferRequest;
use proofload_wire::infer::InferRequest;
use proofload_wire::json_body::encode_request;
use proofload_wire::tensor::{DataType, Tensor};
use prost::Message;

use super::completion::{body, words};
use super::tensor::Patch;
use super::{
    Capture, Entry, Escape, Hole, Holes, Payload, PictureKind, Template, Text, TextError, random_tensor, zero_tensor,
};
use crate::judge::Expect;
use crate::plan::mix64;
use crate::scenario::environment;
use crate::scenario::{
    CompletionProtocol, CompletionSpec, DataSpec, HttpSpec, KserveProtocol, KserveSpec, MixEntry, PayloadPolicy,
    Prompt, RequestSpec, Scenario,
};
use crate::streamed::Streaming;
use crate::transport::{Address, HttpVersion, Keep, Via};

/// How much of a plain HTTP answer is kept: enough for the message of an error.
const KEEP_PLAIN: Keep = Keep(4096);
/// How much is kept where values are captured from it.
const KEEP_CAPTURED: Keep = Keep(4 << 20);
/// How much of a KServe answer is kept, since all of it is checked.
const KEEP_TENSORS: Keep = Keep(64 << 20);
const GRPC_SERVICE: &str = "/inference.GRPCInferenceService";

/// Why an entry could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A payload file.
    #[error("entry `{entry}`: {path}: {source}")]
    File {
        /// The entry.
        entry: String,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Something that HTTP does not allow.
    #[error("entry `{entry}`: {what}")]
    Request {
        /// The entry.
        entry: String,
        /// What is wrong.
        what: String,
    },
    /// Something that KServe does not allow.
    #[error("entry `{entry}`: {source}")]
    Tensor {
        /// The entry.
        entry: String,
        /// What is wrong.
        source: WireError,
    },
    /// The target lacks the side that the entry needs.
    #[error("entry `{entry}` needs the target's {side} side; state its URL as target.{side}")]
    Side {
        /// The entry.
        entry: String,
        /// `http` or `grpc`.
        side: &'static str,
    },
}

/// Makes an entry of a scenario ready for a target, in the run of this name.
///
/// # Errors
/// When a file cannot be read or the request would not be valid.
pub fn prepare(
    scenario: &Scenario,
    run_id: &str,
    entry: &MixEntry,
    http: Option<&Address>,
    grpc: Option<&Address>,
) -> Result<Entry, PrepareError> {
    let side = |side| PrepareError::Side { entry: entry.name.clone(), side };
    let seed = mix64(scenario.seed);
    let prepared = match &entry.request {
        RequestSpec::Http(spec) => plain(entry, spec, http.ok_or_else(|| side("http"))?, &scenario.carried())?,
        RequestSpec::Kserve(spec) if entry.request.is_grpc() => {
            tensors_over_grpc(entry, spec, grpc.ok_or_else(|| side("grpc"))?, seed)?
        }
        RequestSpec::Kserve(spec) => tensors_over_http(entry, spec, http.ok_or_else(|| side("http"))?, seed)?,
        RequestSpec::Completion(spec) => completion(entry, spec, http.ok_or_else(|| side("http"))?, seed)?,
    };
    let run = run_id.bytes().fold(0, |hash, byte| mix64(hash ^ u64::from(byte)));
    Ok(Entry { traced: scenario.load.traces, seed, run, ..prepared })
}

fn plain(entry: &MixEntry, spec: &HttpSpec, to: &Address, carried: &[String]) -> Result<Entry, PrepareError> {
    let refuse = |what: String| PrepareError::Request { entry: entry.name.clone(), what };
    let mut headers = base_headers(to);
    let mut payloads = Vec::new();
    for path in &spec.files {
        let file = read(entry, path)?;
        if let Some(kind) = PictureKind::detect(&file) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
        }
        payloads.push(picture_payload(entry.payload, file));
    }
    if payloads.is_empty() {
        payloads.push(Payload::Fixed(Bytes::copy_from_slice(spec.body.as_bytes())));
    }
    let holes = holes(spec, &to.request_target(""), carried).map_err(|e| refuse(e.to_string()))?;
    add_headers(entry, &spec.headers, &mut headers)?;
    let path = if holes.path.is_some() { "/" } else { spec.path.as_str() };
    Ok(Entry {
        via: Via::Http,
        method: Method::from_bytes(spec.method.as_bytes())
            .map_err(|_| refuse(format!("`{}` is no method", spec.method)))?,
        uri: uri(entry, &to.request_target(path))?,
        headers,
        payloads,
        holes: (!holes.is_empty()).then(|| Box::new(holes)),
        captures: captures(spec, carried),
        expect: Expect::Http {
            status: spec.expect_status,
            min_bytes: spec.expect_min_bytes,
            content_type: spec.expect_content_type.clone(),
        },
        keep: if spec.captures.is_empty() { KEEP_PLAIN } else { KEEP_CAPTURED },
        streaming: None,
        traced: 0.0,
        seed: 0,
        run: 0,
    })
}

/// Adds what the scenario states.
fn add_headers(
    entry: &MixEntry,
    stated: &BTreeMap<String, String>,
    headers: &mut HeaderMap,
) -> Result<(), PrepareError> {
    let refuse = |what: String| PrepareError::Request { entry: entry.name.clone(), what };
    headers.extend(environment::header_map(stated).map_err(refuse)?);
    Ok(())
}

/// The parts of a plain request that each one fills anew.
fn holes(spec: &HttpSpec, prefix: &str, carried: &[String]) -> Result<Holes, TextError> {
    let with_holes = |text: &str| Text::parse(text, carried).map(|text| text.has_holes().then_some(text));
    let mut headers = Vec::new();
    // What comes out of the environment is not looked into.
    for (name, value) in spec.headers.iter().filter(|(_, value)| !environment::refers(value)) {
        if let (Some(text), Ok(name)) = (with_holes(value)?, name.parse()) {
            headers.push((name, text));
        }
    }
    let bodies = with_holes(&spec.body)?.map(|text| (text, Escape::of_body(&spec.body))).into_iter().collect();
    let path = with_holes(&spec.path)?.map(|_| Text::parse(&format!("{prefix}{}", spec.path), carried));
    Ok(Holes { path: path.transpose()?, headers, bodies })
}

fn captures(spec: &HttpSpec, carried: &[String]) -> Vec<Capture> {
    let indexed = spec.captures.iter().filter_map(|(name, pointer)| {
        let index = carried.iter().position(|known| known == name)?;
        Some(Capture { index: index as u16, pointer: pointer.clone() })
    });
    indexed.collect()
}

fn read(entry: &MixEntry, path: &Path) -> Result<Bytes, PrepareError> {
    let file = std::fs::read(path);
    file.map(Bytes::from).map_err(|source| PrepareError::File {
        entry: entry.name.clone(),
        path: path.to_owned(),
        source,
    })
}

fn picture_payload(policy: PayloadPolicy, file: Bytes) -> Payload {
    match PictureKind::detect(&file) {
        Some(kind) if policy.varies() => Payload::Unique(kind.template(&file)),
        _ => Payload::Fixed(file),
    }
}

fn base_headers(to: &Address) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("proofload/", env!("CARGO_PKG_VERSION"))));
    // HTTP/2 says it in the request's URI.
    if let (HttpVersion::Http1, Ok(host)) = (to.version, HeaderValue::from_str(to.authority.as_str())) {
        headers.insert(HOST, host);
    }
    headers.extend(to.headers.as_ref().clone());
    headers
}

fn uri(entry: &MixEntry, text: &str) -> Result<Uri, PrepareError> {
    let what = || format!("`{text}` is no path");
    text.parse().map_err(|_| PrepareError::Request { entry: entry.name.clone(), what: what() })
}

/// The request with its inputs, and which of them is patched.
fn request(entry: &MixEntry, spec: &KserveSpec, seed: u64) -> Result<(InferRequest, Option<usize>), PrepareError> {
    let failed = |source| PrepareError::Tensor { entry: entry.name.clone(), source };
    let mut inputs = Vec::new();
    for (n, input) in spec.inputs.iter().enumerate() {
        let tensor = match input.data {
            DataSpec::Random => random_tensor(&input.name, input.datatype, &input.shape, seed ^ n as u64),
            DataSpec::Zeros => zero_tensor(&input.name, input.datatype, &input.shape),
        };
        inputs.push(tensor.map_err(failed)?);
    }
    let patchable = |tensor: &Tensor| tensor.datatype != DataType::Bool && tensor.element_count() > 0;
    let patched = if entry.payload.varies() { inputs.iter().position(patchable) } else { None };
    let request = InferRequest {
        model_name: spec.model.clone(),
        model_version: spec.version.clone(),
        inputs,
        ..InferRequest::default()
    };
    Ok((request, patched))
}

/// The body of a request, with a hole where the patched input begins. The hole is found by encoding twice with
/// different contents and comparing, so that nothing here knows the layout of the body.
fn payload(
    request: &InferRequest,
    patched: Option<usize>,
    json: bool,
    encode: impl Fn(&InferRequest) -> Result<Bytes, WireError>,
) -> Result<Payload, WireError> {
    let Some(index) = patched else { return Ok(Payload::Fixed(encode(request)?)) };
    let patch = Patch::of(&request.inputs[index], json);
    let encoded = |unique: u64| {
        let mut request = request.clone();
        request.inputs[index] = patch.apply(&request.inputs[index], unique);
        encode(&request)
    };
    let body = encoded(0)?;
    let hole = patch.fill(0);
    let at = find_hole(&body, &encoded(1)?, &hole, &patch.fill(1))
        .ok_or_else(|| WireError::Unsupported("the encoded request has no place to vary".to_owned()))?;
    Ok(Payload::Unique(Template {
        before: body.slice(..at),
        after: body.slice(at + hole.len()..),
        hole: Hole::Tensor(patch),
    }))
}

/// Where the hole is: where both bodies have their own filling at the same place, and the same bytes before.
fn find_hole(body: &[u8], other: &[u8], filling: &[u8], other_filling: &[u8]) -> Option<usize> {
    let same = body.iter().zip(other).take_while(|(a, b)| a == b).count();
    (0..=same).rev().find(|at| body[*at..].starts_with(filling) && other[*at..].starts_with(other_filling))
}

fn tensors_over_http(entry: &MixEntry, spec: &KserveSpec, to: &Address, seed: u64) -> Result<Entry, PrepareError> {
    let failed = |source| PrepareError::Tensor { entry: entry.name.clone(), source };
    let (request, patched) = request(entry, spec, seed)?;
    let binary = spec.protocol == KserveProtocol::KserveHttpBinary;
    let encoded = encode_request(&request, binary).map_err(failed)?;
    let mut headers = base_headers(to);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoded.content_type()));
    if let Some(length) = encoded.json_length {
        headers.insert("inference-header-content-length", HeaderValue::from(length));
    }
    add_headers(entry, &spec.headers, &mut headers)?;
    let version = spec.version.as_ref().map(|version| format!("/versions/{version}")).unwrap_or_default();
    let payload = payload(&request, patched, !binary, |r| Ok(encode_request(r, binary)?.body)).map_err(failed)?;
    Ok(Entry {
        via: Via::Http,
        method: Method::POST,
        uri: uri(entry, &to.request_target(&format!("/v2/models/{}{version}/infer", spec.model)))?,
        headers,
        payloads: vec![payload],
        holes: None,
        captures: Vec::new(),
        expect: Expect::KserveHttp { outputs: spec.outputs.clone() },
        keep: KEEP_TENSORS,
        streaming: None,
        traced: 0.0,
        seed: 0,
        run: 0,
    })
}

/// A request for text. What makes prompts differ is filled in for each request.
fn completion(entry: &MixEntry, spec: &CompletionSpec, to: &Address, seed: u64) -> Result<Entry, PrepareError> {
    let refuse = |what: String| PrepareError::Request { entry: entry.name.clone(), what };
    let mut headers = base_headers(to);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if spec.stream {
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    }
    add_headers(entry, &spec.headers, &mut headers)?;
    let prompts = prompts(entry, &spec.prompt, seed)?;
    let bodies = prompts.iter().map(|prompt| body(spec, prompt, entry.payload.varies()));
    let bodies: Vec<_> = bodies.collect::<Result<_, _>>().map_err(|e| refuse(e.to_string()))?;
    let dialect = match spec.protocol {
        CompletionProtocol::OpenAiChat | CompletionProtocol::OpenAiCompletions => Dialect::OpenAi,
        CompletionProtocol::Generate => Dialect::Generate,
    };
    Ok(Entry {
        via: Via::Http,
        method: Method::POST,
        uri: uri(entry, &to.request_target(&spec.path))?,
        headers,
        payloads: vec![Payload::Fixed(Bytes::new()); bodies.len()],
        holes: Some(Box::new(Holes { bodies, ..Holes::default() })),
        captures: Vec::new(),
        expect: if spec.stream { Expect::Events(dialect) } else { Expect::Completion(dialect) },
        keep: if spec.stream { KEEP_PLAIN } else { KEEP_CAPTURED },
        streaming: spec.stream.then_some(Streaming::Events(dialect)),
        traced: 0.0,
        seed: 0,
        run: 0,
    })
}

fn prompts(entry: &MixEntry, prompt: &Prompt, seed: u64) -> Result<Vec<String>, PrepareError> {
    match prompt {
        Prompt::Text(text) => Ok(vec![text.clone()]),
        Prompt::Words(count) => Ok(vec![words(*count, seed)]),
        Prompt::Files(paths) => {
            let text = |path: &PathBuf| read(entry, path).map(|file| String::from_utf8_lossy(&file).into_owned());
            paths.iter().map(text).collect()
        }
    }
}

fn tensors_over_grpc(entry: &MixEntry, spec: &KserveSpec, to: &Address, seed: u64) -> Result<Entry, PrepareError> {
    let failed = |source| PrepareError::Tensor { entry: entry.name.clone(), source };
    let (request, patched) = request(entry, spec, seed)?;
    let mut headers = base_headers(to);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    add_headers(entry, &spec.headers, &mut headers)?;
    let payload = payload(&request, patched, false, |r| Ok(framed(r.clone()))).map_err(failed)?;
    let streamed = spec.protocol == KserveProtocol::KserveGrpcStream;
    let method = if streamed { "ModelStreamInfer" } else { "ModelInfer" };
    Ok(Entry {
        via: Via::Grpc,
        method: Method::POST,
        uri: uri(entry, &format!("{}{GRPC_SERVICE}/{method}", to.origin()))?,
        headers,
        payloads: vec![payload],
        holes: None,
        captures: Vec::new(),
        expect: if streamed { Expect::Messages } else { Expect::KserveGrpc { outputs: spec.outputs.clone() } },
        keep: if streamed { KEEP_PLAIN } else { KEEP_TENSORS },
        streaming: streamed.then_some(Streaming::ModelStreamInfer),
        traced: 0.0,
        seed: 0,
        run: 0,
    })
}

/// A request as one gRPC message: not compressed, its length, its bytes.
fn framed(request: InferRequest) -> Bytes {
    let message = ModelInferRequest::from(request);
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Values;
    use crate::plan::Arrival;
    use crate::transport::TlsOptions;
    use proofload_wire::json_body::decode_request;
    use std::collections::HashSet;

    /// A scenario of one KServe entry.
    fn scenario(protocol: &str, datatype: &str, payload: &str) -> Scenario {
        let text = format!(
            r#"
kind = "sustained"
[load]
rate = "1/s"
duration = "5s"
[[mix]]
name = "a"
protocol = "{protocol}"
model = "m"
version = "2"
payload = "{payload}"
inputs = [
  {{ name = "flags", datatype = "BOOL", shape = [2], data = "zeros" }},
  {{ name = "x", datatype = "{datatype}", shape = [2, 3] }},
]
"#
        );
        Scenario::parse(Path::new("test.toml"), &text, &[]).unwrap()
    }

    fn ready(scenario: &Scenario) -> Entry {
        let at = |version| Address::resolve("http://127.0.0.1:1/base", version, &TlsOptions::default()).unwrap();
        let (http, grpc) = (at(HttpVersion::Http1), at(HttpVersion::Http2));
        prepare(scenario, "run", &scenario.mix[0], Some(&http), Some(&grpc)).unwrap()
    }

    fn bodies(entry: &Entry) -> Vec<Bytes> {
        let arrival = |unique| Arrival { content: unique, ..Arrival::default() };
        (0..200)
            .map(|unique| entry.request(&arrival(unique), &Values::default()).unwrap().request.body.concat().into())
            .collect()
    }

    fn decoded(entry: &Entry, body: &Bytes) -> InferRequest {
        if entry.via == Via::Grpc {
            let message = ModelInferRequest::decode(body.slice(5..)).unwrap();
            return InferRequest::try_from(message).unwrap();
        }
        let length = entry.headers.get("inference-header-content-length").map(|v| v.to_str().unwrap().parse().unwrap());
        decode_request("m", Some("2"), body, length).unwrap().request
    }

    /// Every body decodes to a request that differs from every other in `x` alone, whatever carries it.
    #[test]
    fn unique_requests_are_valid_and_differ_where_they_should() {
        for protocol in ["kserve-http-json", "kserve-http-binary", "kserve-grpc"] {
            for datatype in ["FP32", "FP64", "INT8", "UINT64", "BYTES", "FP16"] {
                if protocol == "kserve-http-json" && datatype == "FP16" {
                    continue;
                }
                let entry = ready(&scenario(protocol, datatype, "unique"));
                let requests: Vec<_> = bodies(&entry).iter().map(|body| decoded(&entry, body)).collect();
                assert!(requests.iter().all(|r| r.inputs[0] == requests[0].inputs[0]), "{protocol} {datatype}");
                assert!(requests.iter().all(|r| r.inputs[1].shape == [2, 3]), "{protocol} {datatype}");
                let distinct: HashSet<&Bytes> = requests.iter().map(|r| &r.inputs[1].data).collect();
                assert_eq!(distinct.len(), 200, "{protocol} {datatype}");
            }
        }
    }

    #[test]
    fn fixed_requests_are_all_the_same() {
        let entry = ready(&scenario("kserve-grpc", "FP32", "fixed"));
        let distinct: HashSet<Bytes> = bodies(&entry).into_iter().collect();
        assert_eq!(distinct.len(), 1);
    }

    #[test]
    fn requests_go_where_the_protocol_says() {
        let check = |protocol: &str, uri: &str, content_type: &str| {
            let entry = ready(&scenario(protocol, "FP32", "unique"));
            assert_eq!(entry.uri.to_string(), uri);
            assert_eq!(entry.headers[CONTENT_TYPE], content_type);
            assert_eq!(entry.method, Method::POST);
        };
        check("kserve-http-json", "/base/v2/models/m/versions/2/infer", "application/json");
        check("kserve-http-binary", "/base/v2/models/m/versions/2/infer", "application/octet-stream");
        check("kserve-grpc", "http://127.0.0.1:1/inference.GRPCInferenceService/ModelInfer", "application/grpc");
    }

    #[test]
    fn a_missing_side_is_named() {
        let scenario = scenario("kserve-grpc", "FP32", "fixed");
        let message = prepare(&scenario, "run", &scenario.mix[0], None, None).unwrap_err().to_string();
        assert!(message.contains("target.grpc"), "{message}");
    }
}
