//! Every metric name of the daemon, with its unit and its meaning, in one place. The names starting with `nv_` are
//! Triton's, so that dashboards made for it keep working.

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, without the suffixes that the exposition format adds.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
}

const fn metric(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help }
}

/// Histogram by model, version and phase.
pub const PHASE_SECONDS: Metric =
    metric("proofload_phase_seconds", "Time of a request in one phase: queue, copy_in, compute or copy_out");
/// Histogram by model and version.
pub const REQUEST_SECONDS: Metric =
    metric("proofload_request_seconds", "Time from a request being decoded to its response being ready to encode");
/// Histogram by model and version.
pub const BATCH_ELEMENTS: Metric = metric("proofload_batch_elements", "Batch elements computed together");
/// Counter by model, version and outcome.
pub const REQUESTS: Metric = metric("proofload_requests", "Requests by what became of them");
/// Counter by outcome.
pub const RELIEF_REQUESTS: Metric = metric("proofload_relief_requests", "Relief requests by what became of them");
/// Counter by stage.
pub const RELIEF_STAGES: Metric = metric("proofload_relief_stages", "Stages of progressive reliefs that were computed");
/// Histogram by phase.
pub const RELIEF_PHASE_SECONDS: Metric = metric(
    "proofload_relief_phase_seconds",
    "Time of a whole relief request, decoding and mesh included, in one phase",
);
/// Histogram by step.
pub const RELIEF_STEP_SECONDS: Metric = metric(
    "proofload_relief_step_seconds",
    "Time of a step of a relief request, without waiting: upload, height, emit and download are a GPU's",
);
/// Counter by kind and outcome.
pub const JOBS: Metric = metric("proofload_jobs", "Jobs that have ended, by what became of them");
/// Counter.
pub const JOBS_REFUSED: Metric = metric("proofload_jobs_refused", "Jobs that were not taken for want of room");
/// Histogram by kind.
pub const JOB_WAIT_SECONDS: Metric = metric("proofload_job_wait_seconds", "Time from a job being taken to its begin");
/// Histogram by kind.
pub const JOB_RUN_SECONDS: Metric =
    metric("proofload_job_run_seconds", "Time from a job's begin to its end, unless it was cancelled");
/// Gauge.
pub const JOBS_QUEUED: Metric = metric("proofload_jobs_queued", "Jobs that wait");
/// Gauge.
pub const JOBS_RUNNING: Metric = metric("proofload_jobs_running", "Jobs that run");
/// Gauge, bytes.
pub const JOB_RESULT_BYTES: Metric =
    metric("proofload_job_result_bytes", "Memory of the results that are kept, of jobs.result_bytes");
/// Gauge by model and version.
pub const QUEUE_REQUESTS: Metric = metric("proofload_queue_requests", "Requests waiting for an instance");
/// Gauge by model, version and phase; seconds.
pub const LOAD_SECONDS: Metric =
    metric("proofload_load_seconds", "Time that loading a model took, in one phase: read, start or warm_up");
/// Gauge by model, version and engine; always 1.
pub const MODEL_INFO: Metric = metric(
    "proofload_model_info",
    "What computes a model: cuda, onnxruntime, rten, simulated, identity or ensemble (other models)",
);
/// Gauge by model and version.
pub const INSTANCES: Metric = metric("proofload_instances", "Instances that serve side by side");
/// Gauge by model and version, of models whose batches adapt.
pub const ADAPTIVE_BATCH: Metric =
    metric("proofload_adaptive_batch_elements", "The batch size that serves most by what batches have taken");
/// Counter by reason.
pub const GATE_REFUSED: Metric = metric(
    "proofload_gate_refused_requests",
    "Requests kept outside: no_key, wrong_key, address_rate, key_rate or quota",
);
/// Counter by the name of a key.
pub const KEY_REQUESTS: Metric = metric("proofload_key_requests", "Requests let in with each key");
/// Gauge by model and version, of models that have a limit.
pub const CONCURRENCY_LIMIT: Metric = metric("proofload_concurrency_limit", "Requests that a model may have at a time");
/// Gauge by model and version, of models that have a limit.
pub const CONCURRENCY_IN_FLIGHT: Metric =
    metric("proofload_concurrency_in_flight", "Requests that a model has, of its limit");
