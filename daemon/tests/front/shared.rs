//! Tensors in system shared memory, over both protocols, against real objects under `/dev/shm`.

use std::fs;
use std::path::PathBuf;

use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::{InferRequest, ParameterValue, Parameters, RequestedOutput};
use serde_json::{Value, json};
use tonic::Code;

use crate::server::{Answer, LIMITS, Server, request, send};

/// An object with two numbers and room for two more, gone with the test.
struct Shm {
    key: String,
    path: PathBuf,
}

impl Shm {
    fn new(name: &str) -> Self {
        let key = format!("/proofload-front-{}-{name}", std::process::id());
        let path = PathBuf::from(format!("/dev/shm{key}"));
        let content: Vec<u8> = [0.5_f32, 2.0, 0.0, 0.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(&path, content).unwrap();
        Self { key, path }
    }

    fn numbers(&self) -> Vec<f32> {
        fs::read(&self.path).unwrap().as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    send(server.http, request("POST", path, &[], body.to_string())).await
}

async fn get(server: &Server, path: &str) -> Answer {
    send(server.http, request("GET", path, &[], "")).await
}

fn shared(region: &str, offset: u64, byte_size: u64) -> Value {
    json!({"shared_memory_region": region, "shared_memory_offset": offset, "shared_memory_byte_size": byte_size})
}

fn infer(input: &Value, output: &Value) -> Value {
    json!({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": input}],
        "outputs": [{"name": "y", "parameters": output}],
    })
}

#[tokio::test]
async fn http_registers_uses_and_forgets_regions() {
    let (server, shm) = (Server::start().await, Shm::new("http"));
    let region = "/v2/systemsharedmemory/region/r";
    let registration = json!({"key": shm.key, "offset": 0, "byte_size": 16});
    assert_eq!(post(&server, &format!("{region}/register"), &registration).await.status, 200);
    let expected = json!([{"name": "r", "key": shm.key, "offset": 0, "byte_size": 16}]);
    for path in ["/v2/systemsharedmemory/status", &format!("{region}/status")] {
        assert_eq!(get(&server, path).await.json(), expected);
    }
    let answer = post(&server, "/v2/models/echo/infer", &infer(&shared("r", 0, 8), &shared("r", 8, 8))).await;
    assert_eq!(answer.json()["outputs"], json!([{"name": "y", "datatype": "FP32", "shape": [1, 2]}]), "{answer:?}");
    assert_eq!(shm.numbers(), [0.5, 2.0, 0.5, 2.0]);
    let extensions = get(&server, "/v2").await.json()["extensions"].to_string();
    assert!(extensions.contains("system_shared_memory") && !extensions.contains("cuda"), "{extensions}");
    assert_eq!(post(&server, &format!("{region}/unregister"), &json!("")).await.status, 200);
    assert_eq!(get(&server, &format!("{region}/status")).await.status, 404);
    let answer = post(&server, "/v2/models/echo/infer", &infer(&shared("r", 0, 8), &json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].to_string().contains("'r'")), (404, true));
}

#[tokio::test]
async fn wrong_places_are_refused_by_name() {
    let (server, shm) = (Server::start().await, Shm::new("wrong"));
    let register = "/v2/systemsharedmemory/region/r/register";
    let registration = json!({"key": shm.key, "byte_size": 16});
    assert_eq!(post(&server, register, &registration).await.status, 200);
    let check = async |path: &str, body: Value, status: u16, words: &str| {
        let answer = post(&server, path, &body).await;
        let message = answer.json()["error"].to_string();
        assert_eq!(answer.status.as_u16(), status, "{message}");
        assert!(message.contains(words), "{message} should contain {words}");
    };
    check(register, registration, 400, "already in manager").await;
    check(register, json!({"byte_size": 1}), 400, "no 'key' field").await;
    check(register, json!({"key": "k"}), 400, "no 'byte_size' field").await;
    check("/v2/cudasharedmemory/region/r/register", json!({}), 501, "use system shared memory").await;
    let echo = "/v2/models/echo/infer";
    check(echo, infer(&shared("r", 16, 8), &json!({})), 400, "Invalid offset for").await;
    check(echo, infer(&shared("r", 12, 8), &json!({})), 400, "Invalid offset + byte size").await;
    check(echo, infer(&shared("r", 0, 4), &json!({})), 400, "has 4 bytes of data").await;
    check(echo, infer(&shared("r", 0, 8), &shared("none", 0, 8)), 404, "'none'").await;
    check(echo, infer(&shared("r", 0, 8), &shared("r", 8, 4)), 500, "should be at least 8 bytes").await;
    fs::File::options().write(true).open(&shm.path).unwrap().set_len(4).unwrap();
    check(echo, infer(&shared("r", 0, 8), &json!({})), 400, "not as long as it was").await;
    let held = server.engine.metrics_text();
    assert!(held.contains("proofload_held_body_bytes 0"), "nothing of the budget is left behind");
}

/// A region may be larger than all bodies together; what is read of it may not.
#[tokio::test]
async fn what_is_read_counts_as_a_body() {
    let (server, shm) = (Server::start().await, Shm::new("large"));
    let size = LIMITS.total_body_bytes as u64 + 4;
    fs::File::options().write(true).open(&shm.path).unwrap().set_len(size).unwrap();
    let registration = json!({"key": shm.key, "byte_size": size});
    assert_eq!(post(&server, "/v2/systemsharedmemory/region/r/register", &registration).await.status, 200);
    let answer = post(&server, "/v2/models/echo/infer", &infer(&shared("r", 0, size), &json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"), "{answer:?}");
}

#[tokio::test]
async fn grpc_registers_uses_and_forgets_regions() {
    let (server, shm) = (Server::start().await, Shm::new("grpc"));
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let (name, key) = ("r".to_owned(), shm.key.clone());
    let register = pb::SystemSharedMemoryRegisterRequest { name: name.clone(), key, offset: 0, byte_size: 16 };
    client.system_shared_memory_register(register.clone()).await.unwrap();
    assert_eq!(client.system_shared_memory_register(register).await.unwrap_err().code(), Code::AlreadyExists);
    let status = client.system_shared_memory_status(pb::SystemSharedMemoryStatusRequest::default()).await.unwrap();
    assert_eq!(status.into_inner().regions["r"].byte_size, 16);
    let place = |offset| -> Parameters {
        [
            ("shared_memory_region", ParameterValue::String("r".to_owned())),
            ("shared_memory_offset", ParameterValue::Int(offset)),
            ("shared_memory_byte_size", ParameterValue::Int(8)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    };
    let outputs = vec![RequestedOutput { name: "y".to_owned(), parameters: place(8) }];
    let mut message: pb::ModelInferRequest =
        InferRequest { model_name: "echo".to_owned(), outputs, ..InferRequest::default() }.into();
    let parameters = pb::ModelInferRequest::from(InferRequest { parameters: place(0), ..InferRequest::default() });
    message.inputs.push(pb::model_infer_request::InferInputTensor {
        name: "x".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 2],
        parameters: parameters.parameters,
        contents: None,
    });
    let answer = client.model_infer(message.clone()).await.unwrap().into_inner();
    assert_eq!((answer.outputs[0].shape.clone(), answer.raw_output_contents[0].len()), (vec![1, 2], 0));
    assert_eq!(shm.numbers(), [0.5, 2.0, 0.5, 2.0]);
    client.system_shared_memory_unregister(pb::SystemSharedMemoryUnregisterRequest::default()).await.unwrap();
    assert_eq!(client.model_infer(message).await.unwrap_err().code(), Code::NotFound);
    client.cuda_shared_memory_unregister(pb::CudaSharedMemoryUnregisterRequest::default()).await.unwrap();
    let cuda = client.cuda_shared_memory_register(pb::CudaSharedMemoryRegisterRequest::default()).await;
    assert_eq!(cuda.unwrap_err().code(), Code::Unimplemented);
}
