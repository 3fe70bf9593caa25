//! What the relief service expects of its depth model: the tensors that go in and come out. Another network may take
//! the place of ours (`daemon/models/relief/MODEL_CARD.md`) as long as it keeps to this. Pure.

use proofload_wire::WireError;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::tensor::Tensor;

use super::height::Depths;
use super::picture::Raster;

/// The model's name in the repository.
pub const MODEL: &str = "relief_depth";
/// Its input: FP32 `[N, 3, H, W]`, red, green and blue in 0..1.
const INPUT: &str = "image";
/// Its output: FP32 `[N, 1, H, W]`, larger is nearer. It may have another resolution than the input.
const OUTPUT: &str = "depth";

/// Asks for the depths of a picture.
///
/// # Errors
/// When the raster's planes do not fit its size.
pub fn request(raster: &Raster) -> Result<InferRequest, WireError> {
    let shape = [1, 3, raster.rows, raster.columns].map(|dimension| dimension as i64);
    let input = Tensor::from_f32(INPUT, shape.to_vec(), &raster.planes)?;
    Ok(InferRequest { model_name: MODEL.to_owned(), inputs: vec![input], ..InferRequest::default() })
}

/// Reads the depths from the answer.
///
/// # Errors
/// What the model should have answered instead.
pub fn depths(response: &InferResponse) -> Result<Depths, String> {
    let output = response.outputs.iter().find(|output| output.name == OUTPUT);
    let output = output.ok_or_else(|| format!("model '{MODEL}' has no output '{OUTPUT}'"))?;
    let &[1, 1, rows, columns] = output.shape.as_slice() else {
        return Err(format!("model '{MODEL}': '{OUTPUT}' must have the shape [1, 1, H, W], not {:?}", output.shape));
    };
    let values = output.to_f32().map_err(|error| format!("model '{MODEL}': {error}"))?;
    let side = |dimension| usize::try_from(dimension).unwrap_or_default();
    Ok(Depths { columns: side(columns), rows: side(rows), values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raster_becomes_a_batch_of_one() {
        let raster = Raster { columns: 3, rows: 2, planes: vec![0.5; 18], alpha: None, aspect: 1.0 };
        let request = request(&raster).unwrap();
        assert_eq!((request.model_name.as_str(), request.inputs[0].shape.as_slice()), (MODEL, &[1, 3, 2, 3][..]));
    }

    #[test]
    fn depths_are_read_and_other_answers_named() {
        let answer = |name: &str, shape: &[i64]| {
            let values = vec![0.5; shape.iter().product::<i64>() as usize];
            let outputs = vec![Tensor::from_f32(name, shape.to_vec(), &values).unwrap()];
            depths(&InferResponse { outputs, ..InferResponse::default() })
        };
        assert_eq!(answer("depth", &[1, 1, 2, 3]), Ok(Depths { columns: 3, rows: 2, values: vec![0.5; 6] }));
        for (name, shape, part) in [
            ("d", [1, 1, 2, 3].as_slice(), "no output 'depth'"),
            ("depth", &[1, 2, 3], "must have the shape [1, 1, H, W], not [1, 2, 3]"),
            ("depth", &[2, 1, 2, 3], "must have the shape"),
        ] {
            let error = answer(name, shape).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
