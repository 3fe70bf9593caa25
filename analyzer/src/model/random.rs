//! Random numbers for simulations and resampling, the same on every machine: the same findings give the same report.

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Gamma with mean 1 and this variance (Marsaglia and Tsang 2000); 1 itself where there is none.
    pub(super) fn gamma(&mut self, variance: f64) -> f64 {
        if variance < 0.01 {
            return 1.0;
        }
        let shape = 1.0 / variance;
        // Below a shape of 1 by that of one more.
        let (raised, factor) = if shape < 1.0 { (shape + 1.0, self.unit().powf(variance)) } else { (shape, 1.0) };
        let d = raised - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v * factor * variance;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_has_its_mean_and_variance() {
        for variance in [0.0, 0.25, 1.0, 4.0] {
            let mut random = Random(3);
            let drawn: Vec<f64> = (0..200_000).map(|_| random.gamma(variance)).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let found = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            assert!(
                (mean - 1.0).abs() < 0.02 && (found - variance).abs() < 0.03 * variance.max(0.1),
                "{variance}: {mean} {found}"
            );
        }
    }
}
