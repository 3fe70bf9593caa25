//! The theme's inks as different eyes see them: for tests only, nothing is drawn with it.
//!
//! Cones that lack are simulated as Machado, Oliveira and Fernandes do (2009, severity 1.0), differences are measured in
//! Oklab (Ottosson 2020).

/// Whose eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eyes {
    Usual,
    /// Without red cones.
    Protan,
    /// Without green ones.
    Deutan,
    /// Without blue ones.
    Tritan,
}

impl Eyes {
    pub(super) const ALL: [Self; 4] = [Self::Usual, Self::Protan, Self::Deutan, Self::Tritan];

    fn matrix(self) -> [[f64; 3]; 3] {
        match self {
            Self::Usual => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            Self::Protan => [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
            Self::Deutan => [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
            Self::Tritan => [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        }
    }
}

/// Red, green and blue, linear, 0 to 1.
pub(super) type Colour = [f64; 3];

/// The inks of lines and bars as a style sheet states them for the `at`-th time.
pub(super) fn inks(theme: &str, at: usize) -> Vec<(&'static str, Colour)> {
    let stated = |name: &'static str| {
        let code = theme.split(&format!("--{name}: #")).nth(at + 1)?.get(..6)?;
        let part =
            |from: usize| Some(linear(f64::from(u8::from_str_radix(code.get(from..from + 2)?, 16).ok()?) / 255.0));
        Some((name, [part(0)?, part(2)?, part(4)?]))
    };
    ["blue", "teal", "violet", "amber", "red", "slate"].into_iter().filter_map(stated).collect()
}

fn linear(part: f64) -> f64 {
    if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
}

fn times(matrix: [[f64; 3]; 3], colour: Colour) -> Colour {
    matrix.map(|row| row.iter().zip(colour).map(|(factor, part)| factor * part).sum())
}

fn oklab(colour: Colour) -> Colour {
    let cones = times(
        [
            [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
            [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
            [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
        ],
        colour,
    );
    times(
        [
            [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
            [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
            [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
        ],
        cones.map(f64::cbrt),
    )
}

/// How far apart two colours are to these eyes.
pub(super) fn distance(a: Colour, b: Colour, eyes: Eyes) -> f64 {
    let seen = |colour: Colour| oklab(times(eyes.matrix(), colour).map(|part| part.clamp(0.0, 1.0)));
    seen(a).iter().zip(seen(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}
