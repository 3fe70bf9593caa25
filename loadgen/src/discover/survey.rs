//! Finding out what a target speaks and what to ask it for, for somebody who knows little more than its URL.

use super::{Access, AccessError, Kserve, call};
use crate::scenario::Protocol;
use crate::transport::{Address, AddressError, HttpVersion, probe};
use crate::watch::FetchError;
use proofload_wire::types::{ModelMetadata, ServerMetadata};

/// What somebody knows, and wants to know the rest.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Base URL of the target, HTTP or gRPC.
    pub url: String,
    /// Base URL of its gRPC side, if that is another.
    pub grpc_url: Option<String>,
    /// The model; needed only where the target has several.
    pub model: Option<String>,
    /// The protocol; the target's best when not stated.
    pub protocol: Option<Protocol>,
    /// Headers, and what TLS needs.
    pub access: Access,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Base URL of the HTTP side, if it has one.
    pub http_url: Option<String>,
    /// Base URL of the gRPC side, where it is known.
    pub grpc_url: Option<String>,
    /// Name and version of the server; empty where it does not say.
    pub server: String,
    /// The protocol to use.
    pub protocol: Protocol,
    /// What may be asked of it.
    pub tells: Tells,
}

/// What a target says of what may be asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tells {
    /// A model's inputs.
    Inputs(ModelMetadata),
    /// The name of a model that makes text.
    Text(String),
    /// Nothing: plain HTTP.
    Nothing,
}

/// Why a target could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The URL.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The headers, or what TLS needs.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nobody is there.
    #[error("{url} does not accept connections: {why}; start it, or name another target")]
    Unreachable {
        /// The URL.
        url: String,
        /// The system's words.
        why: String,
    },
    /// Somebody is there and speaks neither HTTP nor gRPC.
    #[error("{url} answers neither HTTP ({http}) nor gRPC ({grpc}); name the base URL of an inference server")]
    Mute {
        /// The URL.
        url: String,
        /// What came of HTTP.
        http: String,
        /// What came of gRPC.
        grpc: String,
    },
    /// The target does not speak what was asked for.
    #[error("{url} does not speak {protocol}: {why}; {remedy}")]
    Protocol {
        /// The URL.
        url: String,
        /// The scenario's word.
        protocol: &'static str,
        /// What came instead.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The target has several models.
    #[error("the target has {} models; say which with --model:\n  {}", .0.len(), .0.join("\n  "))]
    SeveralModels(Vec<String>),
    /// The target has none, or does not list them.
    #[error("the target {0}; name a model with --model")]
    NoModels(String),
    /// The model.
    #[error("model `{model}`: {why}; the target has: {known}")]
    Model {
        /// Its name.
        model: String,
        /// What came of asking.
        why: FetchError,
        /// The models that there are.
        known: String,
    },
}

/// What a URL turned out to be.
enum Side {
    Kserve(Box<Kserve>, ServerMetadata),
    OpenAi(Vec<String>),
    Plain,
}

/// Asks a target what it is and what it takes.
///
/// # Errors
/// When it cannot be reached, does not speak what was asked for, or somebody has to choose a model first.
pub async fn survey(question: &Question) -> Result<Survey, SurveyError> {
    question.access.check([&question.url].into_iter().chain(&question.grpc_url).map(String::as_str))?;
    let side = identify(&question.url, &question.access).await?;
    let is_grpc = matches!(&side, Side::Kserve(kserve, _) if matches!(**kserve, Kserve::Grpc(_)));
    let server = match &side {
        Side::Kserve(_, said) => format!("{} {}", said.name, said.version).trim_end().to_owned(),
        Side::OpenAi(_) | Side::Plain => String::new(),
    };
    let protocol = question.protocol.unwrap_or(match side {
        Side::Kserve(..) if is_grpc => Protocol::KserveGrpc,
        Side::Kserve(..) => Protocol::KserveHttpBinary,
        Side::OpenAi(_) => Protocol::OpenAiChat,
        Side::Plain => Protocol::Http,
    });
    let grpc_url = question.grpc_url.clone().or_else(|| is_grpc.then(|| question.url.clone()));
    check_sides(question, protocol, is_grpc, grpc_url.is_some())?;
    let tells = match protocol {
        Protocol::Http => Tells::Nothing,
        Protocol::OpenAiChat | Protocol::OpenAiCompletions => Tells::Text(text_model(question, &side)?),
        Protocol::Generate | Protocol::GenerateStream => match &side {
            Side::Kserve(kserve, _) => Tells::Text(model(question, kserve).await?),
            Side::OpenAi(_) | Side::Plain => return Err(no_kserve(question, protocol)),
        },
        _ => match &side {
            Side::Kserve(kserve, _) => Tells::Inputs(metadata(question, kserve).await?),
            // Its HTTP side may be something else altogether, such as metrics.
            Side::OpenAi(_) | Side::Plain => {
                Tells::Inputs(metadata(question, &grpc_side(question, protocol).await?).await?)
            }
        },
    };
    Ok(Survey { http_url: (!is_grpc).then(|| question.url.clone()), grpc_url, server, protocol, tells })
}

