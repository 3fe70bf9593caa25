//! What the GPUs of this machine report, through NVIDIA's management library. Without a driver there are no GPUs and
//! no errors; that is said once, at the start. A driver may take its time or hang, so a thread of its own asks it once
//! a second, and who wants to know gets the last readings.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::{Device, Nvml};

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
/// Older readings say nothing about now: the driver hangs, and no figure is better than a wrong one.
const STALE: Duration = Duration::from_secs(5);

/// Readings that were taken together.
struct Sample {
    at: Instant,
    readings: Vec<Reading>,
}

type Latest = Arc<Mutex<Option<Sample>>>;

/// The GPUs, or none.
pub struct Gpus {
    latest: Latest,
    /// Its end ends the thread.
    _asking: Option<Sender<()>>,
}

impl Gpus {
    /// Looks for the driver, and begins to ask it.
    pub fn probe() -> Self {
        let started = Nvml::init().map_err(|why| why.to_string()).and_then(|nvml| {
            let asked = Self::ask(PERIOD, move || read_devices(&nvml));
            asked.map_err(|why| why.to_string())
        });
        started.unwrap_or_else(|why| {
            tracing::info!("no GPU metrics: {why}; models run on the CPU");
            Self { latest: Latest::default(), _asking: None }
        })
    }

    /// Calls `read` once in every `period`, on a thread that ends when this is dropped.
    fn ask(period: Duration, read: impl Fn() -> Vec<Reading> + Send + 'static) -> std::io::Result<Self> {
        let latest = Latest::default();
        let (asking, dropped) = channel();
        let sample = Arc::clone(&latest);
        let run = move || loop {
            let readings = read();
            *sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(Sample { at: Instant::now(), readings });
            if dropped.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        };
        std::thread::Builder::new().name("gpus".to_owned()).spawn(run)?;
        Ok(Self { latest, _asking: Some(asking) })
    }

    /// The last readings, unless they are stale at `now`. Asks nobody.
    pub fn read(&self, now: Instant) -> Vec<Reading> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = latest.as_ref().filter(|sample| now.saturating_duration_since(sample.at) < STALE);
        fresh.map(|sample| sample.readings.clone()).unwrap_or_default()
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

    fn reading() -> Reading {
        Reading {
            uuid: "GPU-1".to_owned(),
            utilization: Some(0.5),
            memory_total_bytes: None,
            memory_used_bytes: None,
            power_watts: None,
            power_limit_watts: None,
            energy_joules: None,
            temperature_celsius: None,
        }
    }

    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: never");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn readings_are_kept_until_they_are_stale() {
        let at = Instant::now();
        let sample = Sample { at, readings: vec![reading()] };
        let gpus = Gpus { latest: Arc::new(Mutex::new(Some(sample))), _asking: None };
        assert_eq!(gpus.read(at + STALE / 2), [reading()]);
        assert_eq!(gpus.read(at + STALE), []);
    }

    #[test]
    fn the_thread_asks_again_and_ends_with_its_owner() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let read = move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            vec![reading()]
        };
        let gpus = Gpus::ask(Duration::from_millis(1), read).unwrap();
        eventually("asked three times", || asked.load(std::sync::atomic::Ordering::Relaxed) > 2);
        assert_eq!(gpus.read(Instant::now()), [reading()]);
        drop(gpus);
        eventually("the thread has ended", || Arc::strong_count(&asked) == 1);
    }

    #[test]
    fn a_probe_never_fails() {
        for reading in Gpus::probe().read(Instant::now()) {
            assert!(reading.uuid.starts_with("GPU-"), "{reading:?}");
            assert!(reading.utilization.is_none_or(|share| (0.0..=1.0).contains(&share)), "{reading:?}");
        }
    }
}
