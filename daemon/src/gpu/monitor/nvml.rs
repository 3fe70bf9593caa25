//! Asking NVIDIA's management library. A figure that the device, its driver or its rights do not give is left out; a
//! device that is divided is its instances.

use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, PcieUtilCounter, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device as Handle, Nvml};

use super::reading::{Device, Now, Process, Slow};

/// Every device, or instance of one, that the driver knows, with what `read` says of it.
pub(super) fn each<T>(nvml: &Nvml, read: impl Fn(Device, &Handle<'_>) -> T) -> Vec<T> {
    let count = nvml.device_count().unwrap_or(0);
    let mut found = Vec::new();
    for index in 0..count {
        let Ok(handle) = nvml.device_by_index(index) else { continue };
        let instances = instances(&handle);
        if instances.is_empty() {
            found.extend(device(&handle, index, None).map(|device| read(device, &handle)));
        }
        for (instance, part) in instances {
            found.extend(device(&part, index, Some(instance)).map(|device| read(device, &part)));
        }
    }
    found
}

/// The instances of a device that is divided.
fn instances<'nvml>(handle: &Handle<'nvml>) -> Vec<(u32, Handle<'nvml>)> {
    if handle.mig_mode().map_or(0, |mode| mode.current) == 0 {
        return Vec::new();
    }
    // The count is of places; not all of them are taken.
    let places = handle.mig_device_count().unwrap_or(0);
    (0..places).filter_map(|place| Some((place, handle.mig_device_by_index(place).ok()?))).collect()
}

/// Which device it is. One without an identity cannot be told from others.
fn device(handle: &Handle<'_>, index: u32, mig_instance: Option<u32>) -> Option<Device> {
    Some(Device {
        uuid: handle.uuid().ok()?,
        index,
        name: handle.name().unwrap_or_default(),
        pci_bus_id: handle.pci_info().ok().map(|pci| pci.bus_id),
        mig_instance,
    })
}

/// What is read every time.
pub(super) fn now(handle: &Handle<'_>) -> Now {
    let (memory, rates) = (handle.memory_info().ok(), handle.utilization_rates().ok());
    let milli = |value: u32| f64::from(value) / 1000.0;
    let percent = |value: u32| f64::from(value) / 100.0;
    Now {
        utilization: rates.as_ref().map(|rates| percent(rates.gpu)),
        memory_utilization: rates.as_ref().map(|rates| percent(rates.memory)),
        memory_total_bytes: memory.as_ref().map(|memory| memory.total),
        memory_used_bytes: memory.as_ref().map(|memory| memory.used),
        memory_reserved_bytes: memory.as_ref().map(|memory| memory.reserved),
        sm_clock_mhz: handle.clock_info(Clock::SM).ok(),
        memory_clock_mhz: handle.clock_info(Clock::Memory).ok(),
        power_watts: handle.power_usage().ok().map(milli),
        power_limit_watts: handle.enforced_power_limit().ok().map(milli),
        energy_joules: handle.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / 1000.0),
        temperature_celsius: handle.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        throttle_bits: handle.current_throttle_reasons().ok().map(|reasons| reasons.bits()),
    }
}

/// What is read once a second: the figures of `PCIe` alone take 20 ms each.
pub(super) fn slow(handle: &Handle<'_>) -> Slow {
    let kilobytes = |counted: Result<u32, NvmlError>| counted.ok().map(|kilobytes| f64::from(kilobytes) * 1000.0);
    let errors = |kind: MemoryError| handle.total_ecc_errors(kind, EccCounter::Volatile).ok();
    let process = |process: nvml_wrapper::struct_wrappers::device::ProcessInfo| Process {
        pid: process.pid,
        used_bytes: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
    };
    let processes = handle.running_compute_processes().unwrap_or_default();
    Slow {
        pcie_sent_bytes_per_s: kilobytes(handle.pcie_throughput(PcieUtilCounter::Send)),
        pcie_received_bytes_per_s: kilobytes(handle.pcie_throughput(PcieUtilCounter::Receive)),
        pcie_replays: handle.pcie_replay_counter().ok().map(u64::from),
        pcie_generation: handle.current_pcie_link_gen().ok(),
        pcie_width: handle.current_pcie_link_width().ok(),
        ecc_corrected: errors(MemoryError::Corrected),
        ecc_uncorrected: errors(MemoryError::Uncorrected),
        processes: processes.into_iter().map(process).collect(),
    }
}
