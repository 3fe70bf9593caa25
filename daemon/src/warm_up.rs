//! Warming a model: requests that its configuration describes (`model_warmup`) are computed by every instance before the
//! model takes any other. They wait in no queue and count nowhere.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use proofload_wire::grpc::inference::ModelWarmup;
use proofload_wire::grpc::inference::model_warmup::Input;
use proofload_wire::grpc::inference::model_warmup::input::InputDataType;
use proofload_wire::tensor::{DataType, Tensor, element_count};
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::backend::{Backend, Request, Stages};
use crate::engine::check;
use crate::repository::spec::ModelSpec;

/// More than this is a slip of the pen: it would be held for every input at once.
const MAX_INPUT_BYTES: usize = 1 << 30;
/// The same numbers at every start.
const SEED: u64 = 0x5eed;

/// A request that warms a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name, for messages.
    pub name: String,
    /// The inputs, in the order of the model's configuration.
    pub inputs: Vec<Tensor>,
    /// Its batch elements.
    pub elements: u32,
    /// How often it is computed.
    pub count: u32,
}

/// The samples of a model. `file` gives the content of a file in the model's folder.
///
/// # Errors
/// One message for each sample that cannot be made or does not fit the model.
pub fn samples(spec: &ModelSpec, file: impl Fn(&str) -> io::Result<Vec<u8>>) -> Result<Vec<Sample>, Vec<String>> {
    let sample = |written| {
        sample(spec, written, &file)
            .map_err(|what| format!("the sample \"{}\" of 'model_warmup': {what}", written.name.escape_debug()))
    };
    let (samples, errors): (Vec<_>, Vec<_>) = spec.config.model_warmup.iter().map(sample).partition(Result::is_ok);
    if errors.is_empty() {
        return Ok(samples.into_iter().filter_map(Result::ok).collect());
    }
    Err(errors.into_iter().filter_map(Result::err).collect())
}

fn sample(
    spec: &ModelSpec,
    written: &ModelWarmup,
    file: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Sample, String> {
    let batch = spec.batched().then_some(i64::from(written.batch_size.max(1)));
    if batch.is_none() && written.batch_size > 1 {
        return Err("'batch_size' must be 1 for a model without a batch dimension".to_owned());
    }
    let tensor = |(name, input): (&String, &Input)| {
        tensor(name, input, batch, &file).map_err(|what| format!("input '{}': {what}", name.escape_debug()))
    };
    let inputs = written.inputs.iter().map(tensor).collect::<Result<_, _>>()?;
    let checked = check::check(spec, inputs, &[]).map_err(|error| error.to_string())?;
    let count = written.count.max(1);
    Ok(Sample { name: written.name.clone(), inputs: checked.inputs, elements: checked.elements, count })
}

fn tensor(
    name: &str,
    input: &Input,
    batch: Option<i64>,
    file: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Tensor, String> {
    let datatype = DataType::from_config(input.data_type()).ok_or("it has no 'data_type'")?;
    let count = element_count(&input.dims).map_err(|error| error.to_string())?;
    let copies = usize::try_from(batch.unwrap_or(1)).unwrap_or(usize::MAX);
    let bytes = count.saturating_mul(datatype.size().unwrap_or(EMPTY_STRING_BYTES));
    if bytes.saturating_mul(copies) > MAX_INPUT_BYTES {
        return Err(format!("its shape {:?} takes more than {MAX_INPUT_BYTES} bytes", input.dims));
    }
    let element = match &input.input_data_type {
        Some(InputDataType::RandomData(true)) => random(datatype, count)?,
        // Triton's file is one element of the batch.
        Some(InputDataType::InputDataFile(name)) => {
            let path = format!("{FOLDER}/{name}");
            file(&path).map_err(|error| format!("cannot read 'input_data_file' {path}: {error}"))?
        }
        Some(InputDataType::ZeroData(_) | InputDataType::RandomData(false)) => vec![0; bytes],
        None => return Err("it needs 'zero_data', 'random_data' or 'input_data_file'".to_owned()),
    };
    let shape = batch.into_iter().chain(input.dims.iter().copied()).collect();
    Tensor::new(name.to_owned(), datatype, shape, Bytes::from(element.repeat(copies)))
        .map_err(|error| error.to_string())
}

/// Where Triton looks for the files, in the model's folder.
const FOLDER: &str = "warmup";
/// An empty string is its length alone.
const EMPTY_STRING_BYTES: usize = 4;

/// Numbers of a type, the same at every start. Those with a fraction are between 1 and 2: any bits at all would also
/// give what is no number.
fn random(datatype: DataType, count: usize) -> Result<Vec<u8>, String> {
    let mut rng = Pcg64Mcg::seed_from_u64(SEED);
    let mut bits = |mask: u64, exponent: u64, size: usize| {
        (0..count).flat_map(|_| ((rng.next_u64() & mask) | exponent).to_le_bytes()[..size].to_vec()).collect()
    };
    Ok(match datatype {
        DataType::Bytes => return Err("'random_data' is not for strings; use 'zero_data' or a file".to_owned()),
        DataType::Bool => bits(1, 0, 1),
        DataType::Fp16 => bits((1 << 10) - 1, 0x3c00, 2),
        DataType::Bf16 => bits((1 << 7) - 1, 0x3f80, 2),
        DataType::Fp32 => bits((1 << 23) - 1, 0x3f80_0000, 4),
        DataType::Fp64 => bits((1 << 52) - 1, 0x3ff0_0000_0000_0000, 8),
        other => bits(u64::MAX, 0, other.size().unwrap_or(0)),
    })
}

/// Has instances compute all samples, side by side.
///
/// # Errors
/// When one of them cannot.
pub fn run(instances: &mut [Box<dyn Backend>], samples: &[Sample]) -> Result<(), String> {
    if samples.is_empty() {
        return Ok(());
    }
    let warm =
        |instance: &mut Box<dyn Backend>| samples.iter().try_for_each(|sample| compute(instance.as_mut(), sample));
    std::thread::scope(|scope| {
        let running: Vec<_> = instances.iter_mut().map(|instance| scope.spawn(move || warm(instance))).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("it panicked".to_owned())))
    })
}