/// Counter by model and version, of models that have a limit.
pub const CONCURRENCY_SHED: Metric =
    metric("proofload_concurrency_shed_requests", "Requests turned away because their model had as many as it may");
/// Counter by model, version and instance.
pub const INSTANCE_EXECUTIONS: Metric = metric("proofload_instance_executions", "Executions of each instance");
/// Counter by model, version and instance.
pub const INSTANCE_ELEMENTS: Metric =
    metric("proofload_instance_elements", "Batch elements that each instance computed");
/// Counter by model, version and instance; seconds.
pub const INSTANCE_BUSY: Metric = metric("proofload_instance_busy_seconds", "Time that each instance executed");
/// Gauge.
pub const IN_FLIGHT: Metric = metric("proofload_in_flight_requests", "Requests accepted and not yet answered");
/// Gauge, bytes.
pub const HELD_BODY_BYTES: Metric =
    metric("proofload_held_body_bytes", "Memory that the bodies of requests take, of server.total_body_bytes");
/// Counter.
pub const DROPPED_TRACES: Metric =
    metric("proofload_dropped_traces", "Traces not exported: the collector could not keep up, or did not take them");
/// Counter by reason.
pub const CONNECTIONS_CUT: Metric =
    metric("proofload_connections_cut", "Connections that were cut off or turned away: too slow, or too many");

/// Counter by layer.
pub const CACHE_HITS: Metric =
    metric("proofload_cache_hits", "Answers that were not computed, by where they were found: l1, l2 or coalesced");
/// Counter.
pub const CACHE_MISSES: Metric =
    metric("proofload_cache_misses", "Answers that were looked for and had to be computed");
/// Counter, seconds.
pub const CACHE_SAVED_SECONDS: Metric =
    metric("proofload_cache_saved_compute_seconds", "What computing all the hits would have taken");
/// Histogram by layer and operation.
pub const CACHE_OPERATION_SECONDS: Metric =
    metric("proofload_cache_operation_seconds", "Time of one operation on a layer: get or put");
/// Gauge.
pub const CACHE_ENTRIES: Metric = metric("proofload_cache_entries", "Answers that are kept in this process");
/// Gauge, bytes.
pub const CACHE_BYTES: Metric = metric("proofload_cache_bytes", "Memory of the answers that are kept in this process");
/// Counter.
pub const CACHE_EVICTIONS: Metric =
    metric("proofload_cache_evictions", "Kept answers that went for want of room, or because their time was over");
/// Counter by outcome.
pub const CACHE_WRITES: Metric = metric(
    "proofload_cache_writes",
    "Answers that were to be kept in Redis: written, or dropped for want of room or of a node",
);
/// Counter.
pub const CACHE_POISONED: Metric =
    metric("proofload_cache_poisoned", "Values in Redis that were not what had been kept, and were not used");
/// Gauge, bytes.
pub const CACHE_QUEUED_BYTES: Metric =
    metric("proofload_cache_queued_bytes", "Answers that wait to be written to Redis");
/// Gauge by node.
pub const CACHE_NODE_UP: Metric = metric("proofload_cache_node_up", "Whether a node of Redis is asked: 1 or 0");
/// Gauge by node.
pub const CACHE_NODE_SHARE: Metric =
    metric("proofload_cache_node_key_share", "Share of all keys that a node of Redis has while all are up, 0 to 1");

