//! The CUDA kernels' arithmetic, proven without a GPU: the same sources, compiled for the host, against plain loops in
//! double precision and against the CPU's own way to make reliefs. What NVIDIA's compiler makes of them is in `nvrtc`,
//! what ONNX Runtime says of the same operators in `onnxruntime`; both are run by `scripts/test`.

#![allow(clippy::unwrap_used)]

mod elementwise;
mod host;
mod layers;
mod movement;
mod numbers;
mod nvrtc;
mod onnxruntime;
mod pixels;
mod product;
mod relief;
mod table;
