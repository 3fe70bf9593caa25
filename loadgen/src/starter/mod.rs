//! A first scenario file for a target: valid as it is, with a comment wherever somebody will want to change a guess. Pure:
//! what the target says of itself comes in, text goes out. It reads no scenario; that is [`crate::scenario`]'s affair.

mod entries;
mod load;
mod shape;

use crate::discover::{Access, Survey};
use crate::transport::TlsOptions;

/// What a starting file is to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One rate, evenly spaced.
    Constant,
    /// One rate, Poisson arrivals.
    Sustained,
    /// A rate that climbs until the service level breaks.
    Stress,
    /// An even rise.
    Ramp,
    /// A burst, and the recovery from it.
    Spike,
    /// A day's curve.
    Sine,
    /// One rate for long.
    Endurance,
    /// Users who wait for their answers and think.
    Users,
    /// Users, and more than one kind of request.
    Mixed,
}

/// What a starting file is made of.
#[derive(Debug, Clone)]
pub struct Starter<'a> {
    /// Name of the scenario.
    pub name: &'a str,
    /// What it asks.
    pub shape: Shape,
    /// What the target says.
    pub survey: &'a Survey,
    /// Headers, and what TLS needs, with files as seen from the file.
    pub access: &'a Access,
    /// Where the schema is, as seen from the file.
    pub schema: &'a str,
}

