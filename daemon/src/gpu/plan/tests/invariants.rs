//! What holds for every plan, tried on graphs that are put together at random.

use proptest::prelude::*;

use super::super::{Operand, Place, Plan, Precision, Settings};
use super::{FLOAT, assert_near, computed, numbers, planned, reals};
use crate::gpu::graph::tensor::Tensor;
use crate::gpu::graph::testing::Model;

/// Follows a plan through its arena: each step must find what was written for it, whole.
fn assert_memory_is_sound(plan: &Plan) {
    let mut written: Vec<(usize, usize)> = Vec::new();
    let write = |written: &mut Vec<(usize, usize)>, operand: Operand| {
        let Place::Arena(offset) = operand.place else { panic!("a constant is written: {operand:?}") };
        let range = (offset, offset + operand.bytes());
        assert!(range.1 <= plan.arena_bytes && offset % 256 == 0, "{operand:?}");
        written.retain(|other| other.1 <= range.0 || range.1 <= other.0);
        written.push(range);
    };
    let read = |written: &[(usize, usize)], operand: Operand| match operand.place {
        Place::Constant(at) => assert_eq!(plan.constants[at].tensor.data().len(), operand.count),
        Place::Arena(offset) => assert!(written.contains(&(offset, offset + operand.bytes())), "{operand:?} is gone"),
    };
    plan.inputs.iter().for_each(|outlet| write(&mut written, outlet.operand));
    for step in &plan.steps {
        step.inputs.iter().for_each(|operand| read(&written, *operand));
        write(&mut written, step.output);
    }
    plan.outputs.iter().for_each(|outlet| read(&written, outlet.operand));
    assert!(plan.arena_bytes <= plan.values_bytes);
}

/// One more node: which operator, and which two values it takes of those of its shape.
type Choice = (u8, prop::sample::Index, prop::sample::Index);

/// Weights under which numbers do not grow.
fn small(shape: &[usize], seed: u64) -> Tensor {
    let numbers = numbers(shape.iter().product(), seed).iter().map(|number| number * 0.2).collect();
    Tensor::vector(numbers).reshaped(shape.to_vec()).expect("well-formed")
}

/// A graph of pictures `[2, 4, 6, 6]`, in which each value may be taken again by any that follows.
fn assembled(choices: &[Choice]) -> Model {
    let mut model = Model::new(17);
    model.input("x", FLOAT, &[None, Some(4), None, None]);
    model.constant("w", &small(&[4, 4, 3, 3], 1)).constant("one", &small(&[4, 4, 1, 1], 2));
    model
        .constant("wt", &small(&[4, 2, 3, 3], 3))
        .constant("b", &reals(&[4, 1, 1], 4))
        .constant("m", &small(&[6, 6], 5));
    model.constant("scale", &reals(&[6], 6)).constant("v", &Tensor::vector(vec![0.5, 1.0, 1.5, 2.0]));
    model.constant("c", &reals(&[4], 7));
    let mut values = vec!["x".to_owned()];
    for (at, (operator, first, second)) in choices.iter().enumerate() {
        let (first, second) = (first.get(&values).clone(), second.get(&values).clone());
        let (a, b, name) = (first.as_str(), second.as_str(), format!("v{at}"));
        let y = &[name.as_str()];
        match operator % 13 {
            0 => model.ints("pads", &[1, 1, 1, 1]).node("Conv", &[a, "w"], y),
            1 => model.node("Conv", &[a, "one", "c"], y),
            2 => model.int("group", 2).ints("pads", &[1, 1, 1, 1]).node("ConvTranspose", &[a, "wt"], y),
            3 => model.node("BatchNormalization", &[a, "c", "c", "c", "v"], y),
            4 => model.node("Relu", &[a], y),
            5 => model.node("Sigmoid", &[a], y),
            6 => model.node("Add", &[a, b], y),
            7 => model.node("Mul", &[a, b], y),
            8 => model.node("Add", &["b", a], y),
            9 => model.node("MatMul", &[a, "m"], y),
            10 => model.node("LayerNormalization", &[a, "scale"], y),
            11 => model.int("axis", 1).node("Softmax", &[a], y),
            _ => model.ints("perm", &[0, 1, 3, 2]).node("Transpose", &[a], y),
        };
        values.push(name);
    }
    let last = values.last().cloned().unwrap_or_default();
    model.output(&last, FLOAT);
    if let [_, middle, ..] = values.as_slice() {
        model.node("Tanh", &[middle], &["z"]).output("z", FLOAT);
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn putting_operations_together_changes_nothing(
        choices in proptest::collection::vec(any::<Choice>(), 1..14),
        batch in 1_usize..3,
    ) {
        let model = assembled(&choices);
        let of = |settings| planned(&model, &[&[batch, 4, 6, 6]], settings).expect("a plan");
        let (short, long) = (of(Settings::default()), of(Settings { optimised: false, ..Settings::default() }));
        let half = of(Settings { precision: Precision::Fp16, ..Settings::default() });
        for plan in [&short, &long, &half] {
            assert_memory_is_sound(plan);
        }
        prop_assert!(short.steps.len() <= long.steps.len());
        let (found, expected) = (computed(&short), computed(&long));
        let small = |tensor: &Tensor| tensor.reals().is_some_and(|numbers| numbers.iter().all(|n| n.abs() < 1e4));
        // What grows beyond all bounds says nothing about rounding.
        prop_assume!(expected.iter().all(small));
        assert_near(&found, &expected, 1e-2);
    }
}

#[test]
fn memory_is_used_again_along_a_chain() {
    let mut model = Model::new(17);
    model.input("v0", FLOAT, &[Some(1), Some(4), Some(16), Some(16)]).constant("w", &small(&[4, 4, 3, 3], 1));
    for at in 0..10 {
        let (from, to) = (format!("v{at}"), format!("v{}", at + 1));
        model.ints("pads", &[1, 1, 1, 1]).node("Conv", &[&from, "w"], &[&to]);
    }
    model.output("v10", FLOAT);
    let plan = planned(&model, &[&[1, 4, 16, 16]], Settings::default()).expect("a plan");
    let one = plan.inputs[0].operand.bytes();
    assert_eq!((plan.arena_bytes, plan.values_bytes), (2 * one, 11 * one));
    assert_memory_is_sound(&plan);
}
