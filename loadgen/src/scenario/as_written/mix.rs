//! The entries of a scenario's mix and its journeys: what may stand in them, with its place. What they mean is
//! [`super::super::entries`]' affair.

use std::collections::BTreeMap;

use proofload_run::units::parse_bytes;
use schemars::JsonSchema;

use super::{Maybe, Slo};
use crate::scenario::DataSpec;
use crate::scenario::document::Value;
use crate::scenario::reader::{Located, Table};
use crate::scenario::schema::{Size, datatypes, words};

/// Whether payloads repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scenario) enum PolicyWord {
    Unique,
    Fixed,
    Zipf,
}

/// Payload policies, by their word.
const POLICIES: [(&str, PolicyWord); 3] =
    [("unique", PolicyWord::Unique), ("fixed", PolicyWord::Fixed), ("zipf", PolicyWord::Zipf)];

/// How an entry travels, as scenarios say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolWord {
    /// `http`
    Http,
    /// `kserve-http-json`
    KserveHttpJson,
    /// `kserve-http-binary`
    KserveHttpBinary,
    /// `kserve-grpc`
    KserveGrpc,
    /// `kserve-grpc-stream`
    KserveGrpcStream,
    /// `openai-chat`
    OpenAiChat,
    /// `openai-completions`
    OpenAiCompletions,
    /// `generate`
    Generate,
    /// `generate-stream`
    GenerateStream,
}

impl ProtocolWord {
    /// Every protocol.
    pub fn all() -> impl Iterator<Item = Self> {
        PROTOCOLS.iter().map(|(_, protocol)| *protocol)
    }

    /// The word in scenarios.
    pub fn as_str(self) -> &'static str {
        PROTOCOLS.iter().find(|(_, protocol)| *protocol == self).map_or("", |(word, _)| word)
    }

    /// The inverse of [`ProtocolWord::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|protocol| protocol.as_str() == word)
    }

    /// Whether it goes to the gRPC side of a target.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::KserveGrpc | Self::KserveGrpcStream)
    }
}

/// Protocols, by their word.
const PROTOCOLS: [(&str, ProtocolWord); 9] = [
    ("http", ProtocolWord::Http),
    ("kserve-http-json", ProtocolWord::KserveHttpJson),
    ("kserve-http-binary", ProtocolWord::KserveHttpBinary),
    ("kserve-grpc", ProtocolWord::KserveGrpc),
    ("kserve-grpc-stream", ProtocolWord::KserveGrpcStream),
    ("openai-chat", ProtocolWord::OpenAiChat),
    ("openai-completions", ProtocolWord::OpenAiCompletions),
    ("generate", ProtocolWord::Generate),
    ("generate-stream", ProtocolWord::GenerateStream),
];

/// Contents of tensors, by their word.
const DATA: [(&str, DataSpec); 2] = [("random", DataSpec::Random), ("zeros", DataSpec::Zeros)];

