//! Sizes of what goes over pictures: convolutions, pools, resizing. A line is a picture of height 1.

use super::super::draft::Value;
use super::super::operation::{Along, Convolution, Operation, Pool, Resize};
use super::Binder;
use crate::gpu::graph::operator::{Coordinates, Filter, Padding, Pooling, Reduction, Window};
use crate::gpu::graph::tensor::Element;

/// Of any size, stride, dilation or padding of a window.
const MOST: usize = 1 << 20;

/// Pictures as a tensor holds them.
struct Pictures {
    batch: usize,
    channels: usize,
    size: [usize; 2],
    /// Whether they are lines.
    flat: bool,
}

impl Pictures {
    fn of(shape: &[usize]) -> Result<Self, String> {
        match *shape {
            [batch, channels, width] => Ok(Self { batch, channels, size: [1, width], flat: true }),
            [batch, channels, height, width] => Ok(Self { batch, channels, size: [height, width], flat: false }),
            _ => Err(format!("shape {shape:?} is none of pictures; 3 and 4 dimensions are computed")),
        }
    }

    fn shape(&self, channels: usize, size: [usize; 2]) -> Vec<usize> {
        let line = [self.batch, channels, size[1]];
        if self.flat { line.to_vec() } else { vec![self.batch, channels, size[0], size[1]] }
    }

    /// A list of one number for each dimension of a picture.
    fn pair(&self, list: Option<&[usize]>, default: usize, what: &str) -> Result<[usize; 2], String> {
        let pair = match (list, self.flat) {
            (None | Some([]), _) => [default; 2],
            (Some(&[width]), true) => [default, width],
            (Some(&[height, width]), false) => [height, width],
            (Some(list), _) => return Err(format!("{what} {list:?} do not fit the dimensions")),
        };
        if pair.iter().any(|size| *size > MOST) {
            return Err(format!("{what} {pair:?} are more than {MOST}"));
        }
        Ok(pair)
    }
}

/// A window with all its numbers.
struct Steps {
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
}

impl Steps {
    fn of(window: &Window, kernel: [usize; 2], pictures: &Pictures) -> Result<Self, String> {
        let strides = pictures.pair(window.strides.as_deref(), 1, "strides")?;
        let dilations = pictures.pair(window.dilations.as_deref(), 1, "dilations")?;
        if [kernel, strides, dilations].iter().flatten().any(|size| *size == 0) {
            return Err("kernel, strides and dilations must be positive".to_owned());
        }
        let mut steps = Self { kernel, strides, dilations, before: [0; 2], after: [0; 2] };
        match &window.padding {
            Padding::None => {}
            Padding::Said(list) => {
                let (before, after) = list.split_at(list.len() / 2);
                steps.before = pictures.pair(Some(before), 0, "pads")?;
                steps.after = pictures.pair(Some(after), 0, "pads")?;
            }
            Padding::SameUpper => steps.same(pictures.size, false),
            Padding::SameLower => steps.same(pictures.size, true),
        }
        Ok(steps)
    }

    /// What a window covers, with what lies between its elements.
    fn reach(&self, at: usize) -> usize {
        self.dilations[at] * (self.kernel[at] - 1) + 1
    }

    fn same(&mut self, size: [usize; 2], odd_first: bool) {
        for (at, size) in size.into_iter().enumerate() {
            let output = size.div_ceil(self.strides[at]);
            let total = (output.saturating_sub(1) * self.strides[at] + self.reach(at)).saturating_sub(size);
            let (less, more) = (total / 2, total - total / 2);
            (self.before[at], self.after[at]) = if odd_first { (more, less) } else { (less, more) };
        }
    }

    fn output(&self, size: [usize; 2], ceil: bool) -> Result<[usize; 2], String> {
        let mut output = [0; 2];
        for at in 0..2 {
            let room = (size[at] + self.before[at] + self.after[at]).checked_sub(self.reach(at));
            let room =
                room.ok_or_else(|| format!("a window that reaches over {} does not fit {size:?}", self.reach(at)))?;
            let stride = self.strides[at];
            output[at] = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // A window must begin in the picture or before it.
            if ceil && (output[at] - 1) * stride >= size[at] + self.before[at] {
                output[at] -= 1;
            }
        }
        Ok(output)
    }

    fn transposed_output(&self, size: [usize; 2], more: [usize; 2]) -> Result<[usize; 2], String> {
        let mut output = [0; 2];
        for at in 0..2 {
            let whole = size[at].saturating_sub(1) * self.strides[at] + self.reach(at) + more[at];
            let rest = whole.checked_sub(self.before[at] + self.after[at]).filter(|rest| *rest > 0);
            output[at] = rest.ok_or_else(|| format!("pads take away more than the {whole} that there are"))?;
        }
        Ok(output)
    }
}

