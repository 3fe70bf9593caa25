//! Whether a scenario's tensors are those that a model takes. Pure.

use proofload_wire::types::{ModelMetadata, TensorMetadata};

use crate::scenario::{InputSpec, KserveSpec};

/// Everything in which a request differs from what its model states, each with what would be right.
pub fn mismatches(spec: &KserveSpec, model: &ModelMetadata) -> Vec<String> {
    let mut found = Vec::new();
    for input in &spec.inputs {
        let known = model.inputs.iter().find(|known| known.name == input.name);
        let unknown = || format!("input `{}`: the model has none of this name; {}", input.name, names(&model.inputs));
        found.extend(known.map_or_else(|| vec![unknown()], |known| compare(input, known)));
    }
    let lacks = |known: &&TensorMetadata| !spec.inputs.iter().any(|input| input.name == known.name);
    for known in model.inputs.iter().filter(lacks) {
        let (name, datatype, shape) = (&known.name, &known.datatype, &known.shape);
        found.push(format!("input `{name}` is missing, unless the model can do without: {datatype} {shape:?}"));
    }
    for output in &spec.outputs {
        if !model.outputs.iter().any(|known| known.name == *output) {
            found.push(format!("output `{output}`: the model has none of this name; {}", names(&model.outputs)));
        }
    }
    found
}

fn names(tensors: &[TensorMetadata]) -> String {
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    if names.is_empty() { "it states none".to_owned() } else { format!("it has {}", names.join(", ")) }
}

fn compare(input: &InputSpec, known: &TensorMetadata) -> Vec<String> {
    let mut found = Vec::new();
    if input.datatype.as_str() != known.datatype {
        found.push(format!(
            "input `{}` is {}; the model takes {}",
            input.name,
            input.datatype.as_str(),
            known.datatype
        ));
    }
    if !fits(&input.shape, &known.shape) {
        found
            .push(format!("input `{}` has the shape {:?}; the model takes {:?}", input.name, input.shape, known.shape));
    }
    found
}

/// A dimension of -1 stands for any size.
fn fits(shape: &[i64], known: &[i64]) -> bool {
    shape.len() == known.len() && shape.iter().zip(known).all(|(dim, known)| *known < 0 || dim == known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{RequestSpec, Scenario};

    fn spec(inputs: &str, outputs: &str) -> KserveSpec {
        let text = format!(
            "kind = \"sustained\"\n[load]\nrate = 1\nduration = \"5s\"\n[[mix]]\nname = \"a\"\n\
             protocol = \"kserve-http-json\"\nmodel = \"m\"\noutputs = [{outputs}]\ninputs = [{inputs}]\n"
        );
        match Scenario::parse(std::path::Path::new("a.toml"), &text, &[]).unwrap().mix.remove(0).request {
            RequestSpec::Kserve(spec) => spec,
            other => panic!("{other:?}"),
        }
    }

    const X: &str = "{ name = \"x\", datatype = \"FP32\", shape = [4, 16] }";
    const N: &str = "{ name = \"n\", datatype = \"INT64\", shape = [1] }";

    #[test]
    fn every_difference_is_told_with_what_would_be_right() {
        let tensor = |name: &str, datatype: &str, shape: &[i64]| TensorMetadata {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
        };
        let model = ModelMetadata {
            inputs: vec![tensor("x", "FP32", &[-1, 16]), tensor("n", "INT64", &[1])],
            outputs: vec![tensor("y", "FP32", &[-1, 4])],
            ..ModelMetadata::default()
        };
        let check = |inputs: &[&str], outputs: &str, expected: &[&str]| {
            let found = mismatches(&spec(&inputs.join(", "), outputs), &model);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            found.iter().zip(expected).for_each(|(found, expected)| assert!(found.contains(expected), "{found}"));
        };
        check(&[X, N], "\"y\"", &[]);
        check(&[X], "", &["`n` is missing, unless the model can do without: INT64 [1]"]);
        check(&[X, N, &X.replace("\"x\"", "\"z\"")], "", &["`z`: the model has none of this name; it has x, n"]);
        check(&[&X.replace("FP32", "FP64"), N], "", &["`x` is FP64; the model takes FP32"]);
        check(&[&X.replace("16", "17"), N], "", &["`x` has the shape [4, 17]; the model takes [-1, 16]"]);
        check(&[&X.replace("4, ", ""), N], "\"z\"", &["[16]; the model takes [-1, 16]", "output `z`"]);
    }
}
