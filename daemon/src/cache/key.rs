//! What an answer is kept under: SHA-256 over the model as it was loaded, the raw bytes of the inputs, the parameters
//! that may change the answer, and the form that the answer leaves in. Pure.
//!
//! Left out is what changes no answer: the request's id, how urgent it is, and how long it waits. Every part goes in
//! with its length, so that no two requests can be told the same way.

use std::fmt;

use bytes::Bytes;
use proofload_wire::infer::{InferRequest, ParameterValue, Parameters, RequestedOutput};
use proofload_wire::tensor::Tensor;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::repository::spec::ModelSpec;

/// Parameters of a request that change when it is answered, and not what.
const NO_MATTER: [&str; 3] = ["priority", "timeout", "triton_enable_empty_final_response"];
/// Parameters of a request whose answer depends on those before it.
const OF_SEQUENCES: [&str; 3] = ["sequence_id", "sequence_start", "sequence_end"];

/// What an answer is kept under.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Its bytes, evenly spread.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A loaded version of a model: its files, its configuration and the names of its classes. The same in every process
/// that serves the same, and another one as soon as anything that could change an answer has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of what will run, and of what computes it: two engines need not agree to the last bit.
    pub fn of(spec: &ModelSpec, engine: &str) -> Self {
        let mut subject = Subject::new("model");
        subject.text(engine);
        subject.text(&spec.name);
        subject.number(spec.version.unsigned_abs());
        subject.data(Bytes::copy_from_slice(&spec.digest));
        subject.data(spec.config.encode_to_vec().into());
        for output in &spec.outputs {
            subject.number(output.labels.len() as u64);
            output.labels.iter().for_each(|label| subject.text(label));
        }
        Self(subject.key(0).0)
    }
}

/// Everything that decides an answer, before it is hashed.
#[derive(Debug, Clone)]
pub struct Subject {
    /// All that is small, and the lengths of what is not.
    head: Vec<u8>,
    data: Vec<Bytes>,
}

impl Subject {
    /// Nothing yet, of this kind. The kinds must differ where the parts could be the same.
    pub fn new(kind: &str) -> Self {
        let mut subject = Self { head: Vec::with_capacity(256), data: Vec::new() };
        // Another version of this code may compute or write differently.
        subject.text(env!("CARGO_PKG_VERSION"));
        subject.text(kind);
        subject
    }

    /// A request to a model: everything but the form of its answer.
    pub fn of_request(fingerprint: &Fingerprint, request: &InferRequest) -> Self {
        let mut subject = Self::new("inference");
        subject.fingerprint(fingerprint);
        subject.parameters(&request.parameters);
        // Which input is given first is no matter.
        let mut inputs: Vec<&Tensor> = request.inputs.iter().collect();
        inputs.sort_by(|one, other| one.name.cmp(&other.name));
        subject.number(inputs.len() as u64);
        inputs.into_iter().for_each(|input| subject.tensor(input));
        subject.number(request.outputs.len() as u64);
        for RequestedOutput { name, parameters } in &request.outputs {
            subject.text(name);
            subject.parameters(parameters);
        }
        subject
    }

    /// Adds a model.
    pub fn fingerprint(&mut self, fingerprint: &Fingerprint) {
        self.head.extend_from_slice(&fingerprint.0);
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.head.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.head.extend_from_slice(text.as_bytes());
    }

    /// Adds bytes, however many, without copying them.
    pub fn data(&mut self, data: Bytes) {
        self.number(data.len() as u64);
        self.data.push(data);
    }

    fn tensor(&mut self, tensor: &Tensor) {
        self.text(&tensor.name);
        self.text(tensor.datatype.as_str());
        self.number(tensor.shape.len() as u64);
        tensor.shape.iter().for_each(|size| self.number(size.cast_unsigned()));
        self.data(tensor.data.clone());
    }

    fn parameters(&mut self, parameters: &Parameters) {
        let matter = |name: &str| !NO_MATTER.contains(&name);
        self.number(parameters.keys().filter(|name| matter(name)).count() as u64);
        for (name, value) in parameters.iter().filter(|(name, _)| matter(name)) {
            self.text(name);
            self.value(value);
        }
    }

    fn value(&mut self, value: &ParameterValue) {
        match value {
            ParameterValue::Bool(flag) => self.tagged(0, u64::from(*flag)),
            ParameterValue::Int(number) => self.tagged(1, number.cast_unsigned()),
            // A number that both transports can say is the same number.
            ParameterValue::Uint(number) if i64::try_from(*number).is_ok() => self.tagged(1, *number),
            ParameterValue::Uint(number) => self.tagged(2, *number),
            ParameterValue::Double(number) => self.tagged(3, number.to_bits()),
            ParameterValue::String(text) => {
                self.number(4);
                self.text(text);
            }
        }
    }

    fn tagged(&mut self, tag: u64, value: u64) {
        self.number(tag);
        self.number(value);
    }

