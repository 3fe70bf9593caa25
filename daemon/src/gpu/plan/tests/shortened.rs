//! What operators become.

use super::super::bind::bind;
use super::super::operation::{Convolution, Operation, Product};
use super::super::rewrite::rewrite;
use super::super::{Precision, Settings};
use super::{FLOAT, assert_near, computed, planned, reals, whole};
use crate::gpu::graph::operator::Function;
use crate::gpu::graph::tensor::{Element, Tensor};
use crate::gpu::graph::testing::Model;

/// Checks which steps remain, that they give what those of all operators give, and FP16 nearly so.
fn check(build: &dyn Fn(&mut Model), shape: &[usize], expected: &[&str]) -> Vec<Operation> {
    let mut model = Model::new(17);
    model.input("x", FLOAT, &shape.iter().map(|_| None).collect::<Vec<_>>());
    build(&mut model);
    model.output("y", FLOAT);
    let of = |settings| planned(&model, &[shape], settings).expect("a plan");
    let (short, long) = (of(Settings::default()), of(Settings { optimised: false, ..Settings::default() }));
    let names: Vec<_> = short.steps.iter().map(|step| step.operation.name()).collect();
    assert_eq!(names, expected);
    let wanted = computed(&long);
    assert_near(&computed(&short), &wanted, 1e-5);
    assert_near(&computed(&of(Settings { precision: Precision::Fp16, ..Settings::default() })), &wanted, 1e-2);
    short.steps.into_iter().map(|step| step.operation).collect()
}

fn positive(count: usize, seed: u64) -> Tensor {
    Tensor::vector(super::numbers(count, seed).iter().map(|number| number.abs() + 0.5).collect())
}

/// Adds a batch normalisation of so many channels.
fn normalized(model: &mut Model, from: &str, to: &str, channels: usize) {
    let names = ["scale", "shift", "mean", "variance"].map(|name| format!("{to}_{name}"));
    model.constant(&names[0], &reals(&[channels], 3)).constant(&names[1], &reals(&[channels], 4));
    model.constant(&names[2], &reals(&[channels], 5)).constant(&names[3], &positive(channels, 6));
    let [scale, shift, mean, variance] = names.each_ref().map(String::as_str);
    model.node("BatchNormalization", &[from, scale, shift, mean, variance], &[to]);
}

#[test]
fn normalisation_bias_and_activation_go_into_the_convolution() {
    let operations = check(
        &|model| {
            model.constant("w", &reals(&[4, 3, 3, 3], 1)).constant("b", &reals(&[4], 2));
            model.ints("pads", &[1, 1, 1, 1]).node("Conv", &["x", "w", "b"], &["c"]);
            normalized(model, "c", "n", 4);
            model.node("Relu", &["n"], &["y"]);
        },
        &[2, 3, 5, 6],
        &["convolution"],
    );
    let activation = Some(Function::Relu);
    assert!(
        matches!(&operations[0], Operation::Convolution(Convolution { bias: true, activation: a, .. }) if *a == activation)
    );
    check(
        &|model| {
            model.constant("w", &reals(&[4, 3, 2, 2], 1)).constant("s", &reals(&[6, 1, 1], 2));
            model.int("group", 2).ints("strides", &[2, 2]).node("ConvTranspose", &["x", "w"], &["c"]);
            model.node("Mul", &["s", "c"], &["m"]);
            normalized(model, "m", "y", 6);
        },
        &[2, 4, 3, 3],
        &["transposed convolution"],
    );
    // What somebody else takes too must be there as it was.
    check(
        &|model| {
            model.constant("w", &reals(&[3, 3, 1, 1], 1)).node("Conv", &["x", "w"], &["c"]);
            normalized(model, "c", "n", 3);
            model.node("Add", &["c", "n"], &["s"]).node("Relu", &["s"], &["y"]);
        },
        &[1, 3, 4, 4],
        &["convolution", "channels", "channels"],
    );
}

#[test]
fn what_sees_a_picture_in_other_dimensions_stays_behind_the_convolution() {
    let seen_as = |shape: &[i64], add: bool, expected: &[&str]| {
        let build = |model: &mut Model| {
            model.constant("w", &reals(&[4, 3, 1, 1], 1)).node("Conv", &["x", "w"], &["c"]);
            model.constant("shape", &Tensor::list(shape.to_vec())).node("Reshape", &["c", "shape"], &["r"]);
            if add {
                model.constant("b", &reals(&[4, 1], 2)).node("Add", &["r", "b"], &["y"]);
            } else {
                normalized(model, "r", "y", 4);
            }
        };
        check(&build, &[2, 3, 2, 2], expected);
    };
    seen_as(&[2, 4, 4], true, &["convolution"]);
    seen_as(&[2, 4, 4], false, &["convolution"]);
    seen_as(&[1, 4, 8], true, &["convolution", "binary"]);
    seen_as(&[1, 4, 8], false, &["convolution", "channels"]);
    seen_as(&[8, 4, 1], true, &["convolution", "binary"]);
    seen_as(&[8, 4, 1], false, &["convolution", "channels"]);
}