impl Starter<'_> {
    /// The file.
    pub fn text(&self) -> String {
        let pace = load::Pace::of(self.survey.protocol);
        [
            self.head(),
            self.target(),
            self.access(),
            load::section(self.shape, &pace),
            entries::sections(self.survey, self.shape == Shape::Mixed),
            pace.slo(),
        ]
        .join("\n")
    }

    fn head(&self) -> String {
        let name = self.name;
        let asks = load::asks(self.shape);
        format!(
            "#:schema {schema}\n\
             # {asks}\n\
             # A starting point, from what the target says of itself; rates and limits are guesses. Change them, then:\n\
             #   proofload doctor {name}.toml\n\
             #   proofload run {name}.toml\n\
             # Editors complete and explain keys by the schema: proofload scenario schema > {schema}\n\
             name = {quoted}\n\
             kind = \"{kind}\"\n\
             seed = 1                        # the same seed sends the same requests at the same moments\n\
             {thresholds}\n",
            schema = self.schema,
            quoted = quoted(name),
            kind = load::kind(self.shape),
            thresholds = load::thresholds(self.shape),
        )
    }

    fn target(&self) -> String {
        let Survey { http_url, grpc_url, server, .. } = self.survey;
        let side = |key: &str, url: &Option<String>, example: &str| match url {
            Some(url) => format!("{key} = {}\n", quoted(url)),
            None => format!("# {key} = \"{example}\"\n"),
        };
        let who = if server.is_empty() { String::new() } else { format!("# {}\n", one_line(server)) };
        let plain = match self.survey.tells {
            crate::discover::Tells::Nothing => "# It did not answer as a KServe server: plain HTTP.\n",
            _ => "",
        };
        format!(
            "[target]\n{who}{plain}{}{}# metrics = \"http://127.0.0.1:8002/metrics\"   # where its Prometheus page is, if not found by itself\n",
            side("http", http_url, "http://127.0.0.1:8000"),
            side("grpc", grpc_url, "http://127.0.0.1:8001"),
        )
    }

    /// The tables that follow `[target]`, where there is something to say.
    fn access(&self) -> String {
        let Access { headers, tls } = self.access;
        let mut lines = Vec::new();
        if !headers.is_empty() {
            lines.push(
                "[target.headers]                # of every request; a secret stays in the environment".to_owned(),
            );
            lines.extend(headers.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))));
        }
        if *tls != TlsOptions::default() {
            lines.push("[target.tls]                    # paths are as seen from this file".to_owned());
            lines.extend(tls_lines(tls));
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

fn tls_lines(tls: &TlsOptions) -> impl Iterator<Item = String> {
    let path = |path: &std::path::Path| quoted(&path.to_string_lossy());
    let identity = tls.identity.as_ref();
    let stated = [
        ("ca", tls.ca.as_deref().map(path)),
        ("client_cert", identity.map(|identity| path(&identity.cert))),
        ("client_key", identity.map(|identity| path(&identity.key))),
        ("server_name", tls.server_name.as_deref().map(quoted)),
        (
            "insecure",
            tls.insecure.then(|| "true            # any certificate will do; the report warns of it".to_owned()),
        ),
    ];
    stated.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}", value?)))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What others say, fit for a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proofload_wire::types::{ModelMetadata, TensorMetadata};

    use super::*;
    use crate::discover::Tells;
    use crate::scenario::{Protocol, RequestSpec, Scenario};

    const SHAPES: [Shape; 9] = [
        Shape::Constant,
        Shape::Sustained,
        Shape::Stress,
        Shape::Ramp,
        Shape::Spike,
        Shape::Sine,
        Shape::Endurance,
        Shape::Users,
        Shape::Mixed,
    ];

    fn survey(protocol: Protocol, inputs: &[(&str, &str, &[i64])]) -> Survey {
        let input = |(name, datatype, shape): &(&str, &str, &[i64])| TensorMetadata {
            name: (*name).to_owned(),
            datatype: (*datatype).to_owned(),
            shape: shape.to_vec(),
        };
        let model = "odd \"name\"\\".replace([' ', '"'], "_");
        let tells = match protocol {
            Protocol::Http => Tells::Nothing,
            Protocol::OpenAiChat | Protocol::OpenAiCompletions | Protocol::Generate | Protocol::GenerateStream => {
                Tells::Text(model)
            }
            _ => Tells::Inputs(ModelMetadata {
                name: model,
                inputs: inputs.iter().map(input).collect(),
                ..ModelMetadata::default()
            }),
        };
        Survey {
            http_url: (!protocol.is_grpc()).then(|| "http://127.0.0.1:1".to_owned()),
            grpc_url: protocol.is_grpc().then(|| "http://127.0.0.1:2".to_owned()),
            server: "a server\n1".to_owned(),
            protocol,
            tells,
        }
    }

    fn read(shape: Shape, survey: &Survey) -> (String, Scenario) {
        let access = Access::default();
        let text = Starter { name: "first", shape, survey, access: &access, schema: "./schema.json" }.text();
        let scenario = Scenario::parse(Path::new("first.toml"), &text, &[]);
        let scenario = scenario.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        (text, scenario)
    }

    #[test]
    fn every_file_is_valid() {
        for shape in SHAPES {
            for protocol in Protocol::all() {
                let survey = survey(protocol, &[("in put", "FP32", &[-1, 3, -1, -1]), ("mask", "BOOL", &[4])]);
                let (text, scenario) = read(shape, &survey);
                assert!(text.starts_with("#:schema ./schema.json\n"), "{text}");
                assert!(text.lines().all(|line| line.chars().count() <= 140), "{shape:?} {protocol:?}: {text}");
                let wanted = if shape == Shape::Mixed { 2 } else { 1 };
                assert_eq!(scenario.mix.len(), wanted, "{shape:?} {protocol:?}");
            }
        }
    }

    #[test]
    fn how_the_target_is_spoken_to_is_written_down() {
        let survey = Survey { http_url: Some("https://127.0.0.1:1".to_owned()), ..survey(Protocol::Http, &[]) };
        let read = |access: &Access| {
            let starter = Starter { name: "first", shape: Shape::Mixed, survey: &survey, access, schema: "s" };
            let scenario = Scenario::parse(Path::new("first.toml"), &starter.text(), &[]);
            scenario.unwrap_or_else(|errors| panic!("{errors}\n{}", starter.text())).target.unwrap()
        };
        let mut access = Access::default();
        assert_eq!((read(&access).headers, read(&access).tls), (access.headers.clone(), None));
        access.add_header("X-Odd~Name: \"quoted\\\"").unwrap();
        // A variable that every test has.
        access.add_header("authorization: Bearer ${env:CARGO_MANIFEST_DIR}").unwrap();
        access.tls = TlsOptions { server_name: Some("api.example".to_owned()), insecure: true, ..Default::default() };
        assert_eq!((read(&access).headers, read(&access).tls), (access.headers.clone(), Some(access.tls.clone())));
    }

    #[test]
    fn inputs_are_the_models_with_open_dimensions_filled() {
        let check = |inputs: &[(&str, &str, &[i64])], expected: &[&[i64]], comment: &str| {
            let survey = survey(Protocol::KserveHttpBinary, inputs);
            let (text, scenario) = read(Shape::Constant, &survey);
            let RequestSpec::Kserve(spec) = &scenario.mix[0].request else { panic!("{text}") };
            let shapes: Vec<&[i64]> = spec.inputs.iter().map(|input| input.shape.as_slice()).collect();
            assert_eq!(shapes, expected, "{text}");
            assert!(text.contains(comment), "{text}");
        };
        check(&[("x", "FP32", &[1, 16])], &[&[1, 16]], "shape = [1, 16], data = \"random\" },\n");
        check(&[("x", "FP32", &[-1, 16])], &[&[1, 16]], "# the model says [-1, 16]: 1 is the batch");
        check(&[("x", "FP32", &[-1, 3, -1, -1])], &[&[1, 3, 224, 224]], "any size stands at 3 and 4");
        check(&[("x", "INT64", &[-1, -1])], &[&[1, 128]], "whole numbers are 0 to 127");
        check(&[("x", "FP32", &[-1])], &[&[16]], "any size stands at 1");
        check(&[("x", "FP32", &[])], &[&[]], "shape = []");
        check(&[], &[&[1, 16]], "does not say what the model takes");
    }
}
