//! The admin token over both protocols.

use std::fs;

use proofload_daemon::config::access::Access;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use tonic::{Code, Request};

use crate::server::{Server, request, send};

const TOKEN: &str = "a-token-of-some-length";

#[tokio::test]
async fn what_is_served_is_changed_with_the_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let server = Server::with_access(Access { admin_token_file: Some(file), ..Access::default() }).await;
    let bearer = format!("Bearer {TOKEN}");
    let check = async |path: &str, body: &'static str, headers: &[(&str, &str)], expected: u16| {
        let answer = send(server.http, request("POST", path, headers, body)).await;
        assert_eq!(answer.status.as_u16(), expected, "{path} {headers:?}: {:?}", answer.body);
        let challenge = if expected == 401 { "Bearer" } else { "" };
        assert_eq!(answer.header("www-authenticate"), challenge, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(TOKEN));
    };
    let (load, unload, log) = ("/v2/repository/models/brief/load", "/v2/repository/models/brief/unload", "/v2/logging");
    for (path, body) in [(load, ""), (unload, ""), (log, r#"{"log_verbose_level":0}"#)] {
        check(path, body, &[], 401).await;
        check(path, body, &[("authorization", "Bearer a-token-of-other-length")], 401).await;
    }
    check(unload, "", &[("authorization", &bearer)], 200).await;
    check(load, "", &[("x-proofload-admin-token", TOKEN)], 200).await;
    check(log, r#"{"log_verbose_level":0}"#, &[("authorization", &bearer)], 200).await;
    check("/v2/repository/index", "", &[], 200).await;

    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let message = pb::RepositoryModelUnloadRequest { model_name: "brief".to_owned(), ..Default::default() };
    let refused = client.repository_model_unload(message.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut allowed = Request::new(message);
    allowed.metadata_mut().insert("authorization", bearer.parse().unwrap());
    client.repository_model_unload(allowed).await.unwrap();
    let log = pb::LogSettingsRequest { settings: [("log_info".to_owned(), setting())].into() };
    assert_eq!(client.log_settings(log).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(client.log_settings(pb::LogSettingsRequest::default()).await.is_ok(), "to read them is no change");
}

fn setting() -> pb::log_settings_request::SettingValue {
    use pb::log_settings_request::setting_value::ParameterChoice;
    pb::log_settings_request::SettingValue { parameter_choice: Some(ParameterChoice::BoolParam(true)) }
}