/// One kind of request.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Mix {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// Tells the entry apart in thresholds and reports; without `:`, `<` and `>`.
    #[schemars(with = "String", regex(pattern = "^[^:<>]+$"))]
    pub(in crate::scenario) name: Maybe<String>,
    /// How often it is drawn, relative to the others. Default: 1; 0 where journeys make the requests.
    #[schemars(default, with = "f64", range(min = 0.0))]
    pub(in crate::scenario) weight: Maybe<f64>,
    /// How it travels. http: any request. kserve-…: an inference request of KServe v2, which Triton speaks; with -stream
    /// its answers are a stream. openai-…: chat or text completions, streamed. generate: KServe's way to ask for text.
    #[schemars(with = "String", extend("enum" = words(&PROTOCOLS)))]
    pub(in crate::scenario) protocol: Maybe<ProtocolWord>,
    /// Whether contents repeat. unique: no two requests alike, so that no cache answers. fixed: as they are. zipf: out of
    /// a set, by popularity. Default: unique where contents can be made to differ.
    #[schemars(default, with = "String", extend("enum" = words(&POLICIES)))]
    pub(in crate::scenario) payload: Maybe<PolicyWord>,
    /// payload = "zipf": the set, and how unequal its items' popularity is.
    #[schemars(default, with = "Zipf")]
    pub(in crate::scenario) zipf: Option<Zipf>,
    /// http: the method. Default: POST with files or a body, else GET.
    #[schemars(default, with = "String", example = &"POST")]
    pub(in crate::scenario) method: Maybe<String>,
    /// http: path and query. `{{user}}`, `{{sequence}}`, `{{unique}}`, `{{uuid}}`, `{{content}}` and captured values may
    /// stand in it. openai: default `/v1/chat/completions` or `/v1/completions`.
    #[schemars(default, with = "String", regex(pattern = "^/"), example = &"/api/v1/generate-3d?format=stl")]
    pub(in crate::scenario) path: Maybe<String>,
    /// Headers of every request (gRPC: metadata); values may hold `${env:NAME}`, and with http the same as the path.
    #[schemars(default, with = "BTreeMap<String, String>")]
    pub(in crate::scenario) headers: Vec<(String, Located<String>)>,
    /// http: files to send, relative to the scenario file; `*` stands for anything in a file's name. One is drawn for each
    /// request. openai, generate: files of text, each a prompt.
    #[schemars(default, with = "Vec<String>", example = ["payloads/*.png"])]
    pub(in crate::scenario) files: Vec<Located<String>>,
    /// http: a body written here; may hold the same as the path.
    #[schemars(default, with = "String")]
    pub(in crate::scenario) body: Maybe<String>,
    /// http: what a correct answer looks like. Default: any status of 200 to 299.
    #[schemars(default, with = "Expect")]
    pub(in crate::scenario) expect: Option<Expect>,
    /// http: values for later requests of a journey: a name, and a JSON pointer into the answer.
    #[schemars(default, rename = "capture", with = "BTreeMap<String, String>")]
    pub(in crate::scenario) captures: Vec<(String, Located<String>)>,
    /// kserve, openai, generate: the model. http: the model under which the server's statistics count it, if any.
    #[schemars(default, with = "String")]
    pub(in crate::scenario) model: Maybe<String>,
    /// kserve, generate: the model's version. Default: the server's choice.
    #[schemars(default, with = "String", example = &"1")]
    pub(in crate::scenario) version: Maybe<String>,
    /// kserve: the input tensors.
    #[schemars(default)]
    pub(in crate::scenario) inputs: Vec<Input>,
    /// kserve: outputs that must be in the answer. Default: any.
    #[schemars(default, with = "Vec<String>")]
    pub(in crate::scenario) outputs: Vec<Located<String>>,
    /// openai, generate: the prompt; the same may stand in it as in a path of http. Instead: `prompt_words`, or `files`.
    /// payload = "unique" has it begin with digits of its own, so that no prefix cache answers.
    #[schemars(default, with = "String", example = &"Tell me about the sea.")]
    pub(in crate::scenario) prompt: Maybe<String>,
    /// openai, generate: makes a prompt of so many common English words; most tokenizers make 1.3 tokens of each.
    #[schemars(default, with = "u32", range(min = 1, max = 1_000_000))]
    pub(in crate::scenario) prompt_words: Maybe<i64>,
    /// openai-chat: the system message, the same in every request.
    #[schemars(default, with = "String")]
    pub(in crate::scenario) system: Maybe<String>,
    /// openai, generate: the most tokens of an answer. Default: the server's choice.
    #[schemars(default, with = "u32", range(min = 1))]
    pub(in crate::scenario) max_tokens: Maybe<i64>,
    /// openai: whether the answer comes as a stream, which tells when its tokens came. Default: true.
    #[schemars(default, with = "bool")]
    pub(in crate::scenario) stream: Maybe<bool>,
    /// openai: more keys of the request's body, such as temperature. generate: its `parameters`.
    #[schemars(default, with = "BTreeMap<String, serde_json::Value>")]
    pub(in crate::scenario) parameters: Maybe<Value>,
    /// A service level of its own.
    #[schemars(default, with = "Slo")]
    pub(in crate::scenario) slo: Option<Slo>,
}

/// Requests that a user makes one after the other, with think time between. A failed request ends the journey.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Journey {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// Tells the journey apart.
    #[schemars(with = "String")]
    pub(in crate::scenario) name: Maybe<String>,
    /// How often it is begun, relative to other journeys and to entries that state a weight. Default: 1.
    #[schemars(default, with = "f64", range(min = 0.0))]
    pub(in crate::scenario) weight: Maybe<f64>,
    /// Names of entries of the mix, in order.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(in crate::scenario) requests: Vec<Located<String>>,
}

