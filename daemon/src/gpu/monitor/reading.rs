//! What a GPU, or a MIG instance of one, reports. A figure that it does not have is absent, never zero. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One device at one time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GpuReading")]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Which device.
    pub device: Device,
    /// What changes from one moment to the next.
    pub now: Now,
    /// What is read once a second: it takes the driver longer.
    #[serde(default)]
    pub slow: Slow,
}

impl Reading {
    /// What a process has of the memory, where the driver says so. In a container it may know the process by another number:
    /// if there is but one, that is it.
    pub fn of_process(&self, pid: u32) -> Option<u64> {
        let found = self.slow.processes.iter().find(|process| process.pid == pid);
        let only = || self.slow.processes.first().filter(|_| self.slow.processes.len() == 1);
        found.or_else(only)?.used_bytes
    }
}

/// Which device it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GpuDevice")]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// `GPU-…`, or `MIG-…`; `replay:GPU-…` where it is replayed.
    pub uuid: String,
    /// Its number at the driver; that of the whole GPU for an instance of one.
    pub index: u32,
    /// Its product name.
    pub name: String,
    /// Where it is plugged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
    /// Which instance of the GPU it is, if the GPU is divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_instance: Option<u32>,
}

/// What changes quickly.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GpuNow")]
#[serde(deny_unknown_fields, default)]
pub struct Now {
    /// Share of the time in which something was computed, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f64>,
    /// Share of the time in which memory was read or written, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_utilization: Option<f64>,
    /// All of its memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    /// What processes hold of it, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// What the driver keeps for itself, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reserved_bytes: Option<u64>,
    /// Clock of the multiprocessors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<u32>,
    /// Clock of the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_clock_mhz: Option<u32>,
    /// Power drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_watts: Option<f64>,
    /// The most power that it may draw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<f64>,
    /// Joules since the driver was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_joules: Option<f64>,
    /// Of its core, in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    /// NVML's bits for why its clocks are below what they could be; 0 where they are not. See [`throttle_reasons`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle_bits: Option<u64>,
}

/// What changes slowly, or takes long to read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GpuSlow")]
#[serde(deny_unknown_fields, default)]
pub struct Slow {
    /// Over `PCIe` from the device, bytes a second over the last 20 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_sent_bytes_per_s: Option<f64>,
    /// Over `PCIe` to the device, the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_received_bytes_per_s: Option<f64>,
    /// Packets that had to be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_replays: Option<u64>,
    /// Generation of the link as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_generation: Option<u32>,
    /// Lanes of the link as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_width: Option<u32>,
    /// Errors of memory that were corrected, since the driver was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_corrected: Option<u64>,
    /// Errors of memory that were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u64>,
    /// Processes that compute on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
}

/// A process on a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GpuProcess")]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// What it holds of the memory, in bytes, where the driver says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
}

/// NVML's bits, and what they are called in metrics. Bits are those of `nvmlClocksEventReasons`.
pub const THROTTLE_REASONS: [(u64, &str); 9] = [
    (0x1, "idle"),
    (0x2, "application_clocks"),
    (0x4, "power_cap"),
    (0x8, "hardware_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "thermal_slowdown"),
    (0x40, "hardware_thermal_slowdown"),
    (0x80, "hardware_power_brake"),
    (0x100, "display_clocks"),
];

/// The names of the bits that are set. Idling is no throttling, but one of NVML's reasons.
pub fn throttle_reasons(bits: u64) -> Vec<&'static str> {
    THROTTLE_REASONS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names() {
        let check = |bits: u64, expected: &[&str]| assert_eq!(throttle_reasons(bits), expected, "{bits:#x}");
        check(0, &[]);
        check(0x1, &["idle"]);
        check(0x24, &["power_cap", "thermal_slowdown"]);
        check(0x200, &[]);
    }

    #[test]
    fn a_process_is_found_by_its_number_or_because_it_is_the_only_one() {
        let check = |processes: &[(u32, u64)], expected: Option<u64>| {
            let process = |&(pid, bytes): &(u32, u64)| Process { pid, used_bytes: Some(bytes) };
            let slow = Slow { processes: processes.iter().map(process).collect(), ..Slow::default() };
            assert_eq!(Reading { slow, ..Reading::default() }.of_process(7), expected, "{processes:?}");
        };
        check(&[], None);
        check(&[(7, 1), (8, 2)], Some(1));
        check(&[(9, 3)], Some(3));
        check(&[(8, 2), (9, 3)], None);
    }

    #[test]
    fn what_is_absent_is_not_written_and_comes_back_absent() {
        let device = Device { uuid: "GPU-1".to_owned(), name: "a".to_owned(), ..Device::default() };
        let reading = Reading { device, now: Now { utilization: Some(0.5), ..Now::default() }, ..Reading::default() };
        let text = serde_json::to_string(&reading).unwrap();
        assert_eq!(text, r#"{"device":{"uuid":"GPU-1","index":0,"name":"a"},"now":{"utilization":0.5},"slow":{}}"#);
        assert_eq!(serde_json::from_str::<Reading>(&text).unwrap(), reading);
    }
}
