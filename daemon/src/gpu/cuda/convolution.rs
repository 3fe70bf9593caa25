//! A convolution of cuDNN: its descriptors, and the algorithm that was the fastest when all were tried on this GPU with these
//! sizes.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex};

use cudarc::cudnn::{result, sys};
use cudarc::driver::CudaStream;

use super::device::lock;
use super::error::CudaError;
use crate::gpu::graph::tensor::Element;
use crate::gpu::plan::operation::Convolution;

/// Algorithms that are tried.
const TRIED: usize = 8;

/// cuDNN on the stream of one instance.
pub(super) struct Cudnn {
    handle: sys::cudnnHandle_t,
    // The handle is of this stream.
    _stream: Arc<CudaStream>,
}

impl Cudnn {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self, CudaError> {
        let handle = result::create_handle().map_err(CudaError::call("starting cuDNN"))?;
        let cudnn = Self { handle, _stream: Arc::clone(stream) };
        // SAFETY: both live; the stream is held as long as the handle.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }
            .map_err(CudaError::call("giving cuDNN its stream"))?;
        Ok(cudnn)
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        // SAFETY: it was made by `new` and is used by nobody any more. What it says can change nothing.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// What decides which algorithm is the fastest.
type Key = (String, Element);

/// The fastest algorithm of each convolution that was tried.
#[derive(Default)]
pub(super) struct Algorithms(Mutex<BTreeMap<Key, Choice>>);

#[derive(Clone, Copy)]
enum Choice {
    Forward(sys::cudnnConvolutionFwdAlgo_t, sys::cudnnMathType_t, usize),
    Backward(sys::cudnnConvolutionBwdDataAlgo_t, sys::cudnnMathType_t, usize),
}

/// A convolution that can be called.
pub(super) struct Ready {
    x: Tensor,
    weights: Filter,
    y: Tensor,
    how: Description,
    choice: Choice,
    pointers: [u64; 3],
}

/// Memory that an algorithm may use while it is tried or runs.
#[derive(Clone, Copy)]
pub(super) struct Scratch {
    pub(super) pointer: u64,
    pub(super) bytes: usize,
}

impl Ready {
    /// Describes a convolution to cuDNN and chooses its algorithm; none, if cuDNN has none for it that fits the scratch
    /// memory. The pointers are input, weights, output; what is in the output is lost.
    pub(super) fn new(
        cudnn: &Cudnn,
        of: &Convolution,
        element: Element,
        pointers: [u64; 3],
        scratch: Scratch,
        algorithms: &Algorithms,
    ) -> Result<Option<Self>, CudaError> {
        let x = Tensor::new(element, [of.batch, of.channels, of.input[0], of.input[1]])?;
        let y = Tensor::new(element, [of.batch, of.filters, of.output[0], of.output[1]])?;
        let (first, second) =
            if of.transposed { (of.channels, of.filters / of.groups) } else { (of.filters, of.channels / of.groups) };
        let weights = Filter::new(element, [first, second, of.kernel[0], of.kernel[1]])?;
        let how = Description::new(of, element)?;
        let key = (format!("{:?}", Convolution { bias: false, activation: None, ..of.clone() }), element);
        let known = lock(&algorithms.0).get(&key).copied();
        let mut ready = Self { x, weights, y, how, choice: Choice::NONE, pointers };
        let found = match known {
            Some(choice) => Some(choice),
            None if of.transposed => ready.search_backward(cudnn, scratch)?,
            None => ready.search_forward(cudnn, scratch)?,
        };
        let Some(choice) = found else { return Ok(None) };
        lock(&algorithms.0).insert(key, choice);
        ready.choice = choice;
        ready.how.allow(choice.math())?;
        Ok(Some(ready))
    }

