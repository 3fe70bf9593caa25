//! Pictures that clients send, at a resolution that follows from the length: a raster is as large as was asked for at
//! most and holds light from 0 to 1, and no small file takes the memory of a large picture twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_daemon::relief::picture::{MAX_PIXELS, open, shrink};
use proofload_fuzz::{Allowance, MIB};

/// A picture of the largest size in 8-bit colour with alpha, once for the decoder and once converted, and 64 MiB.
const ALLOWANCE: Allowance = Allowance { fixed: 2 * 4 * MAX_PIXELS as usize + 64 * MIB, per_byte: 64 };

fuzz_target!(|file: &[u8]| {
    let resolution = 16 + file.len() % 497;
    if let Ok(raster) = ALLOWANCE.hold(file.len(), || open(file).map(|image| shrink(image, resolution))) {
        assert!((2..=resolution).contains(&raster.columns), "{} columns", raster.columns);
        assert!((2..=resolution).contains(&raster.rows), "{} rows", raster.rows);
        assert_eq!(raster.planes.len(), 3 * raster.columns * raster.rows);
        assert!(raster.planes.iter().all(|light| (0.0..=1.0001).contains(light)), "light beyond white");
        assert!((0.125..=8.0).contains(&raster.aspect), "aspect {}", raster.aspect);
    }
});
