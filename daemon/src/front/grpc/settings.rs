//! Reading and changing trace and log settings over gRPC: to and from the generated messages.

use proofload_wire::grpc::inference as pb;

use crate::telemetry::logs;
use crate::telemetry::trace::settings::{Shown, Wanted};

use pb::log_settings_request::setting_value::ParameterChoice as Asked;
use pb::log_settings_response::setting_value::ParameterChoice as Answered;

/// A setting without a value goes back to what holds otherwise.
pub(super) fn wanted(settings: impl IntoIterator<Item = (String, pb::trace_setting_request::SettingValue)>) -> Wanted {
    settings.into_iter().map(|(name, setting)| (name, Some(setting.value).filter(|value| !value.is_empty()))).collect()
}

pub(super) fn shown(settings: Shown) -> pb::TraceSettingResponse {
    let setting =
        |(name, value): (&str, Vec<String>)| (name.to_owned(), pb::trace_setting_response::SettingValue { value });
    pb::TraceSettingResponse { settings: settings.into_iter().map(setting).collect() }
}

/// A setting without a value stays as it is.
pub(super) fn log_wanted(
    settings: impl IntoIterator<Item = (String, pb::log_settings_request::SettingValue)>,
) -> std::collections::BTreeMap<String, logs::Value> {
    let value = |asked| match asked {
        Asked::BoolParam(on) => logs::Value::Bool(on),
        Asked::Uint32Param(number) => logs::Value::Number(number.into()),
        Asked::StringParam(text) => logs::Value::Text(text),
    };
    settings.into_iter().filter_map(|(name, setting)| Some((name, value(setting.parameter_choice?)))).collect()
}

pub(super) fn log_shown(settings: logs::Settings) -> pb::LogSettingsResponse {
    let setting = |(name, value): (&str, logs::Value)| {
        let choice = match value {
            logs::Value::Bool(on) => Answered::BoolParam(on),
            logs::Value::Number(number) => Answered::Uint32Param(u32::try_from(number).unwrap_or(u32::MAX)),
            logs::Value::Text(text) => Answered::StringParam(text),
        };
        (name.to_owned(), pb::log_settings_response::SettingValue { parameter_choice: Some(choice) })
    };
    pb::LogSettingsResponse { settings: settings.show().map(setting).into_iter().collect() }
}
