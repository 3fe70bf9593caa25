//! From a picture's pixels to a mesh's bytes without leaving the device: what is copied and launched around the depth model,
//! in which order, and where everything lies. The CPU's way is `relief`, and what comes out is the same to the bit, given the
//! same depths. Pure: `cuda::relief` does it. Masks and OBJ have no kernels here, and no picture is decoded.

use super::graph::tensor::Element;
use super::kernels::height::{self, Buffer, Heights, STATE_WORDS, Smoothing};
use super::kernels::mesh::{self, Solid};
use super::kernels::picture::{self, Shrink};
use super::kernels::{GeometryError, Launch, Real};
use super::plan::Outlet;
use super::plan::memory::aligned;
use crate::mesh::export::Format;
use crate::relief::laps::Step;
use crate::relief::mask::Wanted;
use crate::relief::parameters::Parameters;
use crate::relief::picture::{Pixels, samples};

/// Larger pictures are averaged down on the CPU: what an instance keeps for the largest that came stays bounded.
pub const MOST_PIXEL_BYTES: usize = 32 << 20;

/// A picture, and the relief that is wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes of a pixel.
    pub channels: usize,
    /// Samples in a row of what the depth model takes.
    pub columns: usize,
    /// Rows of samples.
    pub rows: usize,
    /// How the relief is to be.
    pub parameters: Parameters,
}

impl Job {
    /// Whether there are kernels for all that these parameters ask for.
    pub fn suits(parameters: &Parameters) -> bool {
        parameters.mask == Wanted::None && matches!(parameters.format, Format::Stl | Format::Ply)
    }

    /// The relief of a picture; `None` where the CPU makes it: with a mask, as text, or of very many pixels.
    pub fn new(pixels: &Pixels, parameters: &Parameters) -> Option<Self> {
        let Pixels { width, height, channels, ref bytes } = *pixels;
        let (columns, rows) = samples(width, height, parameters.resolution);
        let fits = Self::suits(parameters) && bytes.len() <= MOST_PIXEL_BYTES;
        fits.then_some(Self { width, height, channels, columns, rows, parameters: *parameters })
    }

    /// What the depth model takes.
    pub fn input_shape(&self) -> Vec<usize> {
        vec![1, 3, self.rows, self.columns]
    }

    /// Height over width of the picture.
    pub fn aspect(&self) -> f64 {
        self.height as f64 / self.width as f64
    }

    fn pixel_bytes(&self) -> usize {
        self.width * self.height * self.channels
    }
}

/// Why there is no way for a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not with these sizes.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The model is none that goes from pictures to depths.
    #[error("the depth model's {what} is {found}, not {wanted}")]
    Model {
        /// Input or output.
        what: &'static str,
        /// Its shape and type.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// Something that the kernels do not do.
    #[error("{0} is not made on a GPU")]
    Unsuited(&'static str),
    /// The memory does not have the size of the layout.
    #[error("{found} bytes of {what} are not {wanted}")]
    Bytes {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// What the model gave is no relief.
    #[error("a depth is infinite or no number")]
    NotFinite,
}

/// A place on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// So many bytes into the memory for this work.
    Work(usize),
    /// The depth model's input.
    Input,
    /// Its output.
    Output,
}

/// Something that goes into the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// From the staging memory to the device's.
    Upload {
        /// Where it begins there.
        from: usize,
        /// And here.
        to: usize,
        /// How much it is.
        bytes: usize,
    },
    /// A kernel.
    Launch {
        /// Which, and with what geometry.
        launch: Launch,
        /// What it is pointed to; `None` is null.
        pointers: Vec<Option<Spot>>,
    },
    /// The depth model.
    Model,
    /// On the device.
    Copy {
        /// From where.
        from: Spot,
        /// To where in the memory for this work.
        to: usize,
        /// How much it is.
        bytes: usize,
    },
    /// From the device to the staging memory.
    Download {
        /// Where it begins on the device.
        from: usize,
        /// And in the staging memory.
        to: usize,
        /// How much it is.
        bytes: usize,
    },
}

/// A relief as it comes from the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The mesh as a file.
    pub file: Vec<u8>,
    /// Samples in a row of the heights.
    pub columns: usize,
    /// The heights over the underside in millimetres, row by row.
    pub heights_mm: Vec<f32>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// All that is done, in order, each with the step that it belongs to.
    pub actions: Vec<(Step, Action)>,
    /// Memory on the device.
    pub work_bytes: usize,
    /// Memory of the host that the device reads and writes.
    pub staging_bytes: usize,
    format: Format,
    solid: Solid,
    constants: Vec<u8>,
    /// Where what goes up and what comes down lies in the staging memory: first byte and size.
    pixels: Part,
    flag: Part,
    heights: Part,
    file: Vec<Part>,
}

/// Where something begins, and its size.
type Part = (usize, usize);

