//! What a client may say about the relief it wants: names and values as written, then parameters that can run.
//! Every mistake of a request is named at once. Pure.

use super::mask::Wanted;
use crate::mesh::export::Format;

/// What the levels of `quality` stand for: samples along the longer side, and smoothing in samples. The same detail of
/// the picture is more samples on a finer plate, so that is smoothed over more of them.
const QUALITIES: [(usize, f64); 10] = [
    (32, 0.5),
    (48, 0.5),
    (64, 0.6),
    (96, 0.7),
    (128, 0.7),
    (160, 0.8),
    (192, 0.9),
    (256, 1.0),
    (384, 1.2),
    (512, 1.4),
];
/// The level when the client does not say.
const DEFAULT_QUALITY: usize = 5;

/// A relief that can be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// The file's format.
    pub format: Format,
    /// Samples along the picture's longer side, 16 to 512. A smaller picture is not enlarged.
    pub resolution: usize,
    /// How large the plate is.
    pub size: Size,
    /// From the lowest to the highest point of the relief, in millimetres, 0.1 to 100.
    pub height_mm: f64,
    /// Thickness of the plate under the lowest point, in millimetres, 0.2 to 50.
    pub base_mm: f64,
    /// Whether what is near lies low: a mould.
    pub invert: bool,
    /// Standard deviation of the smoothing, in samples, 0 (none) to 8.
    pub smoothing: f64,
    /// What of the picture is raised.
    pub mask: Wanted,
}

/// How large the plate is, in millimetres, 10 to 500. The other side follows from the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// Its width.
    Width(f64),
    /// Its longer side.
    Longest(f64),
}

impl Size {
    /// Width and depth of the plate under a picture. `aspect` is the picture's height over its width.
    pub fn plate_mm(self, aspect: f64) -> [f64; 2] {
        let width = match self {
            Self::Width(width) => width,
            Self::Longest(side) => side / aspect.max(1.0),
        };
        [width, width * aspect]
    }
}

impl Default for Parameters {
    fn default() -> Self {
        let (resolution, smoothing) = QUALITIES[DEFAULT_QUALITY - 1];
        Self {
            format: Format::Stl,
            resolution,
            size: Size::Width(100.0),
            height_mm: 8.0,
            base_mm: 2.0,
            invert: false,
            smoothing,
            mask: Wanted::None,
        }
    }
}

/// More than there are: who sends more is answered in a moment and with a line all the same.
const MOST_WRITTEN: usize = 16;
/// The names, for messages.
const NAMES: &str = "format, quality, resolution, smoothing, width_mm, size_mm, height_mm, base_mm, invert, mask";
/// What is said to who sends words instead of a picture.
pub const NO_TEXT: &str = "reliefs are not made of a text prompt: no text-to-3D model is served here. Supported is a \
    picture, PNG or JPEG, as the body or in the field `file` of a form";

impl Parameters {
    /// Makes what was written runnable. What is not named has its default.
    ///
    /// # Errors
    /// One message for each mistake, saying what would be right.
    pub fn from_written<'a>(written: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Vec<String>> {
        let mut parameters = Self::default();
        let mut errors = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let mut written: Vec<_> = written.into_iter().take(MOST_WRITTEN + 1).collect();
        if written.len() > MOST_WRITTEN {
            return Err(vec![format!("more than {MOST_WRITTEN} parameters are given; the parameters are {NAMES}")]);
        }
        // What is said in detail wins over the level, whatever the order.
        written.sort_by_key(|(name, _)| *name != "quality");
        for (name, value) in written {
            if seen.contains(&name) {
                errors.push(format!("`{name}` is given twice; give it once"));
            }
            seen.push(name);
            errors.extend(parameters.set(name, value.trim()).err());
        }
        if seen.contains(&"width_mm") && seen.contains(&"size_mm") {
            errors.push("`width_mm` and `size_mm` both say how large the plate is; give one of them".to_owned());
        }
        if errors.is_empty() { Ok(parameters) } else { Err(errors) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "format" => self.format = format(value)?,
            "quality" => (self.resolution, self.smoothing) = quality(value)?,
            "resolution" => self.resolution = resolution(value)?,
            "width_mm" => self.size = Size::Width(number(name, value, 10.0, 500.0)?),
            "size_mm" => self.size = Size::Longest(number(name, value, 10.0, 500.0)?),
            "height_mm" => self.height_mm = number(name, value, 0.1, 100.0)?,
            "base_mm" => self.base_mm = number(name, value, 0.2, 50.0)?,
            "invert" => self.invert = boolean(name, value)?,
            "smoothing" => self.smoothing = number(name, value, 0.0, 8.0)?,
            "mask" => self.mask = mask(value)?,
            "prompt" | "text" => return Err(format!("`{name}`: {NO_TEXT}")),
            _ => return Err(format!("`{}` is no parameter; the parameters are {NAMES}", name.escape_debug())),
        }
        Ok(())
    }
}

fn quality(value: &str) -> Result<(usize, f64), String> {
    let level = value.parse::<usize>().ok().and_then(|level| QUALITIES.get(level.checked_sub(1)?));
    level.copied().ok_or_else(|| {
        let most = QUALITIES.len();
        format!("`quality` must be a whole number from 1, the coarsest, to {most}, not '{}'", value.escape_debug())
    })
}

