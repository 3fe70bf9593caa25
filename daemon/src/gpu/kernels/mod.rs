//! The CUDA kernels of our own: a pure table of what they are called, where their source is, and how they are launched
//! for a shape. The sources are the `.cu` files beside this one. What compiles and launches them is not here, and nothing
//! here needs a GPU or a driver.
//!
//! Every kernel takes one structure of 4-byte words by value, [`Launch::words`], and then its pointers in the order that
//! its constructor states, aligned to 16 bytes. Tensors are dense, in rows. Halves are only how numbers lie in memory:
//! arithmetic is in single precision.

pub mod convert;
pub mod elementwise;
pub mod height;
pub mod mesh;
pub mod movement;
pub mod normalize;
pub mod picture;
pub mod pool;
pub mod product;
pub mod reduce;
pub mod resize;
mod walk;

/// Threads of every block: `BLOCK` of the sources.
pub const THREADS: u32 = 256;
/// Elements of a tensor are counted and found in 31 bits.
const MOST_ELEMENTS: usize = (1 << 31) - 1;

/// A file of kernels, which is one program for the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Functions of one and two numbers, with broadcasting, and what follows a convolution.
    Elementwise,
    /// Transpose, Slice, Concat, Expand, Pad, Gather, constants.
    Movement,
    /// `LayerNormalization` and Softmax.
    Normalize,
    /// Sums, means and extremes along an axis.
    Reduce,
    /// `MaxPool` and `AveragePool`.
    Pool,
    /// Nearest and linear Resize.
    Resize,
    /// Cast, `QuantizeLinear`, `DequantizeLinear`.
    Convert,
    /// Matrix products and convolutions, where no library does them.
    Product,
    /// Pictures of bytes to planes of numbers.
    Picture,
    /// Depths to heights.
    Height,
    /// Heights to the bytes of a mesh.
    Mesh,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Elementwise,
        Self::Movement,
        Self::Normalize,
        Self::Reduce,
        Self::Pool,
        Self::Resize,
        Self::Convert,
        Self::Product,
        Self::Picture,
        Self::Height,
        Self::Mesh,
    ];

    /// The file's name, which the compiler's messages show.
    pub fn file(self) -> &'static str {
        self.parts().0
    }

    /// The whole program, which includes nothing.
    pub fn text(self) -> String {
        let (file, text) = self.parts();
        let activation = if self == Self::Elementwise { include_str!("activation.cuh") } else { "" };
        let prelude = include_str!("prelude.cuh");
        format!(
            "#line 1 \"prelude.cuh\"\n{prelude}\n#line 1 \"activation.cuh\"\n{activation}\n#line 1 \"{file}\"\n{text}"
        )
    }

    /// Whether the compiler may round a product and a sum at once (`--fmad`): faster and no less exact, but where the
    /// result must be the CPU's to the bit, or where a place between two pixels decides.
    pub fn fused_multiply_add(self) -> bool {
        !matches!(self, Self::Resize | Self::Picture | Self::Height | Self::Mesh)
    }

    /// The kernels in it.
    pub fn kernels(self) -> Vec<String> {
        match self {
            Self::Elementwise => elementwise::names(),
            Self::Movement => movement::names(),
            Self::Normalize => normalize::names(),
            Self::Reduce => reduce::names(),
            Self::Pool => pool::names(),
            Self::Resize => resize::names(),
            Self::Convert => convert::names(),
            Self::Product => product::names(),
            Self::Picture => picture::names(),
            Self::Height => height::names(),
            Self::Mesh => mesh::names(),
        }
    }

    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Elementwise => ("elementwise.cu", include_str!("elementwise.cu")),
            Self::Movement => ("movement.cu", include_str!("movement.cu")),
            Self::Normalize => ("normalize.cu", include_str!("normalize.cu")),
            Self::Reduce => ("reduce.cu", include_str!("reduce.cu")),
            Self::Pool => ("pool.cu", include_str!("pool.cu")),
            Self::Resize => ("resize.cu", include_str!("resize.cu")),
            Self::Convert => ("convert.cu", include_str!("convert.cu")),
            Self::Product => ("product.cu", include_str!("product.cu")),
            Self::Picture => ("picture.cu", include_str!("picture.cu")),
            Self::Height => ("height.cu", include_str!("height.cu")),
            Self::Mesh => ("mesh.cu", include_str!("mesh.cu")),
        }
    }
}

/// A kernel: an `extern "C"` function of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Where it is.
    pub source: Source,
    /// What it is called there.
    pub name: String,
}

