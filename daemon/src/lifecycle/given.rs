//! The parameters of a request to load a model: another configuration, and the files that go with it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::repository::origin::Given;

/// What the names of files start with: `file:<version>/<name>`.
const FILE: &str = "file:";

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A string; a file's content is in base64 then.
    Text(String),
    /// The content of a file.
    Bytes(Bytes),
    /// Anything else.
    Other,
}

/// Reads the parameters of a request to load a model.
///
/// # Errors
/// When one of them is unknown or not as it must be.
pub fn given(parameters: impl IntoIterator<Item = (String, Parameter)>) -> Result<Given, String> {
    let mut given = Given::default();
    for (name, value) in parameters {
        match (name.as_str(), value) {
            ("config", Parameter::Text(json)) => given.config = Some(json),
            ("config", _) => {
                return Err("the parameter 'config' must be a string with the JSON of a model configuration".to_owned());
            }
            (other, value) => {
                let Some(path) = other.strip_prefix(FILE) else {
                    return Err(format!(
                        "unrecognized parameter '{}'; loading takes 'config' and 'file:<version>/<name>'",
                        other.escape_debug()
                    ));
                };
                given.files.insert(file_place(path)?, content(path, value)?);
            }
        }
    }
    if given.config.is_none() && !given.files.is_empty() {
        return Err("files are given without their model's configuration; give the parameter 'config' too".to_owned());
    }
    Ok(given)
}

fn file_place(path: &str) -> Result<(i64, String), String> {
    let place = path.split_once('/').and_then(|(version, name)| {
        let version = version.parse().ok().filter(|version| *version > 0)?;
        (!name.is_empty()).then(|| (version, name.to_owned()))
    });
    place.ok_or_else(|| {
        format!("'{FILE}{}' must name a version and a file, such as 'file:1/model.onnx'", path.escape_debug())
    })
}

fn content(path: &str, value: Parameter) -> Result<Bytes, String> {
    let path = path.escape_debug();
    match value {
        Parameter::Bytes(bytes) => Ok(bytes),
        Parameter::Text(base64) => {
            let decoded = STANDARD.decode(base64);
            decoded.map(Bytes::from).map_err(|error| format!("the content of '{FILE}{path}' is no base64: {error}"))
        }
        Parameter::Other => Err(format!("the content of '{FILE}{path}' must be a string in base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as it is expected: version, name, content.
    type File<'a> = (i64, &'a str, &'a [u8]);

    fn check(parameters: &[(&str, Parameter)], expected: Result<(Option<&str>, &[File<'_>]), &str>) {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        match (given(parameters), expected) {
            (Ok(given), Ok((config, files))) => {
                assert_eq!(given.config.as_deref(), config);
                let found: Vec<_> =
                    given.files.iter().map(|((version, name), bytes)| (*version, name.as_str(), &bytes[..])).collect();
                assert_eq!(found, files);
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, expected) => panic!("got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn parameters_are_a_configuration_and_its_files() {
        let text = |text: &str| Parameter::Text(text.to_owned());
        let config = ("config", text("{}"));
        check(&[], Ok((None, &[])));
        check(std::slice::from_ref(&config), Ok((Some("{}"), &[])));
        let files =
            [config.clone(), ("file:1/model.onnx", text("YWI=")), ("file:2/a/b", Parameter::Bytes(Bytes::new()))];
        check(&files, Ok((Some("{}"), &[(1, "model.onnx", b"ab"), (2, "a/b", b"")])));
        check(&[("config", Parameter::Other)], Err("must be a string"));
        check(&[("file:1/model.onnx", text("YWI="))], Err("give the parameter 'config' too"));
        check(&[config.clone(), ("file:1/x", text("%"))], Err("no base64"));
        check(&[config.clone(), ("file:1/x", Parameter::Other)], Err("must be a string in base64"));
        check(&[config.clone(), ("file:x", text(""))], Err("must name a version"));
        check(&[config.clone(), ("file:0/x", text(""))], Err("must name a version"));
        check(&[config, ("files", text(""))], Err("unrecognized parameter 'files'"));
    }
}
