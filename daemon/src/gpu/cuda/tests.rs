//! What can be known without a GPU: that there is none is said, and every plan becomes commands.

use super::*;
use crate::gpu::graph::tensor::{Element, Tensor};
use crate::gpu::graph::testing::Model as File;
use crate::gpu::memory::budget::Budget;
use crate::gpu::plan::{Plan, Precision};

#[test]
fn a_missing_gpu_is_an_error_that_says_what_is_missing() {
    // Where there is one, there is nothing to say; the number is one that no machine has.
    let error = Device::open(4096, Budget::default(), &[]).err().expect("no such GPU").to_string();
    assert!(
        error.contains("libcuda.so.1")
            || error.contains("libnvrtc")
            || error.contains("there is no GPU 4096")
            || error.contains("looking for GPUs"),
        "{error}"
    );
}

fn planned(precision: Precision) -> Plan {
    let mut file = File::new(17);
    let reals = |shape: &[usize]| {
        let count = shape.iter().product();
        Tensor::vector(vec![0.5; count]).reshaped(shape.to_vec()).expect("well-formed")
    };
    file.input("x", 1, &[None, Some(3), None, None]).constant("w", &reals(&[4, 3, 3, 3])).constant("b", &reals(&[4]));
    file.ints("pads", &[1, 1, 1, 1]).node("Conv", &["x", "w", "b"], &["c"]).node("Relu", &["c"], &["r"]);
    file.ints("pads", &[0, 0, 1, 1]).node("Conv", &["x", "w"], &["d"]).constant("wt", &reals(&[4, 2, 2, 2]));
    file.ints("strides", &[2, 2]).node("ConvTranspose", &["r", "wt"], &["t"]);
    file.ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]).node("MaxPool", &["t"], &["p"]);
    file.constant("m", &reals(&[6, 5])).node("MatMul", &["p", "m"], &["q"]).int("axis", 1).node(
        "Concat",
        &["q", "q"],
        &["k"],
    );
    file.ints("perm", &[0, 2, 3, 1]).node("Transpose", &["k"], &["o"]).int("axis", -1).node("Softmax", &["o"], &["y"]);
    file.output("y", 1).output("d", 1);
    let graph = read(file.encoded()).expect("a graph");
    plan(&graph, &[vec![2, 3, 6, 6]], Settings { precision, ..Settings::default() }).expect("a plan")
}

#[test]
fn every_step_becomes_commands() {
    let kinds = |libraries| {
        let commands = lower(&planned(Precision::Fp32), libraries).expect("commands");
        let kind = |command: &Command| match command {
            Command::Launch { .. } => 'k',
            Command::Convolution { .. } => 'c',
            Command::Product { .. } => 'p',
        };
        commands.iter().map(kind).collect::<String>()
    };
    let without = kinds(Libraries::default());
    assert!(without.chars().all(|kind| kind == 'k'), "{without}");
    let with = kinds(Libraries { cudnn: true, cublaslt: true });
    // The convolution with more padding on one side is ours.
    assert_eq!((with.matches('c').count(), with.matches('p').count(), with.len()), (2, 1, without.len()), "{with}");
}

#[test]
fn biases_stay_fp32_in_an_fp16_plan() {
    let plan = planned(Precision::Fp16);
    let commands = lower(&plan, Libraries { cudnn: true, cublaslt: true }).expect("commands");
    let elements: Vec<_> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Launch { pointers, .. } if pointers.len() == 5 => {
                Some((pointers[0]?.element, pointers[2]?.element))
            }
            _ => None,
        })
        .collect();
    assert_eq!(elements, [(Element::F16, Element::F32)]);
}
