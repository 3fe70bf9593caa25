//! A product of matrices by cuBLASLt. Ours are row by row and its are column by column, so it is asked for the transposed
//! product with the factors exchanged: nothing is moved for that.

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::{result, sys};
use cudarc::driver::CudaStream;

use super::convolution::Scratch;
use super::error::CudaError;
use crate::gpu::graph::tensor::Element;
use crate::gpu::plan::operation::Product;

/// cuBLASLt for one instance.
pub(super) struct CublasLt(sys::cublasLtHandle_t);

impl CublasLt {
    pub(super) fn new() -> Result<Self, CudaError> {
        result::create_handle().map(Self).map_err(CudaError::call("starting cuBLASLt"))
    }
}

impl Drop for CublasLt {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it. What it says can change nothing.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// A matrix as it stands in memory, column by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Whether it is to be transposed on the way.
    pub(super) transposed: bool,
    /// Elements to the next one of a batch.
    pub(super) stride: usize,
}

/// The factors in cuBLASLt's order, and the result.
pub(super) fn standing(of: &Product) -> [Standing; 3] {
    let [left, right] = of.transposed;
    // What stands row by row as [a, b] stands column by column as [b, a].
    let (b_rows, b_columns) = if right { (of.depth, of.columns) } else { (of.columns, of.depth) };
    let (a_rows, a_columns) = if left { (of.rows, of.depth) } else { (of.depth, of.rows) };
    [
        Standing { rows: b_rows, columns: b_columns, transposed: right, stride: of.right_stride },
        Standing { rows: a_rows, columns: a_columns, transposed: left, stride: of.left_stride },
        Standing { rows: of.columns, columns: of.rows, transposed: false, stride: of.columns * of.rows },
    ]
}

/// A product that can be called.
pub(super) struct Ready {
    description: Description,
    layouts: [Layout; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
    scratch_bytes: usize,
    alpha: f32,
    /// In cuBLASLt's order: right, left, result.
    pointers: [u64; 3],
}

impl Ready {
    /// Describes a product to cuBLASLt, which chooses an algorithm; none, if it has none. The pointers are left, right, result.
    pub(super) fn new(
        cublaslt: &CublasLt,
        of: &Product,
        element: Element,
        [left, right, output]: [u64; 3],
        scratch: Scratch,
    ) -> Result<Option<Self>, CudaError> {
        let standing = standing(of);
        let description = Description::new(standing)?;
        let [first, second, third] = standing;
        let layout = |standing| Layout::new(element, standing, of.batch);
        let layouts = [layout(first)?, layout(second)?, layout(third)?];
        let preference = Preference::new(scratch.bytes)?;
        // SAFETY: all of them were made right above and live.
        let chosen = unsafe {
            result::get_matmul_algo_heuristic(
                cublaslt.0,
                description.0,
                layouts[0].0,
                layouts[1].0,
                layouts[2].0,
                layouts[2].0,
                preference.0,
            )
        };
        let chosen = match chosen {
            Err(error) if error.0 == sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED => return Ok(None),
            chosen => chosen.map_err(CudaError::call("choosing how to multiply matrices"))?,
        };
        let scratch_bytes = chosen.workspaceSize.min(scratch.bytes);
        let pointers = [right, left, output];
        Ok(Some(Self { description, layouts, algorithm: chosen.algo, scratch_bytes, alpha: of.alpha, pointers }))
    }

    /// Puts it into the stream.
    pub(super) fn run(&self, cublaslt: &CublasLt, scratch: Scratch, stream: &CudaStream) -> Result<(), CudaError> {
        let zero = 0.0_f32;
        let [first, second, output] = self.pointers;
        // SAFETY: handle, descriptions and stream live; the pointers are to memory of the sizes that the layouts say, as the
        // plan has laid it out; the scratch is as large as the algorithm wants.
        unsafe {
            result::matmul(
                cublaslt.0,
                self.description.0,
                (&raw const self.alpha).cast::<c_void>(),
                (&raw const zero).cast::<c_void>(),
                first as *const c_void,
                self.layouts[0].0,
                second as *const c_void,
                self.layouts[1].0,
                output as *const c_void,
                self.layouts[2].0,
                output as *mut c_void,
                self.layouts[2].0,
                &raw const self.algorithm,
                scratch.pointer as *mut c_void,
                self.scratch_bytes,
                stream.cu_stream().cast(),
            )
        }
        .map_err(CudaError::call("a product of matrices"))
    }
}

fn data_type(element: Element) -> sys::cudaDataType {
    if element == Element::F16 { sys::cudaDataType_t::CUDA_R_16F } else { sys::cudaDataType_t::CUDA_R_32F }
}

struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    fn new(element: Element, of: Standing, batch: usize) -> Result<Self, CudaError> {
        let wrong = |_| CudaError::Inputs("a matrix is larger than cuBLASLt takes".to_owned());
        let leading = i64::try_from(of.rows).map_err(wrong)?;
        let layout = result::create_matrix_layout(data_type(element), of.rows as u64, of.columns as u64, leading);
        let layout = Self(layout.map_err(CudaError::call("describing a matrix"))?);
        if batch > 1 {
            let count = c_int::try_from(batch).map_err(wrong)?;
            let stride = i64::try_from(of.stride).map_err(wrong)?;
            layout.set(sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count)?;
            layout.set(sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride)?;
        }
        Ok(layout)
    }