impl Layout {
    /// The way of a job through a depth model with this input and this output.
    ///
    /// # Errors
    /// When the sizes are none that kernels take, or the model is another.
    pub fn new(job: &Job, input: &Outlet, output: &Outlet) -> Result<Self, LayoutError> {
        let real = input_type(job, input)?;
        let [rows, columns] = output_size(output)?;
        let mut draft = Draft::default();
        let constants = Constants::new(job, columns, rows);
        let base = draft.upload(constants.bytes.len());
        let pixels = draft.upload(job.pixel_bytes());
        draft.shrink(job, real, pixels)?;
        draft.push(Step::Model, Action::Model);
        let heights = draft.heights(job, [rows, columns], &constants.at(base))?;
        let [width_mm, depth_mm] = job.parameters.size.plate_mm(job.aspect());
        let solid = Solid { columns, rows, width_mm, depth_mm };
        let file = draft.emit(&solid, job.parameters.format, heights.0)?;
        let flag = draft.download((base + constants.flag, FLAG_BYTES));
        let heights = draft.download(heights);
        let file = file.into_iter().map(|part| draft.download(part)).collect();
        Ok(Self {
            actions: draft.actions,
            work_bytes: draft.work_bytes,
            staging_bytes: draft.staging_bytes,
            format: job.parameters.format,
            solid,
            // What goes up lies where it will lie on the device.
            pixels: (pixels, job.pixel_bytes()),
            constants: constants.bytes,
            flag,
            heights,
            file,
        })
    }

    /// Puts what goes up into the staging memory.
    ///
    /// # Errors
    /// When the pixels are not as many as the job says, or there is no room for them.
    pub fn fill(&self, staging: &mut [u8], pixels: &[u8]) -> Result<(), LayoutError> {
        let sized = |what, found, wanted| {
            if found == wanted { Ok(()) } else { Err(LayoutError::Bytes { what, found, wanted }) }
        };
        sized("pixels", pixels.len(), self.pixels.1)?;
        if staging.len() < self.staging_bytes {
            sized("staging", staging.len(), self.staging_bytes)?;
        }
        staging[..self.constants.len()].copy_from_slice(&self.constants);
        staging[self.pixels.0..][..self.pixels.1].copy_from_slice(pixels);
        Ok(())
    }

    /// What has come down into the staging memory.
    ///
    /// # Errors
    /// When the model gave something that is no number, or the memory is too small.
    pub fn made(&self, staging: &[u8]) -> Result<Made, LayoutError> {
        let short = || LayoutError::Bytes { what: "staging", found: staging.len(), wanted: self.staging_bytes };
        let staging = staging.get(..self.staging_bytes).ok_or_else(short)?;
        let part = |(from, bytes): Part| &staging[from..from + bytes];
        if part(self.flag) != [0; FLAG_BYTES] {
            return Err(LayoutError::NotFinite);
        }
        let (vertices, triangles) = (self.solid.vertices(), self.solid.triangles());
        let mut file = self.format.header(vertices, triangles).ok_or(LayoutError::Unsuited("text"))?;
        file.reserve_exact(self.file.iter().map(|(_, bytes)| bytes).sum());
        self.file.iter().for_each(|&of| file.extend_from_slice(part(of)));
        let (numbers, _) = part(self.heights).as_chunks::<4>();
        let heights_mm = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Made { file, columns: self.solid.columns, heights_mm })
    }
}

fn input_type(job: &Job, input: &Outlet) -> Result<Real, LayoutError> {
    match input.operand.element {
        Element::F32 if input.shape == job.input_shape() => Ok(Real::F32),
        Element::F16 if input.shape == job.input_shape() => Ok(Real::F16),
        _ => Err(not("input", input, "real numbers of the shape [1, 3, rows, columns]")),
    }
}

fn output_size(output: &Outlet) -> Result<[usize; 2], LayoutError> {
    match (output.operand.element, output.shape.as_slice()) {
        (Element::F32, &[1, 1, rows, columns]) => Ok([rows, columns]),
        _ => Err(not("output", output, "FP32 of the shape [1, 1, rows, columns]")),
    }
}

fn not(what: &'static str, outlet: &Outlet, wanted: &'static str) -> LayoutError {
    LayoutError::Model { what, found: format!("{} of {:?}", outlet.operand.element.as_str(), outlet.shape), wanted }
}

const FLAG_BYTES: usize = 4;

/// What the kernels need beside the picture, one behind the other: they are on the device what they are here.
struct Constants {
    bytes: Vec<u8>,
    /// Kernel, across, down; where there is smoothing.
    smoothing: [usize; 3],
    state: usize,
    flag: usize,
}

impl Constants {
    fn new(job: &Job, columns: usize, rows: usize) -> Self {
        let mut bytes = Vec::new();
        let mut add = |more: &[u8]| {
            let from = aligned(bytes.len());
            bytes.resize(from, 0);
            bytes.extend_from_slice(more);
            from
        };
        // Zero at first, both of them.
        let (state, flag) = (add(&[0; 4 * STATE_WORDS]), add(&[0; FLAG_BYTES]));
        let smoothing = Smoothing::new(job.parameters.smoothing, columns, rows);
        let smoothing = smoothing.map_or([0; 3], |Smoothing { kernel, across, down }| {
            [kernel, across, down].map(|numbers| {
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                add(&bytes)
            })
        });
        Self { bytes, smoothing, state, flag }
    }

