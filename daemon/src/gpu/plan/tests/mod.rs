//! Plans of whole graphs: what becomes of operators, that nothing changes what is computed, and that memory is never read
//! but where it was written.

mod invariants;
mod shortened;

use super::{Plan, PlanError, Settings, plan, twin};
use crate::gpu::graph::tensor::{Data, Element, Tensor};
use crate::gpu::graph::testing::Model;
use crate::gpu::graph::{Graph, read};

pub(crate) const FLOAT: i32 = 1;

pub(crate) fn graph(model: &Model) -> Graph {
    read(model.encoded()).expect("a graph")
}

pub(crate) fn planned(model: &Model, shapes: &[&[usize]], settings: Settings) -> Result<Plan, PlanError> {
    let shapes: Vec<Vec<usize>> = shapes.iter().map(|shape| shape.to_vec()).collect();
    plan(&graph(model), &shapes, settings)
}

/// Numbers that look random and are always the same.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn reals(shape: &[usize], seed: u64) -> Tensor {
    let data = Data::Real(numbers(shape.iter().product(), seed));
    Tensor::new(Element::F32, shape.to_vec(), data).expect("well-formed")
}

pub(crate) fn whole(element: Element, shape: &[usize], numbers: Vec<i64>) -> Tensor {
    Tensor::new(element, shape.to_vec(), Data::Whole(numbers)).expect("well-formed")
}

/// What a plan gives for inputs that look random.
pub(crate) fn computed(plan: &Plan) -> Vec<Tensor> {
    let inputs = plan.inputs.iter().enumerate();
    let inputs = inputs.map(|(at, outlet)| reals(&outlet.shape, at as u64 + 77).cast(outlet.operand.element));
    twin::run(plan, &inputs.collect::<Vec<_>>()).expect("computed")
}

/// Asserts that results are the same, relative to the largest number among them.
pub(crate) fn assert_near(found: &[Tensor], expected: &[Tensor], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.shape(), expected.shape());
        let (found, expected) = (found.reals().expect("real"), expected.reals().expect("real"));
        let largest = expected.iter().fold(1e-3_f32, |largest, number| largest.max(number.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance * largest, "{found} instead of {expected} ({largest})");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let check = |build: &dyn Fn(&mut Model), shapes: &[&[usize]], parts: &[&str]| {
        let mut model = Model::new(17);
        build(&mut model);
        let error = planned(&model, shapes, Settings::default()).expect_err("refused").to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "{error} lacks {part}"));
    };
    let x = |model: &mut Model| _ = model.input("x", FLOAT, &[None, Some(3), None, None]);
    check(&x, &[], &["0 inputs were given to a graph of 1"]);
    check(&x, &[&[1, 4, 5, 5]], &["input 'x' is declared with shape", "not [1, 4, 5, 5]"]);
    let convolution = |model: &mut Model| {
        x(model);
        model.constant("w", &reals(&[2, 4, 3, 3], 1)).node("Conv", &["x", "w"], &["y"]).output("y", FLOAT);
    };
    check(&convolution, &[&[1, 3, 5, 5]], &["Conv 'y': weights [2, 4, 3, 3] in 1 groups do not fit [1, 3, 5, 5]"]);
    let large = |model: &mut Model| {
        x(model);
        model.constant("w", &reals(&[2, 3, 7, 7], 1)).node("Conv", &["x", "w"], &["y"]).output("y", FLOAT);
    };
    check(&large, &[&[1, 3, 5, 5]], &["a window that reaches over 7 does not fit [5, 5]"]);
    let indices = |model: &mut Model| {
        model.input("i", 7, &[Some(2)]).node("Neg", &["i"], &["y"]).output("y", 7);
    };
    check(&indices, &[&[2]], &["Neg 'y': computes with INT64"]);
    let wide = |model: &mut Model| {
        model.input("x", FLOAT, &[None, Some(1)]).input("z", FLOAT, &[Some(1), None]);
        model.node("Add", &["x", "z"], &["y"]).output("y", FLOAT);
    };
    check(&wide, &[&[1 << 20, 1], &[1, 1 << 20]], &["Add 'y'", "more than 2147483647 elements"]);
    check(&wide, &[&[0, 1], &[1, 2]], &["no elements"]);
    let sized = |model: &mut Model| _ = model.node("ConstantOfShape", &["s"], &["y"]).output("y", FLOAT);
    let many = |model: &mut Model| sized(model.constant("s", &Tensor::list(vec![1 << 23])));
    check(&many, &[], &["ConstantOfShape 'y'", "more than 4194304 elements"]);
}

#[test]
fn what_has_no_elements_is_refused_without_walking_its_dimensions() {
    let check = |build: &dyn Fn(&mut Model), expected: &str| {
        let mut model = Model::new(17);
        model
            .constant("e", &reals(&[1 << 60, 3, 0], 1))
            .constant("i", &whole(Element::I64, &[1 << 60, 3, 0], Vec::new()));
        model.input("x", FLOAT, &[Some(2)]).constant("two", &Tensor::list(vec![0, 1]));
        build(&mut model);
        model.output("y", FLOAT);
        for optimised in [true, false] {
            let made = planned(&model, &[&[2]], Settings { optimised, ..Settings::default() });
            match (made, expected) {
                (Ok(plan), "") => assert_eq!(plan.steps.len(), 1),
                (made, _) => assert_eq!(made.expect_err("refused").to_string(), expected),
            }
        }
    };
    let no = |node: &str| format!("{node}: computes with a value that has no elements");
    check(&|m| _ = m.int("axis", 2).node("Softmax", &["e"], &["y"]), &no("Softmax 'y'"));
    check(&|m| _ = m.int("axis", 1).node("Softmax", &["e"], &["y"]), &no("Softmax 'y'"));
    check(&|m| _ = m.int("axis", 1).node("Concat", &["e", "e"], &["y"]), &no("Concat 'y'"));
    check(&|m| _ = m.int("axis", 1).node("Gather", &["e", "two"], &["y"]), &no("Gather 'y'"));
    // Lists of dimensions may be empty.
    let lists = |m: &mut Model| {
        m.int("axis", 1).node("Concat", &["i", "i"], &["c"]).int("to", 1).node("Cast", &["c"], &["y"]);
    };
    check(&lists, &no("Cast 'y'"));
    // What nobody wants is no reason to refuse.
    check(&|m| _ = m.int("axis", 1).node("Softmax", &["e"], &["s"]).node("Relu", &["x"], &["y"]), "");
}

#[test]
fn inputs_and_outputs_are_of_the_declared_type() {
    let mut model = Model::new(17);
    model.input("x", 10, &[Some(2)]).node("Relu", &["x"], &["y"]).output("y", FLOAT);
    for precision in [super::Precision::Fp32, super::Precision::Fp16] {
        let plan = planned(&model, &[&[2]], Settings { precision, ..Settings::default() }).expect("a plan");
        let kinds = (plan.inputs[0].operand.element, plan.outputs[0].operand.element);
        assert_eq!(kinds, (Element::F16, Element::F32), "{precision:?}");
        let x = Tensor::new(Element::F16, vec![2], Data::Real(vec![-1.0, 0.1])).expect("well-formed");
        let y = twin::run(&plan, &[x]).expect("computed");
        let y = y[0].reals().expect("real");
        assert!(y[0] == 0.0 && (y[1] - 0.1).abs() < 1e-4, "{y:?}");
    }
}