/// The set of contents that requests repeat.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Zipf {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// Size of the set. Default: 1000.
    #[schemars(default, with = "u32", range(min = 1, max = 1_000_000))]
    pub(in crate::scenario) items: Maybe<i64>,
    /// 0: all alike popular; 1: the classic law; 10: nearly always the first. Default: 1.
    #[schemars(default, with = "f64", range(min = 0.0, max = 10.0))]
    pub(in crate::scenario) exponent: Maybe<f64>,
}

/// What a correct answer to plain HTTP looks like.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Expect {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// The status. Default: any of 200 to 299.
    #[schemars(default, with = "u16", range(min = 200, max = 299))]
    pub(in crate::scenario) status: Maybe<i64>,
    /// The least length of the body. Default: 0.
    #[schemars(default, with = "Size")]
    pub(in crate::scenario) min_bytes: Maybe<u64>,
    /// What the content type starts with.
    #[schemars(default, with = "String", example = &"model/stl")]
    pub(in crate::scenario) content_type: Maybe<String>,
}

/// An input tensor.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Input {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// Its name in the model.
    #[schemars(with = "String")]
    pub(in crate::scenario) name: Maybe<String>,
    /// Its type.
    #[schemars(with = "String", extend("enum" = datatypes()))]
    pub(in crate::scenario) datatype: Maybe<String>,
    /// Its shape, with the batch dimension if the model has one.
    #[schemars(with = "Vec<u64>", example = [1, 16])]
    pub(in crate::scenario) shape: Maybe<Vec<i64>>,
    /// What is in it. Default: random, by the seed.
    #[schemars(default, with = "String", extend("enum" = words(&DATA)))]
    pub(in crate::scenario) data: Maybe<DataSpec>,
}

pub(super) fn mix(table: &Table<'_>) -> Mix {
    let mix = Mix {
        here: table.here(),
        name: table.string("name"),
        weight: table.number("weight"),
        protocol: table.choice("protocol", &PROTOCOLS),
        payload: table.choice("payload", &POLICIES),
        zipf: table.table("zipf").map(|t| zipf(&t)),
        method: table.string("method"),
        path: table.string("path"),
        headers: table.table("headers").map(|t| t.all_strings()).unwrap_or_default(),
        files: table.strings("files"),
        body: table.string("body"),
        expect: table.table("expect").map(|t| expect(&t)),
        captures: table.table("capture").map(|t| t.all_strings()).unwrap_or_default(),
        model: table.string("model"),
        version: table.string("version"),
        inputs: table.tables("inputs").iter().map(input).collect(),
        outputs: table.strings("outputs"),
        prompt: table.string("prompt"),
        prompt_words: table.integer("prompt_words"),
        system: table.string("system"),
        max_tokens: table.integer("max_tokens"),
        stream: table.boolean("stream"),
        parameters: table.raw("parameters"),
        slo: table.table("slo").map(|t| super::slo(&t)),
    };
    table.finish();
    mix
}

pub(super) fn journey(table: &Table<'_>) -> Journey {
    let journey = Journey {
        here: table.here(),
        name: table.string("name"),
        weight: table.number("weight"),
        requests: table.strings("requests"),
    };
    table.finish();
    journey
}

fn zipf(table: &Table<'_>) -> Zipf {
    let zipf = Zipf { here: table.here(), items: table.integer("items"), exponent: table.number("exponent") };
    table.finish();
    zipf
}

fn expect(table: &Table<'_>) -> Expect {
    let expect = Expect {
        here: table.here(),
        status: table.integer("status"),
        min_bytes: table.quantity("min_bytes", parse_bytes),
        content_type: table.string("content_type"),
    };
    table.finish();
    expect
}

fn input(table: &Table<'_>) -> Input {
    let input = Input {
        here: table.here(),
        name: table.string("name"),
        datatype: table.string("datatype"),
        shape: table.integers("shape"),
        data: table.choice("data", &DATA),
    };
    table.finish();
    input
}