/// Counter, seconds.
pub const PROCESS_CPU: Metric = metric("process_cpu_seconds", "User and system CPU time");
/// Gauge, bytes.
pub const PROCESS_RSS: Metric = metric("process_resident_memory_bytes", "Resident memory");
/// Gauge.
pub const PROCESS_THREADS: Metric = metric("process_threads", "Operating system threads");
/// Gauge.
pub const PROCESS_FDS: Metric = metric("process_open_fds", "Open file descriptors");

/// Triton: requests.
pub const NV_SUCCESS: Metric = metric("nv_inference_request_success", "Number of successful inference requests");
/// Triton: requests by reason.
pub const NV_FAILURE: Metric = metric("nv_inference_request_failure", "Number of failed inference requests");
/// Triton: batch elements.
pub const NV_COUNT: Metric = metric("nv_inference_count", "Number of inferences performed (batch elements)");
/// Triton: executions.
pub const NV_EXEC_COUNT: Metric = metric("nv_inference_exec_count", "Number of model executions performed");
/// Triton: requests that wait.
pub const NV_PENDING: Metric =
    metric("nv_inference_pending_request_count", "Number of requests awaiting execution by a backend");
/// Triton: microseconds.
pub const NV_REQUEST_US: Metric =
    metric("nv_inference_request_duration_us", "Cumulative end-to-end request time (microseconds)");
/// Triton: microseconds.
pub const NV_QUEUE_US: Metric = metric("nv_inference_queue_duration_us", "Cumulative queuing time (microseconds)");
/// Triton: microseconds.
pub const NV_INPUT_US: Metric =
    metric("nv_inference_compute_input_duration_us", "Cumulative compute input time (microseconds)");
/// Triton: microseconds.
pub const NV_INFER_US: Metric =
    metric("nv_inference_compute_infer_duration_us", "Cumulative compute inference time (microseconds)");
/// Triton: microseconds.
pub const NV_OUTPUT_US: Metric =
    metric("nv_inference_compute_output_duration_us", "Cumulative compute output time (microseconds)");

/// Triton: answers found in the cache.
pub const NV_CACHE_HITS: Metric = metric("nv_cache_num_hits_per_model", "Number of cache hits per model");
/// Triton: answers looked for in the cache and not found.
pub const NV_CACHE_MISSES: Metric = metric("nv_cache_num_misses_per_model", "Number of cache misses per model");
/// Triton: microseconds.
pub const NV_CACHE_HIT_US: Metric =
    metric("nv_cache_hit_duration_per_model", "Cumulative time of cache hits per model (microseconds)");
/// Triton: microseconds.
pub const NV_CACHE_MISS_US: Metric =
    metric("nv_cache_miss_duration_per_model", "Cumulative time of cache misses per model (microseconds)");

/// Triton, by `gpu_uuid`: 0 to 1.
pub const GPU_UTILIZATION: Metric = metric("nv_gpu_utilization", "GPU utilization (0.0 to 1.0)");
/// Triton, by `gpu_uuid`: bytes.
pub const GPU_MEMORY_TOTAL: Metric = metric("nv_gpu_memory_total_bytes", "GPU total memory (bytes)");
/// Triton, by `gpu_uuid`: bytes.
pub const GPU_MEMORY_USED: Metric = metric("nv_gpu_memory_used_bytes", "GPU used memory (bytes)");
/// Triton, by `gpu_uuid`: watts.
pub const GPU_POWER: Metric = metric("nv_gpu_power_usage", "GPU power usage (watts)");
/// Triton, by `gpu_uuid`: watts.
pub const GPU_POWER_LIMIT: Metric = metric("nv_gpu_power_limit", "GPU power management limit (watts)");
/// Triton, by `gpu_uuid`: joules.
pub const GPU_ENERGY: Metric =
    metric("nv_energy_consumption", "GPU energy consumption since the driver was loaded (joules)");
