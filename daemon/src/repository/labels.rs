//! The names of an output's classes: a text file beside the model's configuration, one name a line, in the order of
//! the classes.

use super::complaint::{Complaint, of};
use super::origin::Origin;
use super::spec::ModelSpec;

/// Reads the files that the outputs of a model name.
///
/// # Errors
/// One message for each file that cannot be read.
pub(super) fn read(origin: &Origin<'_>, spec: &mut ModelSpec) -> Result<(), Vec<Complaint>> {
    let mut errors = Vec::new();
    for (output, declared) in spec.outputs.iter_mut().zip(&spec.config.output) {
        let file = declared.label_filename.as_str();
        if file.is_empty() {
            continue;
        }
        match origin.text(&spec.name, file) {
            Ok(text) => output.labels = text.lines().map(|line| line.trim_end().to_owned()).collect(),
            Err(error) => {
                let what = format!("output '{}': cannot read 'label_filename' {file}: {error}", output.name);
                errors.push(of("output", &output.name, what));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::repository::origin::Origin;
    use crate::repository::{read, source::Source};
    use crate::sched::queue::Limits;

    #[test]
    fn labels_are_read_beside_the_configuration() {
        let root = tempfile::tempdir().expect("a folder");
        let config = |file: &str| {
            format!(
                r#"backend: "identity" input {{ name: "x" data_type: TYPE_FP32 dims: 3 }}
                   output {{ name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "{file}" }}"#
            )
        };
        let limits = Limits { requests: 8, bytes: 1 << 20 };
        let folder = root.path().join("m");
        fs::create_dir(&folder).expect("made");
        fs::write(folder.join("names.txt"), "cat\r\nlong dog\n\n").expect("written");
        let source = Source::Folder(root.path().to_owned());
        let load = |file: &str| {
            fs::write(folder.join("config.pbtxt"), config(file)).expect("written");
            read("m", &Origin::of(&source), limits)
        };
        let loaded = load("names.txt");
        assert_eq!((loaded.errors, loaded.warnings), (Vec::new(), Vec::<String>::new()));
        assert_eq!(loaded.versions[0].outputs[0].labels[..], ["cat", "long dog", ""].map(str::to_owned));
        for file in ["missing.txt", "../m/names.txt", "/etc/passwd"] {
            let errors = load(file).errors;
            assert!(errors.len() == 1 && errors[0].contains("cannot read 'label_filename'"), "{file}: {errors:?}");
        }
    }
}
