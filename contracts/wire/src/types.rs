//! Metadata, statistics and the repository index in their JSON forms, with Triton's field names, and the
//! conversions to their gRPC forms. Absent fields read as empty, because servers differ in what they send.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::grpc::inference as pb;

/// Answer of `GET v2`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerMetadata {
    /// Name of the server software.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Extensions of the protocol that it speaks.
    pub extensions: Vec<String>,
}

/// Answer of `GET v2/models/{model}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelMetadata {
    /// Name of the model.
    pub name: String,
    /// Versions that can be asked for.
    pub versions: Vec<String>,
    /// What computes it.
    pub platform: String,
    /// What it takes.
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    pub outputs: Vec<TensorMetadata>,
}

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// Its type, as the protocol calls it.
    pub datatype: String,
    /// Its shape with the batch dimension, if there is one; -1 stands for any size.
    pub shape: Vec<i64>,
}

/// Answer of `GET v2/models/stats` and `GET v2/models/{model}/stats`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatisticsResponse {
    /// One entry per model and version.
    pub model_stats: Vec<ModelStatistics>,
}

/// What one version of a model has done since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelStatistics {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it was last asked, in milliseconds since the Unix epoch; 0 for never.
    pub last_inference: u64,
    /// Elements of batches, cache hits excluded.
    pub inference_count: u64,
    /// Executions, each of one batch, cache hits excluded.
    pub execution_count: u64,
    /// Counts and times of requests.
    pub inference_stats: InferStatistics,
    /// Counts and times of the responses of decoupled models, by their number within their request, from "0".
    pub response_stats: BTreeMap<String, ResponseStatistics>,
    /// Counts and times of executions by batch size.
    pub batch_stats: Vec<BatchStatistics>,
    /// Memory that the model holds.
    pub memory_usage: Vec<MemoryUsage>,
}

/// Counts and times of requests. `success` and `queue` include cache hits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InferStatistics {
    /// Requests answered, and their whole time.
    pub success: StatisticDuration,
    /// Requests that failed, and their whole time.
    pub fail: StatisticDuration,
    /// Waiting in the queue.
    pub queue: StatisticDuration,
    /// Making the inputs ready.
    pub compute_input: StatisticDuration,
    /// Computing.
    pub compute_infer: StatisticDuration,
    /// Making the outputs ready.
    pub compute_output: StatisticDuration,
    /// Answers found in the cache.
    pub cache_hit: StatisticDuration,
    /// Answers looked for in the cache and not found.
    pub cache_miss: StatisticDuration,
}

/// Counts and times of responses that have the same number within their requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResponseStatistics {
    /// Computing.
    pub compute_infer: StatisticDuration,
    /// Making the outputs ready.
    pub compute_output: StatisticDuration,
    /// Responses that were given.
    pub success: StatisticDuration,
    /// Responses that could not be given.
    pub fail: StatisticDuration,
    /// Responses without outputs, which say that there are no more.
    pub empty_response: StatisticDuration,
    /// Responses that were never made, because the client went away.
    pub cancel: StatisticDuration,
}

/// How often something happened, and how long it took altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatisticDuration {
    /// How often.
    pub count: u64,
    /// How long altogether, in nanoseconds.
    pub ns: u64,
}

/// Counts and times of executions of one batch size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BatchStatistics {
    /// Elements in the batch.
    pub batch_size: u64,
    /// Making the inputs ready.
    pub compute_input: StatisticDuration,
    /// Computing.
    pub compute_infer: StatisticDuration,
    /// Making the outputs ready.
    pub compute_output: StatisticDuration,
}

/// Memory of one kind on one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MemoryUsage {
    /// `CPU`, `CPU_PINNED` or `GPU`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of the device.
    pub id: i64,
    /// How much.
    pub byte_size: u64,
}

/// Body of `POST v2/repository/index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RepositoryIndexRequest {
    /// Only models that are ready.
    pub ready: bool,
}

/// One entry of the answer of `POST v2/repository/index`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RepositoryIndexEntry {
    /// Name of the model.
    pub name: String,
    /// Its version; empty when none could be loaded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `READY`, `UNAVAILABLE`, `LOADING`, `UNLOADING` or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Why it is in that state; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What was wrong, for a human.
    pub error: String,
}