#[test]
fn weights_are_made_anew_while_there_is_room() {
    let check = |room: usize, expected: &[&str]| {
        let mut model = Model::new(17);
        model.input("x", FLOAT, &[Some(1), Some(3), Some(2), Some(2)]).constant("w", &reals(&[2, 3, 1, 1], 1));
        model.constant("s", &Tensor::scalar(2.0)).constant("b", &reals(&[2, 1, 1], 2)).node(
            "Conv",
            &["x", "w"],
            &["c"],
        );
        model.node("Mul", &["c", "s"], &["m"]).node("Add", &["m", "b"], &["y"]).output("y", FLOAT);
        let mut bound = bind(&super::graph(&model), &[vec![1, 3, 2, 2]], true).expect("bound");
        bound.draft.leave_room(room);
        rewrite(&mut bound.draft, &mut bound.outputs, false);
        let names: Vec<_> = bound.draft.ops.iter().map(|op| op.operation.name()).collect();
        assert_eq!(names, expected, "{room}");
    };
    // 6 weights that are scaled, and 2 biases.
    check(8, &["convolution"]);
    check(7, &["convolution", "binary"]);
    check(5, &["convolution", "binary", "binary"]);
    check(0, &["convolution", "binary", "binary"]);
}

#[test]
fn a_linear_layer_is_one_product() {
    let operations = check(
        &|model| {
            model.constant("w", &reals(&[5, 6], 1)).constant("b", &reals(&[6], 2));
            model.node("MatMul", &["x", "w"], &["m"]).node("Add", &["b", "m"], &["y"]);
        },
        &[2, 3, 5],
        &["matrix product"],
    );
    assert!(
        matches!(operations[0], Operation::Product(Product { batch: 1, rows: 6, bias: true, .. })),
        "{operations:?}"
    );
    check(
        &|model| {
            model.constant("w", &reals(&[6, 5], 1)).constant("b", &reals(&[1, 6], 2)).int("transB", 1);
            model.node("Gemm", &["x", "w", "b"], &["g"]).node("Tanh", &["g"], &["y"]);
        },
        &[4, 5],
        &["matrix product"],
    );
    check(
        &|model| {
            model.ints("perm", &[0, 1, 3, 2]).node("Transpose", &["x"], &["t"]).node("MatMul", &["x", "t"], &["m"]);
            model.constant("d", &Tensor::scalar(2.5)).node("Div", &["m", "d"], &["y"]);
        },
        &[2, 2, 3, 4],
        &["transpose", "matrix product"],
    );
}

#[test]
fn functions_in_parts_are_put_together() {
    let gelu = |model: &mut Model| {
        let scalar = |number: f32| Tensor::scalar(number);
        model.constant("root", &scalar(2.0_f32.sqrt())).constant("one", &scalar(1.0)).constant("half", &scalar(0.5));
        model.node("Div", &["x", "root"], &["d"]).node("Erf", &["d"], &["e"]).node("Add", &["e", "one"], &["a"]);
        model.node("Mul", &["x", "a"], &["m"]).node("Mul", &["m", "half"], &["y"]);
    };
    let operations = check(&gelu, &[3, 4], &["unary"]);
    assert!(matches!(operations[0], Operation::Unary { function: Function::Gelu, .. }), "{operations:?}");
    let silu = |model: &mut Model| {
        model.constant("w", &reals(&[2, 3, 1, 1], 1)).node("Conv", &["x", "w"], &["c"]);
        model.node("Sigmoid", &["c"], &["s"]).node("Mul", &["s", "c"], &["y"]);
    };
    let operations = check(&silu, &[1, 3, 2, 2], &["convolution"]);
    let silu = Some(Function::Silu);
    assert!(matches!(&operations[0], Operation::Convolution(Convolution { activation: a, .. }) if *a == silu));
    check(
        &|model| _ = model.node("Sigmoid", &["x"], &["s"]).node("Mul", &["s", "s"], &["y"]),
        &[3],
        &["unary", "binary"],
    );
}