    fn set<T>(&self, attribute: sys::cublasLtMatrixLayoutAttribute_t, value: &T) -> Result<(), CudaError> {
        let from = std::ptr::from_ref(value).cast::<c_void>();
        // SAFETY: the layout lives, and the value is of the size that is said.
        unsafe { result::set_matrix_layout_attribute(self.0, attribute, from, size_of::<T>()) }
            .map_err(CudaError::call("describing a batch of matrices"))
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new([first, second, _]: [Standing; 3]) -> Result<Self, CudaError> {
        // FP32 is FP32 here: not rounded to TF32 on its way.
        let sums = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let made = result::create_matmul_desc(sums, sys::cudaDataType_t::CUDA_R_32F);
        let description = Self(made.map_err(CudaError::call("describing a product"))?);
        description.transpose(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA, first.transposed)?;
        description.transpose(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB, second.transposed)?;
        Ok(description)
    }

    fn transpose(&self, which: sys::cublasLtMatmulDescAttributes_t, transposed: bool) -> Result<(), CudaError> {
        // `cublasOperation_t`: N is 0, T is 1.
        let operation = i32::from(transposed);
        let from = (&raw const operation).cast::<c_void>();
        // SAFETY: the description lives, and the value is of the size that is said.
        unsafe { result::set_matmul_desc_attribute(self.0, which, from, size_of::<i32>()) }
            .map_err(CudaError::call("describing a product"))
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new(scratch_bytes: usize) -> Result<Self, CudaError> {
        let preference =
            Self(result::create_matmul_pref().map_err(CudaError::call("choosing how to multiply matrices"))?);
        let which = sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let from = (&raw const scratch_bytes).cast::<c_void>();
        // SAFETY: it was made right above, and the value is of the size that is said.
        unsafe { result::set_matmul_pref_attribute(preference.0, which, from, size_of::<usize>()) }
            .map_err(CudaError::call("choosing how to multiply matrices"))?;
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and nobody else has it.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplies as cuBLASLt does what stands column by column.
    fn multiplied([first, second, output]: [Standing; 3], a: &[i64], b: &[i64]) -> Vec<i64> {
        let at = |of: Standing, numbers: &[i64], row: usize, column: usize| {
            let (row, column) = if of.transposed { (column, row) } else { (row, column) };
            numbers[column * of.rows + row]
        };
        let depth = if first.transposed { first.rows } else { first.columns };
        let mut result = vec![0; output.rows * output.columns];
        for column in 0..output.columns {
            for row in 0..output.rows {
                let each = (0..depth).map(|k| at(first, b, row, k) * at(second, a, k, column));
                result[column * output.rows + row] = each.sum();
            }
        }
        result
    }

    #[test]
    fn the_transposed_product_of_the_exchanged_is_the_product() {
        // [[1, 2, 3], [4, 5, 6]] · [[1, 2], [3, 4], [5, 6]]
        let (a, a_transposed) = ([1, 2, 3, 4, 5, 6], [1, 4, 2, 5, 3, 6]);
        let (b, b_transposed) = ([1, 2, 3, 4, 5, 6], [1, 3, 5, 2, 4, 6]);
        for (left, right) in [(false, false), (true, false), (false, true), (true, true)] {
            let of = Product {
                batch: 1,
                rows: 2,
                columns: 2,
                depth: 3,
                left_stride: 0,
                right_stride: 0,
                transposed: [left, right],
                alpha: 1.0,
                bias: false,
                activation: None,
                worth: None,
            };
            let (a, b) = (if left { a_transposed } else { a }, if right { b_transposed } else { b });
            assert_eq!(multiplied(standing(&of), &a, &b), [22, 28, 49, 64], "{left} {right}");
        }
    }
}