impl Binder<'_> {
    pub(super) fn convolution(&mut self, window: &Window) -> Result<Value, String> {
        let (x, weights) = (self.input(0)?.clone(), self.input(1)?.clone());
        let pictures = Pictures::of(&x.shape)?;
        let filter = Pictures::of(&weights.shape)?;
        let steps = Steps::of(window, filter.size, &pictures)?;
        let (groups, filters) = (window.groups, filter.batch);
        if filter.flat != pictures.flat
            || pictures.channels != filter.channels.saturating_mul(groups)
            || !filters.is_multiple_of(groups)
        {
            return Err(format!("weights {:?} in {groups} groups do not fit {:?}", weights.shape, x.shape));
        }
        let output = steps.output(pictures.size, false)?;
        self.filtered(&x, &weights, &pictures, &steps, (groups, filters, output, false))
    }

    pub(super) fn transposed(&mut self, window: &Window, more: &[usize]) -> Result<Value, String> {
        let (x, weights) = (self.input(0)?.clone(), self.input(1)?.clone());
        let pictures = Pictures::of(&x.shape)?;
        let filter = Pictures::of(&weights.shape)?;
        let steps = Steps::of(window, filter.size, &pictures)?;
        let groups = window.groups;
        if filter.flat != pictures.flat || pictures.channels != filter.batch || !filter.batch.is_multiple_of(groups) {
            return Err(format!("weights {:?} in {groups} groups do not fit {:?}", weights.shape, x.shape));
        }
        let more = pictures.pair(Some(more), 0, "output_padding")?;
        let output = steps.transposed_output(pictures.size, more)?;
        self.filtered(&x, &weights, &pictures, &steps, (groups, filter.channels.saturating_mul(groups), output, true))
    }

    fn filtered(
        &mut self,
        x: &Value,
        weights: &Value,
        pictures: &Pictures,
        steps: &Steps,
        (groups, filters, output, transposed): (usize, usize, [usize; 2], bool),
    ) -> Result<Value, String> {
        let bias = self.optional(2).cloned();
        if bias.as_ref().is_some_and(|bias| bias.shape != [filters]) {
            return Err(format!("its bias must have {filters} elements"));
        }
        let convolution = Convolution {
            batch: pictures.batch,
            groups,
            channels: pictures.channels,
            filters,
            input: pictures.size,
            output,
            kernel: steps.kernel,
            strides: steps.strides,
            dilations: steps.dilations,
            before: steps.before,
            after: steps.after,
            transposed,
            bias: bias.is_some(),
            activation: None,
            worth: None,
        };
        let inputs: Vec<&Value> = [x, weights].into_iter().chain(&bias).collect();
        let shape = pictures.shape(filters, output);
        self.draft.compute(Operation::Convolution(convolution), &inputs, Element::F32, shape)
    }

    pub(super) fn pool(&mut self, pooling: Pooling, window: &Window, ceil: bool) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let pictures = Pictures::of(&x.shape)?;
        let kernel = pictures.pair(window.kernel.as_deref(), 1, "kernel_shape")?;
        let steps = Steps::of(window, kernel, &pictures)?;
        let output = steps.output(pictures.size, ceil)?;
        if (0..2).any(|at| steps.before[at] >= steps.reach(at) || steps.after[at] >= steps.reach(at)) {
            return Err("pads as large as the window leave windows without anything in them".to_owned());
        }
        let pool = Pool {
            pooling,
            planes: pictures.batch * pictures.channels,
            input: pictures.size,
            output,
            kernel,
            strides: steps.strides,
            dilations: steps.dilations,
            before: steps.before,
            after: steps.after,
        };
        let shape = pictures.shape(pictures.channels, output);
        let element = self.draft.element(&x);
        self.draft.compute(Operation::Pool(pool), &[&x], element, shape)
    }

    pub(super) fn global_pool(&mut self, reduction: Reduction) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let pictures = Pictures::of(&x.shape)?;
        let along =
            Along { outer: pictures.batch * pictures.channels, axis: pictures.size[0] * pictures.size[1], inner: 1 };
        let shape = pictures.shape(pictures.channels, [1, 1]);
        let element = self.draft.element(&x);
        self.draft.compute(Operation::Reduce { reduction, along }, &[&x], element, shape)
    }

    pub(super) fn resize(&mut self, coordinates: Coordinates, filter: Filter) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let pictures = Pictures::of(&x.shape)?;
        let (shape, scales) = self.resized(&x)?;
        let resized = Pictures::of(&shape)?;
        if (resized.batch, resized.channels) != (pictures.batch, pictures.channels) {
            return Err(format!("{:?} becomes {shape:?}; only pictures themselves are resized", x.shape));
        }
        let last = |at: usize| scales.get(at).copied().unwrap_or(1.0);
        let scale = if pictures.flat { [1.0, last(2)] } else { [last(2), last(3)] };
        let (planes, input, output) = (pictures.batch * pictures.channels, pictures.size, resized.size);
        let resize = Resize { planes, input, output, scale, coordinates, filter };
        let element = self.draft.element(&x);
        self.draft.compute(Operation::Resize(resize), &[&x], element, shape)
    }

    /// The shape that `Resize` gives, and by what each dimension is scaled.
    fn resized(&self, x: &Value) -> Result<(Vec<usize>, Vec<f32>), String> {
        let given = |at: usize| self.optional(at).filter(|value| !value.shape.contains(&0));
        let (shape, scales): (Vec<usize>, Vec<f32>) = match (given(2), given(3)) {
            (None, Some(sizes)) => {
                let sizes = self.draft.wholes(sizes, "sizes")?;
                let sizes = sizes.into_iter().map(|size| usize::try_from(size).unwrap_or(0)).collect::<Vec<_>>();
                let scales = sizes.iter().zip(&x.shape).map(|(to, from)| *to as f32 / *from as f32).collect();
                (sizes, scales)
            }
            (Some(scales), None) => {
                let scales = self.draft.known_reals(scales, "scales")?;
                // As ONNX has it: rounded down.
                let shape = x.shape.iter().zip(&scales).map(|(size, scale)| (*size as f32 * scale) as usize).collect();
                (shape, scales)
            }
            _ => return Err("must have either scales or sizes".to_owned()),
        };
        if shape.len() != x.shape.len() || scales.len() != shape.len() || shape.contains(&0) {
            return Err(format!("{:?} cannot become {shape:?}", x.shape));
        }
        Ok((shape, scales))
    }
}