    /// Where each buffer is once they are at `base`.
    fn at(&self, base: usize) -> impl Fn(Buffer) -> Option<usize> {
        let ([kernel, across, down], state, flag) = (self.smoothing, self.state, self.flag);
        move |buffer| {
            let offset = match buffer {
                Buffer::Kernel => kernel,
                Buffer::Across => across,
                Buffer::Down => down,
                Buffer::State => state,
                Buffer::Flag => flag,
                Buffer::Depths | Buffer::Scratch | Buffer::Mask | Buffer::Shares | Buffer::Heights => return None,
            };
            Some(base + offset)
        }
    }
}

/// A layout that grows.
#[derive(Default)]
struct Draft {
    actions: Vec<(Step, Action)>,
    work_bytes: usize,
    staging_bytes: usize,
}

impl Draft {
    fn push(&mut self, step: Step, action: Action) {
        self.actions.push((step, action));
    }

    fn launch(&mut self, step: Step, launch: Launch, pointers: Vec<Option<Spot>>) {
        self.push(step, Action::Launch { launch, pointers });
    }

    /// Room on the device.
    fn room(&mut self, bytes: usize) -> usize {
        let from = self.work_bytes;
        self.work_bytes = from + aligned(bytes);
        from
    }

    /// Room on the device for something that comes from the host; it lies at the same place on both sides, as long as
    /// nothing else was given room before.
    fn upload(&mut self, bytes: usize) -> usize {
        let to = self.room(bytes);
        self.staging_bytes = self.work_bytes;
        self.push(Step::Upload, Action::Upload { from: to, to, bytes });
        to
    }

    fn download(&mut self, (from, bytes): Part) -> Part {
        let to = self.staging_bytes;
        self.staging_bytes = to + aligned(bytes);
        self.push(Step::Download, Action::Download { from, to, bytes });
        (to, bytes)
    }

    fn shrink(&mut self, job: &Job, real: Real, pixels: usize) -> Result<(), LayoutError> {
        let &Job { width, height, channels, columns, rows, .. } = job;
        let sizes = Shrink { width, height, channels, columns, rows, gain: [1.0; 3], shift: [0.0; 3] };
        let launch = picture::shrink(real, &sizes)?;
        self.launch(Step::Prepare, launch, vec![Some(Spot::Work(pixels)), Some(Spot::Input), None]);
        Ok(())
    }

    /// Where the heights are.
    fn heights(
        &mut self,
        job: &Job,
        [rows, columns]: [usize; 2],
        constant: &impl Fn(Buffer) -> Option<usize>,
    ) -> Result<Part, LayoutError> {
        let Parameters { height_mm, base_mm, invert, smoothing, .. } = job.parameters;
        let (height_mm, base_mm) = (height_mm as f32, base_mm as f32);
        let heights = Heights { columns, rows, deviation: smoothing, mask: None, height_mm, base_mm, invert };
        let steps = height::steps(&heights)?;
        let bytes = 4 * columns * rows;
        let [depths, scratch, result] = [(); 3].map(|()| self.room(bytes));
        // Smoothing writes over them, and the model's output is its own.
        self.push(Step::Height, Action::Copy { from: Spot::Output, to: depths, bytes });
        let place = |buffer: Buffer| match buffer {
            Buffer::Depths => Ok(depths),
            Buffer::Scratch => Ok(scratch),
            Buffer::Heights => Ok(result),
            other => constant(other).ok_or(LayoutError::Unsuited("a mask")),
        };
        for height::Step { launch, buffers } in steps {
            let pointers = buffers.into_iter().map(|buffer| Ok(buffer.map(place).transpose()?.map(Spot::Work)));
            let pointers = pointers.collect::<Result<_, LayoutError>>()?;
            self.launch(Step::Height, launch, pointers);
        }
        Ok((result, bytes))
    }

    /// Where the parts of the file are, in its order.
    fn emit(&mut self, solid: &Solid, format: Format, heights: usize) -> Result<Vec<Part>, LayoutError> {
        let [vertex_bytes, face_bytes] = solid.ply_bytes();
        let parts = match format {
            Format::Stl => vec![(mesh::stl(solid)?, solid.stl_bytes())],
            Format::Ply => vec![(mesh::vertices(solid)?, vertex_bytes), (mesh::faces(solid)?, face_bytes)],
            Format::Obj => return Err(LayoutError::Unsuited("text")),
        };
        let mut file = Vec::with_capacity(parts.len());
        for (launch, bytes) in parts {
            let at = self.room(bytes);
            self.launch(Step::Emit, launch, vec![Some(Spot::Work(heights)), Some(Spot::Work(at))]);
            file.push((at, bytes));
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests;