fn mask(value: &str) -> Result<Wanted, String> {
    Wanted::parse(value).ok_or_else(|| format!("`mask` must be auto, alpha or none, not '{}'", value.escape_debug()))
}

fn format(value: &str) -> Result<Format, String> {
    Format::parse(value).ok_or_else(|| format!("`format` must be stl, obj or ply, not '{}'", value.escape_debug()))
}

fn resolution(value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|samples| (16..=512).contains(samples)).ok_or_else(|| {
        format!("`resolution` must be a whole number of samples from 16 to 512, not '{}'", value.escape_debug())
    })
}

fn number(name: &str, value: &str, least: f64, most: f64) -> Result<f64, String> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{name}` must be a number from {least} to {most}, not '{}'", value.escape_debug()))
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{name}` must be true or false, not '{}'", value.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(written: &[(&str, &str)], expected: Result<Parameters, &[&str]>) {
        match (Parameters::from_written(written.iter().copied()), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{written:?}"),
            (Err(errors), Err(parts)) => {
                assert_eq!(errors.len(), parts.len(), "{written:?}: {errors:?}");
                assert!(errors.iter().zip(parts).all(|(error, part)| error.contains(part)), "{written:?}: {errors:?}");
            }
            (found, expected) => panic!("{written:?}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn what_is_written_runs() {
        let default = Parameters::default();
        check(&[], Ok(default));
        check(&[("format", "OBJ")], Ok(Parameters { format: Format::Obj, ..default }));
        check(&[("format", " ply ")], Ok(Parameters { format: Format::Ply, ..default }));
        check(&[("resolution", "512"), ("invert", "1")], Ok(Parameters { resolution: 512, invert: true, ..default }));
        let small = Parameters { size: Size::Width(10.0), smoothing: 0.0, ..default };
        check(&[("width_mm", "10"), ("smoothing", "0")], Ok(small));
        check(&[("size_mm", "80")], Ok(Parameters { size: Size::Longest(80.0), ..default }));
        check(&[("quality", "5")], Ok(default));
        check(&[("quality", "1")], Ok(Parameters { resolution: 32, smoothing: 0.5, ..default }));
        check(&[("quality", "10")], Ok(Parameters { resolution: 512, smoothing: 1.4, ..default }));
        let chosen = Parameters { resolution: 100, smoothing: 1.0, ..default };
        check(&[("resolution", "100"), ("quality", "8")], Ok(chosen));
        check(&[("mask", "Auto")], Ok(Parameters { mask: Wanted::Auto, ..default }));
        check(&[("height_mm", "0.5"), ("base_mm", "1e0")], Ok(Parameters { height_mm: 0.5, base_mm: 1.0, ..default }));
    }

    #[test]
    fn every_mistake_is_named() {
        check(&[("format", "gltf")], Err(&["stl, obj or ply, not 'gltf'"]));
        check(&[("resolution", "15")], Err(&["from 16 to 512"]));
        check(&[("resolution", "64.5")], Err(&["whole number"]));
        check(&[("width_mm", "NaN")], Err(&["`width_mm` must be a number from 10 to 500"]));
        check(&[("width_mm", "inf")], Err(&["`width_mm`"]));
        check(&[("invert", "yes")], Err(&["true or false"]));
        check(&[("depth", "3")], Err(&["`depth` is no parameter; the parameters are format,"]));
        check(&[("base_mm", "1"), ("base_mm", "2")], Err(&["twice"]));
        check(&[("quality", "0"), ("mask", "sky")], Err(&["from 1, the coarsest, to 10", "auto, alpha or none"]));
        check(&[("quality", "11")], Err(&["`quality`"]));
        check(&[("width_mm", "20"), ("size_mm", "20")], Err(&["both"]));
        check(&[("prompt", "a cat")], Err(&["text prompt"]));
        check(&[("x", ""); 17], Err(&["more than 16 parameters"]));
        check(&[("height_mm", "0"), ("smoothing", "9"), ("format", "")], Err(&["height_mm", "smoothing", "format"]));
    }

    #[test]
    fn plates() {
        let check = |size: Size, aspect: f64, expected: [f64; 2]| {
            assert_eq!(size.plate_mm(aspect).map(f64::to_bits), expected.map(f64::to_bits));
        };
        check(Size::Width(100.0), 0.5, [100.0, 50.0]);
        check(Size::Width(100.0), 2.0, [100.0, 200.0]);
        check(Size::Longest(100.0), 0.5, [100.0, 50.0]);
        check(Size::Longest(100.0), 2.0, [50.0, 100.0]);
    }

    proptest! {
        #[test]
        fn no_text_panics(name: String, value: String) {
            let _ = Parameters::from_written([(name.as_str(), value.as_str())]);
        }

        /// Whatever is accepted lies within the documented bounds.
        #[test]
        fn what_is_accepted_is_bounded(width: f64, resolution: usize) {
            let (width, resolution) = (width.to_string(), resolution.to_string());
            let pairs = [("width_mm", width.as_str()), ("resolution", resolution.as_str())];
            if let Ok(parameters) = Parameters::from_written(pairs) {
                let [width_mm, _] = parameters.size.plate_mm(1.0);
                prop_assert!((10.0..=500.0).contains(&width_mm));
                prop_assert!((16..=512).contains(&parameters.resolution));
            }
        }
    }
}