#[test]
fn what_changes_nothing_goes_away() {
    check(
        &|model| {
            model.constant("zero", &Tensor::scalar(0.0)).constant("one", &Tensor::vector(vec![1.0; 3]));
            model.node("Identity", &["x"], &["i"]).node("Add", &["i", "zero"], &["a"]).node(
                "Mul",
                &["one", "a"],
                &["m"],
            );
            model.ints("perm", &[0, 1]).node("Transpose", &["m"], &["t"]).node("Relu", &["t"], &["y"]);
        },
        &[2, 3],
        &["unary"],
    );
    // It makes the result larger, so it is needed.
    check(
        &|model| {
            model.constant("zeros", &whole(Element::I64, &[2], vec![2, 3]).cast(Element::F32));
            model.constant(
                "z",
                &Tensor::new(Element::F32, vec![2, 1], super::Data::Real(vec![0.0; 2])).expect("well-formed"),
            );
            model.node("Add", &["x", "z"], &["y"]);
        },
        &[1, 3],
        &["binary"],
    );
}

#[test]
fn shapes_are_computed_beforehand() {
    check(
        &|model| {
            model.node("Shape", &["x"], &["s"]).constant("zero", &Tensor::list(vec![0]));
            model.node("Gather", &["s", "zero"], &["n"]).constant("rest", &Tensor::list(vec![-1]));
            model.int("axis", 0).node("Concat", &["n", "rest"], &["target"]).node("Reshape", &["x", "target"], &["r"]);
            model.node("Relu", &["r"], &["y"]);
        },
        &[2, 3, 4],
        &["unary"],
    );
    // No dimensions are dimensions too.
    check(
        &|model| {
            model.node("Shape", &["x"], &["s"]).constant("zero", &Tensor::list(vec![0]));
            model.node("Slice", &["s", "zero", "zero"], &["n"]).constant("rest", &Tensor::list(vec![-1]));
            model.int("axis", 0).node("Concat", &["n", "rest"], &["target"]).node("Reshape", &["x", "target"], &["r"]);
            model.node("Relu", &["r"], &["y"]);
        },
        &[2, 3, 4],
        &["unary"],
    );
}

/// Adds a quantisation and its inverse.
fn quantized(model: &mut Model, from: &str, to: &str, scale: f32) {
    let names = ["scale", "zero", "q"].map(|name| format!("{to}_{name}"));
    model.constant(&names[0], &Tensor::scalar(scale)).constant(&names[1], &whole(Element::I8, &[], vec![0]));
    let [scale, zero, q] = names.each_ref().map(String::as_str);
    model.node("QuantizeLinear", &[from, scale, zero], &[q]).node("DequantizeLinear", &[q, scale, zero], &[to]);
}

#[test]
fn between_quantisations_is_computed_in_integers() {
    let mut model = Model::new(17);
    model.input("x", FLOAT, &[None, Some(3), None, None]);
    quantized(&mut model, "x", "xd", 0.01);
    let weights = super::numbers(2 * 3 * 9, 8).iter().map(|number| (number * 127.0) as i64).collect();
    model.constant("wq", &whole(Element::I8, &[2, 3, 3, 3], weights));
    model.constant("ws", &Tensor::vector(vec![0.02, 0.03])).constant("wz", &whole(Element::I8, &[2], vec![0, 0]));
    model.int("axis", 0).node("DequantizeLinear", &["wq", "ws", "wz"], &["w"]).constant("b", &reals(&[2], 9));
    model.ints("pads", &[1, 1, 1, 1]).node("Conv", &["xd", "w", "b"], &["c"]).node("Relu", &["c"], &["r"]);
    quantized(&mut model, "r", "y", 0.02);
    model.output("y", FLOAT);
    let of = |settings| planned(&model, &[&[1, 3, 4, 4]], settings).expect("a plan");
    let (int8, float) = (of(Settings { int8: true, ..Settings::default() }), of(Settings::default()));
    let worth = int8.steps.iter().find_map(|step| match &step.operation {
        Operation::Convolution(convolution) => Some(convolution.worth.clone()),
        _ => None,
    });
    let worth = worth.flatten().expect("in integers");
    assert!(worth.iter().zip([0.0002, 0.0003]).all(|(worth, expected)| (worth - expected).abs() < 1e-9), "{worth:?}");
    assert_eq!(int8.constants.iter().filter(|constant| constant.element == Element::I8).count(), 3);
    // One step of the last quantisation is what rounding may change.
    assert_near(&computed(&int8), &computed(&float), 0.02);
    let names: Vec<_> = int8.steps.iter().map(|step| step.operation.name()).collect();
    assert_eq!(names, ["quantize", "convolution", "quantize", "dequantize"]);
}
