//! What a target is, which models it has and what these take: asked of the target itself, over HTTP or gRPC, before a
//! run or instead of one. It sends no load.

mod access;
mod call;
mod fit;
mod survey;

use proofload_wire::grpc::inference as pb;
use proofload_wire::types::{ModelMetadata, RepositoryIndexEntry, ServerMetadata};
use serde::de::DeserializeOwned;

use crate::transport::Address;
use crate::watch::FetchError;

pub use access::{Access, AccessError};
pub use fit::mismatches;
pub use survey::{Question, Survey, SurveyError, Tells, survey};

/// State of a model that answers; servers without states leave it empty.
const READY: &str = "READY";

/// A side of a target that speaks KServe v2.
#[derive(Debug, Clone)]
pub enum Kserve {
    /// Over HTTP.
    Http(Address),
    /// Over gRPC.
    Grpc(Address),
}

impl Kserve {
    /// What the server says of itself.
    ///
    /// # Errors
    /// When it does not answer, or does not speak KServe.
    pub async fn server(&self) -> Result<ServerMetadata, FetchError> {
        let said = match self {
            Self::Http(at) => json::<ServerMetadata>(&call::get(at, "/v2").await?)?,
            Self::Grpc(at) => {
                let said: pb::ServerMetadataResponse =
                    call::grpc(at, "ServerMetadata", pb::ServerMetadataRequest {}).await?;
                ServerMetadata { name: said.name, version: said.version, extensions: said.extensions }
            }
        };
        // A page that is JSON by chance has no name.
        if said.name.is_empty() { Err(FetchError::Form("no name of a server".to_owned())) } else { Ok(said) }
    }

    /// The models that are ready, each once, in order.
    ///
    /// # Errors
    /// When the server does not say; not every KServe server has a repository index.
    pub async fn models(&self) -> Result<Vec<String>, FetchError> {
        let index: Vec<RepositoryIndexEntry> = match self {
            Self::Http(at) => json(&call::post(at, "/v2/repository/index", "{}").await?)?,
            Self::Grpc(at) => {
                let question = pb::RepositoryIndexRequest::default();
                let said: pb::RepositoryIndexResponse = call::grpc(at, "RepositoryIndex", question).await?;
                said.models.into_iter().map(entry).collect()
            }
        };
        Ok(ready(index))
    }

    /// What a model takes and gives.
    ///
    /// # Errors
    /// When there is no such model, or the server does not say.
    pub async fn metadata(&self, model: &str, version: Option<&str>) -> Result<ModelMetadata, FetchError> {
        match self {
            Self::Http(at) => {
                let version = version.map(|version| format!("/versions/{version}")).unwrap_or_default();
                json(&call::get(at, &format!("/v2/models/{model}{version}")).await?)
            }
            Self::Grpc(at) => {
                let question = pb::ModelMetadataRequest {
                    name: model.to_owned(),
                    version: version.unwrap_or_default().to_owned(),
                };
                let said: pb::ModelMetadataResponse = call::grpc(at, "ModelMetadata", question).await?;
                Ok(said.into())
            }
        }
    }
}

fn entry(of: pb::repository_index_response::ModelIndex) -> RepositoryIndexEntry {
    RepositoryIndexEntry { name: of.name, version: of.version, state: of.state, reason: of.reason }
}

/// Names of the models that are ready; of all where the server states nobody's state.
fn ready(index: Vec<RepositoryIndexEntry>) -> Vec<String> {
    let stateless = index.iter().all(|entry| entry.state.is_empty());
    let is_ready = |entry: &RepositoryIndexEntry| stateless || entry.state == READY;
    let mut names: Vec<String> = index.into_iter().filter(is_ready).map(|entry| entry.name).collect();
    names.sort();
    names.dedup();
    names
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, FetchError> {
    serde_json::from_slice(body).map_err(|e| FetchError::Form(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_models_that_are_ready_are_offered() {
        let check = |index: &[(&str, &str)], expected: &[&str]| {
            let entry = |(name, state): &(&str, &str)| RepositoryIndexEntry {
                name: (*name).to_owned(),
                state: (*state).to_owned(),
                ..RepositoryIndexEntry::default()
            };
            assert_eq!(ready(index.iter().map(entry).collect()), expected, "{index:?}");
        };
        check(&[], &[]);
        check(&[("b", "READY"), ("a", "READY"), ("b", "READY")], &["a", "b"]);
        check(&[("a", "UNAVAILABLE"), ("b", "READY"), ("c", "")], &["b"]);
        check(&[("a", "UNAVAILABLE")], &[]);
        check(&[("b", ""), ("a", "")], &["a", "b"]);
    }
}
