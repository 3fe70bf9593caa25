//! A backend whose outputs are its inputs, of any data type, so that what a client reads can be compared with what it
//! sent. Decoupled, it answers each request as often as its configuration says. It computes nothing.

pub mod declaration;

use std::time::{Duration, Instant};

use proofload_wire::tensor::Tensor;

use super::responses::{Gone, Part};
use super::{Backend, BackendError, Request, Stages};

/// How often it looks whether its client is still there while it waits.
const LOOK: Duration = Duration::from_millis(10);

/// What an identity model declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentitySpec {
    /// How many responses a request gets; 1 unless the model is decoupled.
    pub repeat: u32,
    /// How long computing each takes.
    pub delay: Duration,
    /// Whether responses are sent one by one, to clients that may read slowly.
    pub decoupled: bool,
}

/// An instance of an identity model.
#[derive(Debug)]
pub struct Identity {
    spec: IdentitySpec,
    /// Names of the outputs, in the order of the inputs.
    outputs: Vec<String>,
}

impl Identity {
    /// An instance of a model with these outputs.
    pub fn new(spec: IdentitySpec, outputs: Vec<String>) -> Self {
        Self { spec, outputs }
    }

    fn copies(&self, request: &Request) -> Vec<Tensor> {
        let copy = |(input, name): (&Tensor, &String)| Tensor { name: name.clone(), ..input.clone() };
        request.inputs.iter().zip(&self.outputs).map(copy).collect()
    }

    /// Sends a request's responses. That its client left ends it early, and is no failure.
    fn repeat(&self, request: &Request) -> Result<(), Gone> {
        let Some(responses) = &request.responses else { return Ok(()) };
        for _ in 0..self.spec.repeat {
            let computing = Instant::now();
            while let Some(left) = self.spec.delay.checked_sub(computing.elapsed()).filter(|left| !left.is_zero()) {
                if responses.is_gone() {
                    return Err(Gone);
                }
                std::thread::sleep(left.min(LOOK));
            }
            let computed = Instant::now();
            let outputs = self.copies(request);
            responses.send(Part { outputs, computing, computed, finished: Instant::now() })?;
        }
        Ok(())
    }
}

impl Backend for Identity {
    fn execute(&mut self, requests: &[Request], stages: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
        stages.compute_begins();
        let decoupled = requests.iter().any(|request| request.responses.is_some());
        if !decoupled && !self.spec.delay.is_zero() {
            std::thread::sleep(self.spec.delay);
        }
        let answer = |request: &Request| match request.responses {
            Some(_) => {
                // Nobody is left to be told.
                let _ = self.repeat(request);
                Vec::new()
            }
            None => self.copies(request),
        };
        let answers = requests.iter().map(answer).collect();
        stages.compute_ends();
        Ok(answers)
    }

    fn runs_anywhere(&self) -> bool {
        self.spec.delay.is_zero() && !self.spec.decoupled
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proofload_wire::tensor::DataType;

    use super::super::responses::Responses;
    use super::*;

    fn input(data: &'static [u8]) -> Tensor {
        Tensor::new("x", DataType::Bf16, vec![data.len() as i64 / 2], Bytes::from_static(data)).expect("well-formed")
    }

    fn stages() -> Stages {
        Stages::start(Instant::now(), Instant::now())
    }

    #[test]
    fn outputs_are_inputs_under_their_own_names() {
        let mut identity =
            Identity::new(IdentitySpec { repeat: 1, delay: Duration::ZERO, decoupled: false }, vec!["y".to_owned()]);
        let requests = [Request::new(vec![input(b"abcd")], 1), Request::new(vec![input(b"ef")], 1)];
        let answers = identity.execute(&requests, &mut stages()).expect("it cannot fail");
        let shown: Vec<_> = answers.iter().map(|outputs| (outputs[0].name.as_str(), &outputs[0].data[..])).collect();
        assert_eq!(shown, [("y", &b"abcd"[..]), ("y", b"ef")]);
    }

    #[test]
    fn a_decoupled_request_gets_its_responses_until_its_client_leaves() {
        let check = |repeat, read: usize| {
            let spec = IdentitySpec { repeat, delay: Duration::from_millis(1), decoupled: true };
            let (responses, mut parts) = Responses::channel();
            let reader = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                (0..read).map_while(|_| runtime.block_on(parts.next())).count()
            });
            let request = Request { responses: Some(responses), ..Request::new(vec![input(b"abcd")], 1) };
            let mut identity = Identity::new(spec, vec!["y".to_owned()]);
            let begun = Instant::now();
            let answers = identity.execute(&[request], &mut stages()).expect("it cannot fail");
            assert_eq!((answers, reader.join().expect("no panic")), (vec![Vec::new()], read));
            begun.elapsed()
        };
        check(0, 0);
        check(5, 5);
        let left = check(100_000, 3);
        assert!(left < Duration::from_secs(50), "it would have taken 100 s: {left:?}");
    }
}