    /// How many bytes there are to hash.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.data.iter().map(Bytes::len).sum::<usize>()
    }

    /// The key, among those of one generation.
    pub fn key(&self, generation: u64) -> Key {
        let mut hash = Sha256::new();
        hash.update(generation.to_le_bytes());
        hash.update((self.head.len() as u64).to_le_bytes());
        hash.update(&self.head);
        self.data.iter().for_each(|data| hash.update(data));
        Key(hash.finalize().into())
    }
}

/// Whether the answer to a request depends on other requests, so that it cannot be kept.
pub fn in_sequence(parameters: &Parameters) -> bool {
    OF_SEQUENCES.iter().any(|name| parameters.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODEL: Fingerprint = Fingerprint([7; 32]);

    fn tensor(name: &str, numbers: &[f32]) -> Tensor {
        Tensor::from_f32(name, vec![i64::try_from(numbers.len()).unwrap()], numbers).unwrap()
    }

    fn request() -> InferRequest {
        let outputs = ["y", "z"].map(|name| RequestedOutput { name: name.to_owned(), ..RequestedOutput::default() });
        InferRequest {
            model_name: "m".to_owned(),
            inputs: vec![tensor("a", &[1.0, 2.0]), tensor("b", &[3.0])],
            outputs: outputs.to_vec(),
            ..InferRequest::default()
        }
    }

    fn key(request: &InferRequest) -> Key {
        Subject::of_request(&MODEL, request).key(0)
    }

    /// Changes a request, and says whether its answer may be another one then.
    #[test]
    fn what_decides_an_answer_decides_the_key() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut InferRequest), another: bool) {
            let mut changed = request();
            change(&mut changed);
            assert_eq!(key(&changed) != key(&request()), another, "{changed:?}");
        }
        fn with(name: &str, value: ParameterValue) -> impl FnOnce(&mut InferRequest) {
            let name = name.to_owned();
            move |request| drop(request.parameters.insert(name, value))
        }
        check(|_| (), false);
        check(|request| request.id = "7".to_owned(), false);
        check(with("timeout", ParameterValue::Int(5)), false);
        check(with("priority", ParameterValue::Uint(2)), false);
        check(with("temperature", ParameterValue::Double(0.5)), true);
        check(|request| request.inputs.reverse(), false);
        check(|request| request.inputs[0].name = "c".to_owned(), true);
        check(|request| request.inputs[0] = tensor("a", &[1.0, 2.5]), true);
        check(|request| request.inputs[0].shape = vec![2, 1], true);
        check(|request| request.inputs[0].datatype = proofload_wire::tensor::DataType::Int32, true);
        // The same bytes, cut elsewhere.
        check(|request| request.inputs = vec![tensor("a", &[1.0]), tensor("b", &[2.0, 3.0])], true);
        check(|request| request.outputs.reverse(), true);
        check(|request| request.outputs.truncate(1), true);
        let classes = |request: &mut InferRequest| {
            request.outputs[0].parameters = [("classification".to_owned(), ParameterValue::Int(3))].into();
        };
        check(classes, true);
    }

    #[test]
    fn a_number_is_the_same_over_both_transports() {
        let with = |value| InferRequest { parameters: [("k".to_owned(), value)].into(), ..request() };
        assert_eq!(key(&with(ParameterValue::Int(5))), key(&with(ParameterValue::Uint(5))));
        assert_ne!(key(&with(ParameterValue::Int(-1))), key(&with(ParameterValue::Uint(u64::MAX))));
        assert_ne!(key(&with(ParameterValue::Int(1))), key(&with(ParameterValue::Bool(true))));
    }

    #[test]
    fn a_generation_has_keys_of_its_own() {
        let subject = Subject::of_request(&MODEL, &request());
        assert_ne!(subject.key(0), subject.key(1));
        let other = Subject::of_request(&Fingerprint([8; 32]), &request());
        assert_ne!(subject.key(0), other.key(0), "another load is another model");
    }

    #[test]
    fn requests_of_sequences_are_told() {
        let check = |name: &str, expected| {
            let parameters = [(name.to_owned(), ParameterValue::Int(1))].into();
            assert_eq!(in_sequence(&parameters), expected, "{name}");
        };
        check("sequence_id", true);
        check("sequence_end", true);
        check("priority", false);
    }

    proptest! {
        /// However parts are cut, two lists of texts that differ have keys that differ.
        #[test]
        fn parts_cannot_be_confused(
            one in proptest::collection::vec(".{0,3}", 0..4),
            other in proptest::collection::vec(".{0,3}", 0..4),
        ) {
            let key = |texts: &[String], as_data: bool| {
                let mut subject = Subject::new("k");
                for text in texts {
                    if as_data { subject.data(text.clone().into()) } else { subject.text(text) }
                }
                subject.key(0)
            };
            prop_assert_eq!(key(&one, false) == key(&other, false), one == other);
            prop_assert_eq!(key(&one, true) == key(&other, true), one == other);
        }
    }
}