/// Whether the sides are known that the protocol needs.
fn check_sides(question: &Question, protocol: Protocol, is_grpc: bool, has_grpc: bool) -> Result<(), SurveyError> {
    let refuse = |why: &str, remedy| {
        let (url, protocol) = (question.url.clone(), protocol.as_str());
        Err(SurveyError::Protocol { url, protocol, why: why.to_owned(), remedy })
    };
    match (protocol.is_grpc(), is_grpc, has_grpc) {
        (true, _, false) => refuse("it is the HTTP side", "say where its gRPC side is with --grpc-target URL"),
        (false, true, _) => refuse("it is the gRPC side", "name the HTTP side with --target, or leave --protocol out"),
        _ => Ok(()),
    }
}

async fn identify(url: &str, access: &Access) -> Result<Side, SurveyError> {
    let at = access.reach(url, HttpVersion::Http1).await?;
    probe(&at).await.map_err(|why| SurveyError::Unreachable { url: url.to_owned(), why: why.to_string() })?;
    let http = Kserve::Http(at.clone());
    let no_http = match http.server().await {
        Ok(said) => return Ok(Side::Kserve(Box::new(http), said)),
        Err(error) => error,
    };
    // A gRPC server may answer plain HTTP too, to say that it is none.
    let is_http = matches!(no_http, FetchError::Status(_) | FetchError::Form(_));
    if let (true, Some(models)) = (is_http, open_ai_models(&at).await) {
        return Ok(Side::OpenAi(models));
    }
    let grpc = Kserve::Grpc(access.reach(url, HttpVersion::Http2).await?);
    match grpc.server().await {
        Ok(said) => Ok(Side::Kserve(Box::new(grpc), said)),
        Err(_) if is_http => Ok(Side::Plain),
        Err(no_grpc) => {
            Err(SurveyError::Mute { url: url.to_owned(), http: no_http.to_string(), grpc: no_grpc.to_string() })
        }
    }
}

/// The models of a server that speaks OpenAI's protocol; `None` for any other.
async fn open_ai_models(at: &Address) -> Option<Vec<String>> {
    let said: serde_json::Value = super::json(&call::get(at, "/v1/models").await.ok()?).ok()?;
    let models = said.get("data")?.as_array()?.iter();
    Some(models.filter_map(|model| model.get("id")?.as_str().map(str::to_owned)).collect())
}

async fn grpc_side(question: &Question, protocol: Protocol) -> Result<Kserve, SurveyError> {
    let Some(url) = question.grpc_url.as_ref().filter(|_| protocol.is_grpc()) else {
        return Err(no_kserve(question, protocol));
    };
    Ok(Kserve::Grpc(question.access.reach(url, HttpVersion::Http2).await?))
}

fn no_kserve(question: &Question, protocol: Protocol) -> SurveyError {
    SurveyError::Protocol {
        url: question.url.clone(),
        protocol: protocol.as_str(),
        why: "GET /v2 is not answered as KServe v2 says".to_owned(),
        remedy: "name a KServe server, or another --protocol",
    }
}

fn text_model(question: &Question, side: &Side) -> Result<String, SurveyError> {
    match (&question.model, side) {
        (Some(model), _) => Ok(model.clone()),
        (None, Side::OpenAi(models)) => only(models.clone()),
        (None, _) => Err(SurveyError::NoModels("does not list its models at /v1/models".to_owned())),
    }
}

async fn model(question: &Question, kserve: &Kserve) -> Result<String, SurveyError> {
    if let Some(model) = &question.model {
        return Ok(model.clone());
    }
    let models = kserve.models().await;
    only(models.map_err(|why| SurveyError::NoModels(format!("does not list its models ({why})")))?)
}

fn only(mut models: Vec<String>) -> Result<String, SurveyError> {
    match models.len() {
        0 => Err(SurveyError::NoModels("has no model that is ready".to_owned())),
        1 => Ok(models.remove(0)),
        _ => Err(SurveyError::SeveralModels(models)),
    }
}

async fn metadata(question: &Question, kserve: &Kserve) -> Result<ModelMetadata, SurveyError> {
    let model = model(question, kserve).await?;
    match kserve.metadata(&model, None).await {
        // Some servers leave the name out of what they were asked by name.
        Ok(said) => Ok(ModelMetadata { name: model, ..said }),
        Err(why) => {
            let known = kserve.models().await.unwrap_or_default();
            let known = if known.is_empty() { "none that it lists".to_owned() } else { known.join(", ") };
            Err(SurveyError::Model { model, why, known })
        }
    }
}