impl From<ServerMetadata> for pb::ServerMetadataResponse {
    fn from(from: ServerMetadata) -> Self {
        Self { name: from.name, version: from.version, extensions: from.extensions }
    }
}

impl From<ModelMetadata> for pb::ModelMetadataResponse {
    fn from(from: ModelMetadata) -> Self {
        Self {
            name: from.name,
            versions: from.versions,
            platform: from.platform,
            inputs: from.inputs.into_iter().map(Into::into).collect(),
            outputs: from.outputs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<TensorMetadata> for pb::model_metadata_response::TensorMetadata {
    fn from(from: TensorMetadata) -> Self {
        Self { name: from.name, datatype: from.datatype, shape: from.shape }
    }
}

impl From<pb::ModelMetadataResponse> for ModelMetadata {
    fn from(from: pb::ModelMetadataResponse) -> Self {
        Self {
            name: from.name,
            versions: from.versions,
            platform: from.platform,
            inputs: from.inputs.into_iter().map(Into::into).collect(),
            outputs: from.outputs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::model_metadata_response::TensorMetadata> for TensorMetadata {
    fn from(from: pb::model_metadata_response::TensorMetadata) -> Self {
        Self { name: from.name, datatype: from.datatype, shape: from.shape }
    }
}

impl From<StatisticsResponse> for pb::ModelStatisticsResponse {
    fn from(from: StatisticsResponse) -> Self {
        Self { model_stats: from.model_stats.into_iter().map(Into::into).collect() }
    }
}

impl From<ModelStatistics> for pb::ModelStatistics {
    fn from(from: ModelStatistics) -> Self {
        Self {
            name: from.name,
            version: from.version,
            last_inference: from.last_inference,
            inference_count: from.inference_count,
            execution_count: from.execution_count,
            inference_stats: Some(from.inference_stats.into()),
            batch_stats: from.batch_stats.into_iter().map(Into::into).collect(),
            memory_usage: from.memory_usage.into_iter().map(Into::into).collect(),
            response_stats: from.response_stats.into_iter().map(|(key, stats)| (key, stats.into())).collect(),
        }
    }
}

impl From<InferStatistics> for pb::InferStatistics {
    fn from(from: InferStatistics) -> Self {
        Self {
            success: Some(from.success.into()),
            fail: Some(from.fail.into()),
            queue: Some(from.queue.into()),
            compute_input: Some(from.compute_input.into()),
            compute_infer: Some(from.compute_infer.into()),
            compute_output: Some(from.compute_output.into()),
            cache_hit: Some(from.cache_hit.into()),
            cache_miss: Some(from.cache_miss.into()),
        }
    }
}

impl From<ResponseStatistics> for pb::InferResponseStatistics {
    fn from(from: ResponseStatistics) -> Self {
        Self {
            compute_infer: Some(from.compute_infer.into()),
            compute_output: Some(from.compute_output.into()),
            success: Some(from.success.into()),
            fail: Some(from.fail.into()),
            empty_response: Some(from.empty_response.into()),
            cancel: Some(from.cancel.into()),
        }
    }
}

impl From<StatisticDuration> for pb::StatisticDuration {
    fn from(from: StatisticDuration) -> Self {
        Self { count: from.count, ns: from.ns }
    }
}

impl From<BatchStatistics> for pb::InferBatchStatistics {
    fn from(from: BatchStatistics) -> Self {
        Self {
            batch_size: from.batch_size,
            compute_input: Some(from.compute_input.into()),
            compute_infer: Some(from.compute_infer.into()),
            compute_output: Some(from.compute_output.into()),
        }
    }
}

impl From<MemoryUsage> for pb::MemoryUsage {
    fn from(from: MemoryUsage) -> Self {
        Self { r#type: from.kind, id: from.id, byte_size: from.byte_size }
    }
}

impl From<RepositoryIndexEntry> for pb::repository_index_response::ModelIndex {
    fn from(from: RepositoryIndexEntry) -> Self {
        Self { name: from.name, version: from.version, state: from.state, reason: from.reason }
    }
}