    fn search_forward(&self, cudnn: &Cudnn, scratch: Scratch) -> Result<Option<Choice>, CudaError> {
        let mut found = 0;
        let mut tried: [std::mem::MaybeUninit<sys::cudnnConvolutionFwdAlgoPerf_t>; TRIED] =
            [const { std::mem::MaybeUninit::uninit() }; TRIED];
        let [x, weights, y] = self.pointers;
        // SAFETY: handle and descriptors live; the pointers are to memory of the sizes that the descriptors say, the scratch
        // is as large as is said; `tried` has room for as many results as are asked for.
        unsafe {
            sys::cudnnFindConvolutionForwardAlgorithmEx(
                cudnn.handle,
                self.x.0,
                x as *const c_void,
                self.weights.0,
                weights as *const c_void,
                self.how.0,
                self.y.0,
                y as *mut c_void,
                TRIED as c_int,
                &raw mut found,
                tried.as_mut_ptr().cast(),
                scratch.pointer as *mut c_void,
                scratch.bytes,
            )
        }
        .result()
        .map_err(CudaError::call("looking for the fastest convolution"))?;
        let found = usize::try_from(found).unwrap_or(0).min(TRIED);
        // SAFETY: as many were written as cuDNN says.
        let tried = tried.iter().take(found).map(|tried| unsafe { tried.assume_init_ref() });
        let works = |perf: &&sys::cudnnConvolutionFwdAlgoPerf_t| {
            perf.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS && perf.memory <= scratch.bytes
        };
        // They come in the order of their times.
        let best = tried.into_iter().find(works);
        Ok(best.map(|best| Choice::Forward(best.algo, best.mathType, best.memory)))
    }

    fn search_backward(&self, cudnn: &Cudnn, scratch: Scratch) -> Result<Option<Choice>, CudaError> {
        let mut found = 0;
        let mut tried: [std::mem::MaybeUninit<sys::cudnnConvolutionBwdDataAlgoPerf_t>; TRIED] =
            [const { std::mem::MaybeUninit::uninit() }; TRIED];
        let [x, weights, y] = self.pointers;
        // SAFETY: as in `search_forward`; a transposed convolution is the gradient of one, from its output to its input.
        unsafe {
            sys::cudnnFindConvolutionBackwardDataAlgorithmEx(
                cudnn.handle,
                self.weights.0,
                weights as *const c_void,
                self.x.0,
                x as *const c_void,
                self.how.0,
                self.y.0,
                y as *mut c_void,
                TRIED as c_int,
                &raw mut found,
                tried.as_mut_ptr().cast(),
                scratch.pointer as *mut c_void,
                scratch.bytes,
            )
        }
        .result()
        .map_err(CudaError::call("looking for the fastest transposed convolution"))?;
        let found = usize::try_from(found).unwrap_or(0).min(TRIED);
        // SAFETY: as many were written as cuDNN says.
        let tried = tried.iter().take(found).map(|tried| unsafe { tried.assume_init_ref() });
        let works = |perf: &&sys::cudnnConvolutionBwdDataAlgoPerf_t| {
            perf.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS && perf.memory <= scratch.bytes
        };
        let best = tried.into_iter().find(works);
        Ok(best.map(|best| Choice::Backward(best.algo, best.mathType, best.memory)))
    }

    /// Puts it into the stream.
    pub(super) fn run(&self, cudnn: &Cudnn, scratch: Scratch) -> Result<(), CudaError> {
        let (one, zero) = (1.0_f32, 0.0_f32);
        let (one, zero) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
        let [x, weights, y] = self.pointers;
        let (x, weights, y) = (x as *const c_void, weights as *const c_void, y as *mut c_void);
        let scratch_pointer = scratch.pointer as *mut c_void;
        // SAFETY: as when it was searched for; the scratch is at least as large as the chosen algorithm wants, or it would not
        // have been chosen.
        unsafe {
            match self.choice {
                Choice::Forward(algorithm, _, bytes) => result::convolution_forward(
                    cudnn.handle,
                    one,
                    self.x.0,
                    x,
                    self.weights.0,
                    weights,
                    self.how.0,
                    algorithm,
                    scratch_pointer,
                    bytes,
                    zero,
                    self.y.0,
                    y,
                ),
                Choice::Backward(algorithm, _, bytes) => result::convolution_backward_data(
                    cudnn.handle,
                    one,
                    self.weights.0,
                    weights,
                    self.x.0,
                    x,
                    self.how.0,
                    algorithm,
                    scratch_pointer,
                    bytes,
                    zero,
                    self.y.0,
                    y,
                ),
            }
        }
        .map_err(CudaError::call("a convolution"))
    }
}

impl Choice {
    /// Until one was searched for.
    const NONE: Self = Self::Forward(
        sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
        sys::cudnnMathType_t::CUDNN_FMA_MATH,
        0,
    );

