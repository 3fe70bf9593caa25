//! The entries of the mix: what each sends, and whether it can.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use proofload_wire::tensor::{DataType, element_count};

use super::as_written::{self as written, ProtocolWord};
use super::environment;
use super::files;
use super::reader::{Located, Problems, complain_missing};
use super::validate::slo_of;
use super::{DataSpec, HttpSpec, InputSpec, Journey, KserveProtocol, KserveSpec, MixEntry, PayloadPolicy, RequestSpec};
use crate::payload::PictureKind;

/// Methods that a request may have.
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
/// Most entries: the journal counts them in 16 bits, and nobody reads a report of more.
const MOST_ENTRIES: usize = 1000;
/// Largest input tensor.
const MOST_ELEMENTS: usize = 16 << 20;
/// Bytes from which the kind of a picture can be told.
const PICTURE_HEAD: usize = 64;

/// Validates entries, gathering problems. File patterns are relative to `folder`.
pub(super) struct Entries<'a> {
    pub(super) folder: &'a Path,
    pub(super) problems: &'a Problems,
}

impl Entries<'_> {
    pub(super) fn complain<T>(&self, at: &Located<T>, message: impl std::fmt::Display) {
        self.problems.borrow_mut().push(at.problem(message));
    }

    /// A string that must be there; complains once, and not when it was there with a wrong type.
    pub(super) fn required(
        &self,
        value: Option<&Located<String>>,
        key: &str,
        example: &str,
        table: &Located<()>,
    ) -> Option<String> {
        if value.is_none() {
            complain_missing(self.problems, table, key, format!("write {key} = \"{example}\""));
        }
        value.map(|value| value.value.clone())
    }

    /// All entries. Those with problems are left out; the problems stop the run anyway.
    pub(super) fn all(&self, mix: &[written::Mix], whole: &Located<()>) -> Vec<MixEntry> {
        if mix.is_empty() {
            complain_missing(
                self.problems,
                whole,
                "mix",
                "add [[mix]] with a name, a protocol and what the protocol needs",
            );
        }
        if mix.len() > MOST_ENTRIES {
            self.complain(whole, format!("{} entries; at most {MOST_ENTRIES} are possible", mix.len()));
        }
        self.check_names(mix);
        let names: BTreeSet<&String> = mix.iter().flat_map(|e| &e.captures).map(|(name, _)| name).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        mix.iter().for_each(|entry| self.check_text(entry, &names));
        mix.iter().filter_map(|entry| self.entry(entry)).collect()
    }

    fn check_names(&self, mix: &[written::Mix]) {
        let mut seen = BTreeSet::new();
        for name in mix.iter().filter_map(|entry| entry.name.as_ref()) {
            if !seen.insert(&name.value) {
                self.complain(
                    name,
                    format!("there is another entry `{}`; names tell entries apart in the report", name.value),
                );
            }
            if name.value.is_empty() || name.value.contains([':', '<', '>']) {
                self.complain(name, "a name is not empty and has no `:`, `<` or `>`, which thresholds use");
            }
        }
    }

    /// Whether weights make sense and anything is sent at all, on its own or in a journey.
    pub(super) fn check_weights(&self, mix: &[written::Mix], journeys: &[Journey]) {
        let weights = || mix.iter().filter_map(|entry| entry.weight.as_ref());
        for weight in weights().filter(|weight| !(weight.value >= 0.0 && weight.value.is_finite())) {
            self.complain(weight, "a weight is 0 or more");
        }
        let implied = if journeys.is_empty() { 1.0 } else { 0.0 };
        let single = mix.iter().map(|entry| entry.weight.as_ref().map_or(implied, |weight| weight.value));
        let sum: f64 = single.chain(journeys.iter().map(|journey| journey.weight)).sum();
        if let (Some(first), true) = (weights().next(), sum == 0.0) {
            self.complain(first, "all weights are 0, so nothing would be sent; give an entry a weight above 0");
        }
    }

    fn entry(&self, written: &written::Mix) -> Option<MixEntry> {
        let name = self.required(written.name.as_ref(), "name", "relief", &written.here);
        if written.protocol.is_none() {
            let remedy = "write http, kserve-http-json, kserve-http-binary, kserve-grpc, openai-chat …";
            complain_missing(self.problems, &written.here, "protocol", remedy);
        }
        let slo = written.slo.as_ref().and_then(|slo| slo_of(slo, self.problems));
        let (request, payload) = match written.protocol.as_ref()?.value {
            ProtocolWord::Http => self.plain(written)?,
            ProtocolWord::KserveHttpJson => self.tensors(written, KserveProtocol::KserveHttpJson)?,
            ProtocolWord::KserveHttpBinary => self.tensors(written, KserveProtocol::KserveHttpBinary)?,
            ProtocolWord::KserveGrpc => self.tensors(written, KserveProtocol::KserveGrpc)?,
            ProtocolWord::KserveGrpcStream => self.tensors(written, KserveProtocol::KserveGrpcStream)?,
            ProtocolWord::OpenAiChat
            | ProtocolWord::OpenAiCompletions
            | ProtocolWord::Generate
            | ProtocolWord::GenerateStream => self.completion(written)?,
        };
        let weight = written.weight.as_ref().map_or(1.0, |weight| weight.value);
        Some(MixEntry { name: name?, weight, payload, request, slo })
    }

    fn plain(&self, written: &written::Mix) -> Option<(RequestSpec, PayloadPolicy)> {
        self.refuse_completion_keys(written);
        for input in &written.inputs {
            self.complain(&input.here, "belongs to the kserve protocols; plain HTTP sends `files` or `body`");
        }
        if let (Some(body), false) = (&written.body, written.files.is_empty()) {
            self.complain(body, "write either files or body, not both");
        }
        let files = self.files(&written.files);
        let payload = self.plain_policy(written, &files);
        let expect = written.expect.as_ref();
        let spec = HttpSpec {
            method: self.method(written),
            path: self.path(written)?,
            headers: self.headers(written),
            files,
            body: written.body.as_ref().map(|body| body.value.clone()).unwrap_or_default(),
            model: written.model.as_ref().map(|model| model.value.clone()).unwrap_or_default(),
            expect_status: expect.and_then(|e| e.status.as_ref()).and_then(|status| self.status(status)),
            expect_min_bytes: expect.and_then(|e| e.min_bytes.as_ref()).map_or(0, |bytes| bytes.value),
            expect_content_type: expect.and_then(|e| e.content_type.as_ref()).map(|t| t.value.clone()),
            captures: written.captures.iter().map(|(name, pointer)| (name.clone(), pointer.value.clone())).collect(),
        };
        Some((RequestSpec::Http(spec), payload))
    }

    fn method(&self, written: &written::Mix) -> String {
        let sends = !written.files.is_empty() || written.body.is_some();
        let Some(method) = &written.method else { return if sends { "POST" } else { "GET" }.to_owned() };
        if !METHODS.iter().any(|known| known.as_str() == method.value) {
            self.complain(
                method,
                format!("`{}` is no method; write GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS", method.value),
            );
        }
        method.value.clone()
    }

    fn path(&self, written: &written::Mix) -> Option<String> {
        let path = self.required(written.path.as_ref(), "path", "/api/v1/generate-3d", &written.here)?;
        if !path.starts_with('/') || path.replace(['{', '}'], "").parse::<PathAndQuery>().is_err() {
            self.complain(
                written.path.as_ref()?,
                "a path begins with `/` and holds no spaces; the host stands in [target]",
            );
        }
        Some(path)
    }

    pub(super) fn headers(&self, written: &written::Mix) -> std::collections::BTreeMap<String, String> {
        for (name, value) in &written.headers {
            if let Err(message) = header(name, &value.value) {
                self.complain(value, message);
            }
        }
        written.headers.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect()
    }

    fn status(&self, status: &Located<i64>) -> Option<u16> {
        let known = u16::try_from(status.value).ok().filter(|status| StatusCode::from_u16(*status).is_ok());
        if known.is_none_or(|status| !(200..300).contains(&status)) {
            self.complain(status, "a successful status is expected, 200 to 299: others are told apart by themselves");
        }
        known
    }

    pub(super) fn files(&self, patterns: &[Located<String>]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for pattern in patterns {
            match files::find(self.folder, &pattern.value) {
                Ok(files) => found.extend(files),
                Err(message) => self.complain(pattern, message),
            }
        }
        found
    }

    /// Unique where every file can be made so, unless the scenario says otherwise.
    fn plain_policy(&self, written: &written::Mix, files: &[PathBuf]) -> PayloadPolicy {
        let stubborn = files.iter().find(|file| !is_picture(file));
        let obstacle = match stubborn {
            Some(file) => Some(format!("{} is neither PNG nor JPEG and cannot be made to differ", file.display())),
            None => files.is_empty().then(|| "there are no files to make differ".to_owned()),
        };
        self.policy(written, obstacle)
    }

    fn tensors(&self, written: &written::Mix, protocol: KserveProtocol) -> Option<(RequestSpec, PayloadPolicy)> {
        self.refuse_plain_keys(written);
        self.refuse_completion_keys(written);
        self.refuse_headers(written, protocol);
        let model = self.required(written.model.as_ref(), "model", "tiny_mlp", &written.here);
        if let Some(model) =
            written.model.as_ref().filter(|m| m.value.is_empty() || m.value.contains(['/', ' ', '?', '#']))
        {
            self.complain(model, "no model has such a name");
        }
        if written.inputs.is_empty() {
            let remedy = "write inputs = [{ name = \"x\", datatype = \"FP32\", shape = [1, 16] }]";
            complain_missing(self.problems, &written.here, "inputs", remedy);
        }
        let inputs: Vec<InputSpec> = written.inputs.iter().filter_map(|input| self.input(input, protocol)).collect();
        let variable =
            inputs.iter().any(|input| input.datatype != DataType::Bool && input.shape.iter().all(|d| *d > 0));
        let stubborn = "inputs of BOOL or without elements cannot be made to differ";
        let payload = self.policy(written, (!variable && !inputs.is_empty()).then(|| stubborn.to_owned()));
        let spec = KserveSpec {
            protocol,
            model: model?,
            version: written.version.as_ref().map(|version| version.value.clone()),
            headers: self.headers(written),
            inputs,
            outputs: written.outputs.iter().map(|output| output.value.clone()).collect(),
        };
        Some((RequestSpec::Kserve(spec), payload))
    }

    /// Complains about headers that a KServe request cannot have.
    fn refuse_headers(&self, written: &written::Mix, protocol: KserveProtocol) {
        for (name, value) in &written.headers {
            if value.value.contains("{{") {
                self.complain(value, "only protocol = \"http\" fills {{…}}; write the value, or ${env:NAME}");
            }
            if protocol.is_grpc() && is_grpcs_own(name) {
                self.complain(value, "belongs to gRPC itself; metadata has names of its own, such as authorization");
            }
        }
    }

    fn refuse_plain_keys(&self, written: &written::Mix) {
        let message = "belongs to protocol = \"http\"; KServe requests state model and inputs";
        for stranger in [&written.method, &written.path, &written.body].into_iter().flatten() {
            self.complain(stranger, message);
        }
        for stranger in written.files.first().into_iter().chain(written.captures.first().map(|(_, value)| value)) {
            self.complain(stranger, message);
        }
    }

    fn input(&self, written: &written::Input, protocol: KserveProtocol) -> Option<InputSpec> {
        let name = self.required(written.name.as_ref(), "name", "x", &written.here);
        let word = self.required(written.datatype.as_ref(), "datatype", "FP32", &written.here);
        let datatype = word.and_then(|word| self.datatype(&word, written.datatype.as_ref()?, protocol));
        let Some(shape) = &written.shape else {
            complain_missing(self.problems, &written.here, "shape", "write shape = [1, 16]");
            return None;
        };
        match element_count(&shape.value) {
            Ok(count) if count <= MOST_ELEMENTS => {}
            Ok(count) => self.complain(shape, format!("{count} elements; at most {MOST_ELEMENTS} are possible")),
            Err(e) => self.complain(shape, e),
        }
        let data = written.data.as_ref().map_or(DataSpec::Random, |data| data.value);
        Some(InputSpec { name: name?, datatype: datatype?, shape: shape.value.clone(), data })
    }

    fn datatype(&self, word: &str, at: &Located<String>, protocol: KserveProtocol) -> Option<DataType> {
        let datatype = DataType::parse(word);
        match datatype {
            None => {
                let known: Vec<&str> = DataType::all().map(DataType::as_str).collect();
                self.complain(at, format!("`{word}` is no datatype; write one of {}", known.join(", ")));
            }
            Some(DataType::Fp16 | DataType::Bf16) if protocol == KserveProtocol::KserveHttpJson => {
                self.complain(
                    at,
                    format!("{word} has no JSON form; use protocol = \"kserve-http-binary\" or \"kserve-grpc\""),
                );
            }
            Some(_) => {}
        }
        datatype
    }
}

/// Whether there is such a header. Never says what a variable of the environment holds.
pub(super) fn header(name: &str, value: &str) -> Result<(), String> {
    if environment::refers(value) && value.contains("{{") {
        return Err("cannot hold both ${env:…} and {{…}}; write them into two headers".to_owned());
    }
    let expanded = environment::expand(value, environment::variable)?;
    if name.parse::<HeaderName>().is_err() || expanded.parse::<HeaderValue>().is_err() {
        return Err("no HTTP header has such a name or value".to_owned());
    }
    Ok(())
}

/// What only HTTP, or gRPC itself, may say in a gRPC request.
pub(super) fn is_grpcs_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("grpc-") || ["content-type", "te", "host", "content-length", "connection"].contains(&name.as_str())
}

fn is_picture(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(PICTURE_HEAD as u64).read_to_end(&mut head));
    read.is_ok() && PictureKind::detect(&head).is_some()
}
