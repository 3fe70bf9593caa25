//! The model repository: what is there, loading and unloading.

use http::HeaderMap;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::model_repository_parameter::ParameterChoice;

use crate::engine::ServeError;
use crate::front::FrontState;
use crate::lifecycle::{Parameter, given};

/// What the repositories hold.
pub(super) async fn index(
    state: &FrontState,
    request: &pb::RepositoryIndexRequest,
) -> Result<pb::RepositoryIndexResponse, ServeError> {
    any_repository(&request.repository_name)?;
    let index = state.engine.repository_index(request.ready).await?;
    Ok(pb::RepositoryIndexResponse { models: index.into_iter().map(Into::into).collect() })
}

/// Loads a model.
pub(super) async fn load(
    state: &FrontState,
    metadata: &HeaderMap,
    request: pb::RepositoryModelLoadRequest,
) -> Result<pb::RepositoryModelLoadResponse, ServeError> {
    state.admin.permit(metadata)?;
    any_repository(&request.repository_name)?;
    let parameters = request.parameters.into_iter().map(|(name, value)| (name, parameter(value)));
    let given = given(parameters).map_err(ServeError::InvalidArgument)?;
    state.engine.load_model(request.model_name, given).await?;
    Ok(pb::RepositoryModelLoadResponse {})
}

/// Unloads a model.
pub(super) async fn unload(
    state: &FrontState,
    metadata: &HeaderMap,
    request: pb::RepositoryModelUnloadRequest,
) -> Result<pb::RepositoryModelUnloadResponse, ServeError> {
    state.admin.permit(metadata)?;
    any_repository(&request.repository_name)?;
    let dependents = match request.parameters.get("unload_dependents").map(|value| &value.parameter_choice) {
        None => false,
        Some(Some(ParameterChoice::BoolParam(dependents))) => *dependents,
        Some(_) => return Err(ServeError::InvalidArgument("`unload_dependents` must be true or false".to_owned())),
    };
    state.engine.unload_model(request.model_name, dependents).await?;
    Ok(pb::RepositoryModelUnloadResponse {})
}

/// Triton refuses to be told which repository is meant, in these words.
fn any_repository(name: &str) -> Result<(), ServeError> {
    if name.is_empty() {
        return Ok(());
    }
    Err(ServeError::Unsupported("'repository_name' specification is not supported".to_owned()))
}

fn parameter(value: pb::ModelRepositoryParameter) -> Parameter {
    match value.parameter_choice {
        Some(ParameterChoice::StringParam(text)) => Parameter::Text(text),
        Some(ParameterChoice::BytesParam(bytes)) => Parameter::Bytes(bytes.into()),
        _ => Parameter::Other,
    }
}
