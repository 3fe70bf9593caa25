//! What the GPUs of this machine report, through NVIDIA's management library. Without a driver there are no GPUs and
//! no errors; that is said once, at the start. A driver may take its time or hang, so a thread of its own asks it once
//! a second, and who wants to know gets the last readings.

use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::{Device, Nvml};

use crate::telemetry::sampler::Sampler;

/// What one GPU reported. A figure that it does not have is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its identity.
    pub uuid: String,
    /// 0 to 1.
    pub utilization: Option<f64>,
    /// Bytes.
    pub memory_total_bytes: Option<f64>,
    /// Bytes.
    pub memory_used_bytes: Option<f64>,
    /// Watts.
    pub power_watts: Option<f64>,
    /// Watts.
    pub power_limit_watts: Option<f64>,
    /// Joules since the driver was loaded.
    pub energy_joules: Option<f64>,
    /// Degrees Celsius.
    pub temperature_celsius: Option<f64>,
}

/// How often the driver is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// The GPUs, or none.
pub struct Gpus(Sampler<Vec<Reading>>);

impl Gpus {
    /// Looks for the driver, and begins to ask it.
    pub fn probe() -> Self {
        let started = Nvml::init().map_err(|why| why.to_string()).and_then(|nvml| {
            let asked = Sampler::start("gpus", PERIOD, None, move || read_devices(&nvml));
            asked.map_err(|why| why.to_string())
        });
        Self(started.unwrap_or_else(|why| {
            tracing::info!("no GPU metrics: {why}; models run on the CPU");
            Sampler::never()
        }))
    }

    /// The last readings, unless they are stale at `now`. Asks nobody.
    pub fn read(&self, now: Instant) -> Vec<Reading> {
        self.0.read(now).unwrap_or_default()
    }
}

fn read_devices(nvml: &Nvml) -> Vec<Reading> {
    let count = nvml.device_count().unwrap_or(0);
    (0..count).filter_map(|index| read_device(&nvml.device_by_index(index).ok()?)).collect()
}

fn read_device(device: &Device<'_>) -> Option<Reading> {
    let memory = device.memory_info().ok();
    let milli = |value: u32| f64::from(value) / 1000.0;
    Some(Reading {
        uuid: device.uuid().ok()?,
        utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
        memory_total_bytes: memory.as_ref().map(|memory| memory.total as f64),
        memory_used_bytes: memory.as_ref().map(|memory| memory.used as f64),
        power_watts: device.power_usage().ok().map(milli),
        power_limit_watts: device.enforced_power_limit().ok().map(milli),
        energy_joules: device.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1000.0),
        temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_never_fails() {
        for reading in Gpus::probe().read(Instant::now()) {
            assert!(reading.uuid.starts_with("GPU-"), "{reading:?}");
            assert!(reading.utilization.is_none_or(|share| (0.0..=1.0).contains(&share)), "{reading:?}");
        }
    }
}