fn compute(instance: &mut dyn Backend, sample: &Sample) -> Result<(), String> {
    let requests = [Request::new(sample.inputs.clone(), sample.elements)];
    for _ in 0..sample.count {
        let now = Instant::now();
        let execute = || instance.execute(&requests, &mut Stages::start(now, now)).map(drop);
        let done = catch_unwind(AssertUnwindSafe(execute)).map_err(|_| "it panicked".to_owned());
        let done = done.and_then(|done| done.map_err(|error| error.to_string()));
        done.map_err(|what| format!("failed to run warmup sample '{}': {what}", sample.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt;
    use crate::repository::resolve::{Found, resolve};
    use crate::sched::queue::Limits;

    fn made(warm_up: &str) -> Result<Vec<Sample>, Vec<String>> {
        let text = format!(
            r#"backend: "identity" max_batch_size: 4
               input [{{ name: "x" data_type: TYPE_FP32 dims: [2] }}, {{ name: "s" data_type: TYPE_STRING dims: [-1] }}]
               output [{{ name: "y" data_type: TYPE_FP32 dims: [2] }}, {{ name: "t" data_type: TYPE_STRING dims: [-1] }}]
               model_warmup {{ name: "w" {warm_up} }}"#
        );
        let parsed = pbtxt::parse(&text);
        assert_eq!(parsed.errors, [], "{warm_up}");
        let found = Found { name: "m".to_owned(), version: 1, config: parsed.config, onnx: Vec::new() };
        let spec = resolve(found, Limits { requests: 1, bytes: 1 }).expect("right");
        let file = |name: &str| match name {
            "warmup/x.bin" => Ok([1f32.to_le_bytes(), 2f32.to_le_bytes()].concat()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        samples(&spec, file)
    }

    const STRINGS: &str = r#"inputs { key: "s" value { data_type: TYPE_STRING dims: 3 zero_data: true } }"#;

    fn x(data: &str) -> String {
        format!(r#"inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: 2 {data} }} }}"#)
    }

    #[test]
    fn samples_are_made_as_they_are_written() {
        let check = |data: &str, more: &str, expected: &[f32], elements: u32, count: u32| {
            let samples = made(&format!("{} {STRINGS} {more}", x(data))).expect(data);
            let [Sample { inputs, .. }] = &samples[..] else { panic!("one sample") };
            assert_eq!(inputs[0].to_f32().expect("numbers"), expected);
            assert_eq!(inputs[1].strings().count(), 3 * elements as usize);
            assert_eq!((samples[0].elements, samples[0].count), (elements, count));
        };
        check("zero_data: true", "", &[0.0, 0.0], 1, 1);
        check("input_data_file: \"x.bin\"", "batch_size: 2 count: 7", &[1.0, 2.0, 1.0, 2.0], 2, 7);
        let random = made(&format!("{} {STRINGS}", x("random_data: true"))).expect("right");
        let numbers = random[0].inputs[0].to_f32().expect("numbers");
        assert!(numbers.iter().all(|number| (1.0..2.0).contains(number)), "{numbers:?}");
        assert_ne!(numbers[0].to_bits(), numbers[1].to_bits());
    }

    #[test]
    fn samples_that_do_not_fit_are_named() {
        let check = |warm_up: &str, part: &str| {
            let errors = made(warm_up).expect_err(warm_up);
            assert!(errors.len() == 1 && errors[0].contains("\"w\"") && errors[0].contains(part), "{errors:?}");
        };
        check(STRINGS, "expected 2 inputs but got 1");
        check(&format!("{} {STRINGS}", x("")), "needs 'zero_data'");
        check(&format!("{} {STRINGS}", x("input_data_file: \"y.bin\"")), "warmup/y.bin");
        check(&format!("{} {STRINGS} batch_size: 5", x("zero_data: true")), "batch-size must be");
        let wrong = x("zero_data: true").replace("FP32", "FP64");
        check(&format!("{wrong} {STRINGS}"), "data-type is 'FP64'");
        let huge = x("zero_data: true").replace("dims: 2", "dims: [1000000, 1000000]");
        check(&format!("{huge} {STRINGS}"), "takes more than");
        check(&format!("{} {}", x("zero_data: true"), STRINGS.replace("zero", "random")), "not for strings");
    }
}