/// A kernel's launch for a shape: everything but the pointers. The grid and the blocks have one dimension, and all
/// shared memory is static.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Launch {
    /// What is launched.
    pub kernel: Kernel,
    /// Blocks of the grid.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// The first argument, by value.
    pub words: Vec<u32>,
}

impl Launch {
    fn new(source: Source, name: String, blocks: u32, words: Vec<u32>) -> Self {
        Self { kernel: Kernel { source, name }, blocks, threads: THREADS, words }
    }
}

/// How the numbers of a tensor lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Real {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
}

impl Real {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Its name in the kernels' names.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Numbers that a thread takes at once: 16 bytes.
    fn lanes(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::F16 => 8,
        }
    }
}

/// Why a shape has no launch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Nothing to do.
    #[error("the tensor has no elements, so there is nothing to launch; skip the step")]
    Empty,
    /// More elements than are counted.
    #[error("{what} has more than {MOST_ELEMENTS} elements, which kernels do not count; split the batch")]
    TooLarge {
        /// Of what.
        what: &'static str,
    },
    /// Too many dimensions that do not lie one behind the other.
    #[error("{dimensions} dimensions cannot be walked at once, at most {}; transpose first", walk::MOST_DIMENSIONS)]
    Rank {
        /// How many there are.
        dimensions: usize,
    },
    /// Sizes that do not fit one another.
    #[error("the operator's sizes do not fit: {0}")]
    Shape(&'static str),
}

/// The number of elements of a shape, at least one.
fn elements(what: &'static str, shape: &[usize]) -> Result<u32, GeometryError> {
    if shape.contains(&0) {
        return Err(GeometryError::Empty);
    }
    let product = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    product.filter(|count| *count <= MOST_ELEMENTS).map(|count| count as u32).ok_or(GeometryError::TooLarge { what })
}

/// A size as a kernel takes it, at least one.
fn size(what: &'static str, value: usize) -> Result<u32, GeometryError> {
    elements(what, &[value])
}

/// A size that may be zero, such as a padding.
fn amount(what: &'static str, value: usize) -> Result<u32, GeometryError> {
    if value == 0 { Ok(0) } else { size(what, value) }
}

/// Both sizes of a plane.
fn sides(what: &'static str, value: [usize; 2]) -> Result<[u32; 2], GeometryError> {
    Ok([size(what, value[0])?, size(what, value[1])?])
}

/// The two halves of a double, the lower first.
fn halves(value: f64) -> [u32; 2] {
    let bits = value.to_bits();
    [bits as u32, (bits >> 32) as u32]
}

/// Blocks for so many elements of which a thread takes `each`.
fn blocks(elements: u32, each: u32) -> u32 {
    elements.div_ceil(THREADS * each)
}

/// The names of kernels that exist for each kind of number.
fn for_reals<'a>(labels: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let both = |label: &str| Real::ALL.map(|real| format!("{label}_{}", real.suffix()));
    labels.into_iter().flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_two_kernels_share_a_name() {
        let names: Vec<String> = Source::ALL.into_iter().flat_map(Source::kernels).collect();
        let distinct: HashSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.len() > 200, "{}", names.len());
    }

    #[test]
    fn a_program_is_whole() {
        for source in Source::ALL {
            let text = source.text();
            // The one inclusion is the host's, which is left out where its macro is not defined.
            assert_eq!(text.matches("#include").count(), 1, "{}", source.file());
            assert!(text.contains(&format!("#line 1 \"{}\"", source.file())));
        }
    }

    #[test]
    fn sizes_without_a_launch_are_named() {
        let check = |shape: &[usize], expected: Result<u32, GeometryError>| {
            assert_eq!(elements("it", shape), expected, "{shape:?}");
        };
        check(&[2, 3], Ok(6));
        check(&[], Ok(1));
        check(&[2, 0], Err(GeometryError::Empty));
        check(&[MOST_ELEMENTS], Ok(MOST_ELEMENTS as u32));
        check(&[1 << 31], Err(GeometryError::TooLarge { what: "it" }));
        check(&[usize::MAX, 2], Err(GeometryError::TooLarge { what: "it" }));
    }

    proptest! {
        /// Every element has exactly one thread, and no block is without work.
        #[test]
        fn a_flat_grid_covers_each_element_once(count in 1..u32::MAX / 2, each in 1..17_u32) {
            let (per_block, blocks) = (u64::from(THREADS * each), u64::from(blocks(count, each)));
            prop_assert!((blocks - 1) * per_block < u64::from(count) && u64::from(count) <= blocks * per_block);
            // Threads are numbered in 32 bits, and the last of them begins within these too.
            prop_assert!(blocks * per_block < 1 << 32);
        }
    }
}