/// By `gpu_uuid`: degrees Celsius.
pub const GPU_TEMPERATURE: Metric = metric("proofload_gpu_temperature_celsius", "GPU core temperature");
/// By `source`: nvml, replay or none. One row, which is 1.
pub const GPU_SOURCE: Metric = metric("proofload_gpu_source", "Where the figures of GPUs come from");
/// By `gpu_uuid` and `reason`: 1 while it holds the clocks down.
pub const GPU_THROTTLED: Metric = metric("proofload_gpu_throttled", "Whether GPU clocks are held down, by reason");
/// By `gpu_uuid` and `pid`: bytes, of the processes that hold most.
pub const GPU_PROCESS_MEMORY: Metric =
    metric("proofload_gpu_process_memory_bytes", "GPU memory that a process holds (bytes)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_GPU_UTIL: Metric = metric("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (percent)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_MEM_COPY_UTIL: Metric = metric("DCGM_FI_DEV_MEM_COPY_UTIL", "GPU memory utilization (percent)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_FB_USED: Metric = metric("DCGM_FI_DEV_FB_USED", "GPU memory used (MiB)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_FB_FREE: Metric = metric("DCGM_FI_DEV_FB_FREE", "GPU memory free (MiB)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_FB_RESERVED: Metric = metric("DCGM_FI_DEV_FB_RESERVED", "GPU memory that the driver keeps (MiB)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_SM_CLOCK: Metric = metric("DCGM_FI_DEV_SM_CLOCK", "Clock of the multiprocessors (MHz)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_MEM_CLOCK: Metric = metric("DCGM_FI_DEV_MEM_CLOCK", "Clock of the memory (MHz)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_GPU_TEMP: Metric = metric("DCGM_FI_DEV_GPU_TEMP", "GPU core temperature (degrees Celsius)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_POWER_USAGE: Metric = metric("DCGM_FI_DEV_POWER_USAGE", "Power drawn (watts)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_POWER_LIMIT: Metric = metric("DCGM_FI_DEV_POWER_MGMT_LIMIT", "Power limit (watts)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_ENERGY: Metric =
    metric("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Energy since the driver was loaded (mJ)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_THROTTLE: Metric = metric("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "Bits of why clocks are held down");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_PCIE_TX: Metric = metric("DCGM_FI_DEV_PCIE_TX_THROUGHPUT", "Sent over PCIe (KB/s)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_PCIE_RX: Metric = metric("DCGM_FI_DEV_PCIE_RX_THROUGHPUT", "Received over PCIe (KB/s)");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_PCIE_REPLAYS: Metric = metric("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "PCIe packets sent again");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_ECC_SBE: Metric =
    metric("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "Memory errors corrected since the driver was loaded");
/// NVIDIA's DCGM exporter, by its labels.
pub const DCGM_ECC_DBE: Metric =
    metric("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "Memory errors not corrected since the driver was loaded");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_GPU_UTILIZATION: Metric = metric("hw_gpu_utilization_ratio", "GPU utilization (0.0 to 1.0)");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_GPU_MEMORY_LIMIT: Metric = metric("hw_gpu_memory_limit_bytes", "GPU memory (bytes)");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_GPU_MEMORY_USAGE: Metric = metric("hw_gpu_memory_usage_bytes", "GPU memory used (bytes)");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_GPU_MEMORY_UTILIZATION: Metric =
    metric("hw_gpu_memory_utilization_ratio", "Share of the GPU memory that is used");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_GPU_IO_RATE: Metric = metric(
    "hw_gpu_io_rate_bytes_per_second",
    "Bytes a second over PCIe, by direction; the convention counts bytes, which NVML does not",
);
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_POWER: Metric = metric("hw_power_watts", "Power drawn (watts)");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_ENERGY: Metric = metric("hw_energy_joules", "Energy since the driver was loaded (joules)");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_TEMPERATURE: Metric = metric("hw_temperature_celsius", "Core temperature (degrees Celsius)");
/// OpenTelemetry's conventions for hardware, by `hw_id`.
pub const HW_ERRORS: Metric = metric("hw_errors", "Memory errors since the driver was loaded, by type");