    fn math(self) -> sys::cudnnMathType_t {
        match self {
            Self::Forward(_, math, _) | Self::Backward(_, math, _) => math,
        }
    }
}

fn data_type(element: Element) -> sys::cudnnDataType_t {
    if element == Element::F16 { sys::cudnnDataType_t::CUDNN_DATA_HALF } else { sys::cudnnDataType_t::CUDNN_DATA_FLOAT }
}

/// cuDNN's sizes are 31 bits.
fn sizes(sizes: [usize; 4]) -> Result<[c_int; 4], CudaError> {
    let [a, b, c, d] = sizes.map(c_int::try_from);
    match (a, b, c, d) {
        (Ok(a), Ok(b), Ok(c), Ok(d)) => Ok([a, b, c, d]),
        _ => Err(CudaError::Inputs(format!("sizes {sizes:?} are more than cuDNN takes"))),
    }
}

struct Tensor(sys::cudnnTensorDescriptor_t);

impl Tensor {
    fn new(element: Element, shape: [usize; 4]) -> Result<Self, CudaError> {
        let tensor = Self(result::create_tensor_descriptor().map_err(CudaError::call("describing a tensor"))?);
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        // SAFETY: it was made right above.
        unsafe { result::set_tensor4d_descriptor(tensor.0, format, data_type(element), sizes(shape)?) }
            .map_err(CudaError::call("describing a tensor"))?;
        Ok(tensor)
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it.
        let _ = unsafe { result::destroy_tensor_descriptor(self.0) };
    }
}

struct Filter(sys::cudnnFilterDescriptor_t);

impl Filter {
    fn new(element: Element, shape: [usize; 4]) -> Result<Self, CudaError> {
        let filter = Self(result::create_filter_descriptor().map_err(CudaError::call("describing weights"))?);
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        // SAFETY: it was made right above.
        unsafe { result::set_filter4d_descriptor(filter.0, data_type(element), format, sizes(shape)?) }
            .map_err(CudaError::call("describing weights"))?;
        Ok(filter)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it.
        let _ = unsafe { result::destroy_filter_descriptor(self.0) };
    }
}

struct Description(sys::cudnnConvolutionDescriptor_t);

impl Description {
    fn new(of: &Convolution, element: Element) -> Result<Self, CudaError> {
        let wrong = CudaError::call;
        let how = Self(result::create_convolution_descriptor().map_err(wrong("describing a convolution"))?);
        let [pad_rows, pad_columns, row_stride, column_stride] =
            sizes([of.before[0], of.before[1], of.strides[0], of.strides[1]])?;
        let [rows_apart, columns_apart, groups, _] = sizes([of.dilations[0], of.dilations[1], of.groups, 0])?;
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let sums = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        // SAFETY: it was made right above.
        unsafe {
            result::set_convolution2d_descriptor(
                how.0,
                pad_rows,
                pad_columns,
                row_stride,
                column_stride,
                rows_apart,
                columns_apart,
                mode,
                sums,
            )
            .map_err(wrong("describing a convolution"))?;
            result::set_convolution_group_count(how.0, groups).map_err(wrong("describing a convolution"))?;
        }
        // FP32 is FP32 here: not rounded to TF32 on its way.
        how.allow(match element {
            Element::F16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
            _ => sys::cudnnMathType_t::CUDNN_FMA_MATH,
        })?;
        Ok(how)
    }

    fn allow(&self, math: sys::cudnnMathType_t) -> Result<(), CudaError> {
        // SAFETY: it was made by `new`.
        unsafe { result::set_convolution_math_type(self.0, math) }.map_err(CudaError::call("choosing the arithmetic"))
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it.
        let _ = unsafe { result::destroy_convolution_descriptor(self.0) };
    }
}
