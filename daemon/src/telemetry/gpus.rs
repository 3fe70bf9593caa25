//! What the GPUs report, at a scrape: under Triton's names, under those of NVIDIA's DCGM exporter, and under
//! OpenTelemetry's for hardware, so that dashboards made for any of them work. What a device does not report has no row.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::catalogue::{self, Metric};
use crate::gpu::monitor::reading::{Reading, THROTTLE_REASONS};

/// A label's name and value.
type Label = (&'static str, String);
/// A metric, and its value of a device.
type Column = (Metric, fn(&Reading) -> Option<f64>);

/// Processes of one device that have a row: those that hold most.
const MOST_PROCESSES: usize = 16;
const MIB: f64 = (1 << 20) as f64;

/// Writes all of them, and where they come from.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, source: &str, gpus: &[Reading]) -> Result<(), Error> {
    let from = vec![("source", source.to_owned())];
    write(encoder, catalogue::GPU_SOURCE, MetricType::Gauge, vec![(from, 1.0)])?;
    columns(encoder, MetricType::Unknown, &TRITON, gpus, of_triton)?;
    columns(encoder, MetricType::Unknown, &DCGM, gpus, of_dcgm)?;
    columns(encoder, MetricType::Gauge, &HARDWARE, gpus, of_hardware)?;
    columns(encoder, MetricType::Counter, &HARDWARE_COUNTERS, gpus, of_hardware)?;
    write(encoder, catalogue::HW_GPU_IO_RATE, MetricType::Gauge, io_rates(gpus))?;
    write(encoder, catalogue::HW_ERRORS, MetricType::Counter, errors(gpus))?;
    write(encoder, catalogue::GPU_THROTTLED, MetricType::Gauge, throttled(gpus))?;
    write(encoder, catalogue::GPU_PROCESS_MEMORY, MetricType::Gauge, processes(gpus))
}

const TRITON: [Column; 7] = [
    (catalogue::GPU_UTILIZATION, |gpu| gpu.now.utilization),
    (catalogue::GPU_MEMORY_TOTAL, |gpu| float(gpu.now.memory_total_bytes)),
    (catalogue::GPU_MEMORY_USED, |gpu| float(gpu.now.memory_used_bytes)),
    (catalogue::GPU_POWER, |gpu| gpu.now.power_watts),
    (catalogue::GPU_POWER_LIMIT, |gpu| gpu.now.power_limit_watts),
    (catalogue::GPU_ENERGY, |gpu| gpu.now.energy_joules),
    (catalogue::GPU_TEMPERATURE, |gpu| gpu.now.temperature_celsius),
];

/// In DCGM's units: percent, MiB, MHz, mJ, KB/s.
const DCGM: [Column; 17] = [
    (catalogue::DCGM_GPU_UTIL, |gpu| gpu.now.utilization.map(percent)),
    (catalogue::DCGM_MEM_COPY_UTIL, |gpu| gpu.now.memory_utilization.map(percent)),
    (catalogue::DCGM_FB_USED, |gpu| mebibytes(gpu.now.memory_used_bytes)),
    (catalogue::DCGM_FB_FREE, |gpu| {
        let taken = gpu.now.memory_used_bytes? + gpu.now.memory_reserved_bytes.unwrap_or(0);
        mebibytes(Some(gpu.now.memory_total_bytes?.saturating_sub(taken)))
    }),
    (catalogue::DCGM_FB_RESERVED, |gpu| mebibytes(gpu.now.memory_reserved_bytes)),
    (catalogue::DCGM_SM_CLOCK, |gpu| gpu.now.sm_clock_mhz.map(f64::from)),
    (catalogue::DCGM_MEM_CLOCK, |gpu| gpu.now.memory_clock_mhz.map(f64::from)),
    (catalogue::DCGM_GPU_TEMP, |gpu| gpu.now.temperature_celsius),
    (catalogue::DCGM_POWER_USAGE, |gpu| gpu.now.power_watts),
    (catalogue::DCGM_POWER_LIMIT, |gpu| gpu.now.power_limit_watts),
    (catalogue::DCGM_ENERGY, |gpu| gpu.now.energy_joules.map(|joules| joules * 1000.0)),
    (catalogue::DCGM_THROTTLE, |gpu| float(gpu.now.throttle_bits)),
    (catalogue::DCGM_PCIE_TX, |gpu| gpu.slow.pcie_sent_bytes_per_s.map(|bytes| bytes / 1000.0)),
    (catalogue::DCGM_PCIE_RX, |gpu| gpu.slow.pcie_received_bytes_per_s.map(|bytes| bytes / 1000.0)),
    (catalogue::DCGM_PCIE_REPLAYS, |gpu| float(gpu.slow.pcie_replays)),
    (catalogue::DCGM_ECC_SBE, |gpu| float(gpu.slow.ecc_corrected)),
    (catalogue::DCGM_ECC_DBE, |gpu| float(gpu.slow.ecc_uncorrected)),
];

const HARDWARE: [Column; 6] = [
    (catalogue::HW_GPU_UTILIZATION, |gpu| gpu.now.utilization),
    (catalogue::HW_GPU_MEMORY_LIMIT, |gpu| float(gpu.now.memory_total_bytes)),
    (catalogue::HW_GPU_MEMORY_USAGE, |gpu| float(gpu.now.memory_used_bytes)),
    (catalogue::HW_GPU_MEMORY_UTILIZATION, |gpu| {
        let total = gpu.now.memory_total_bytes.filter(|total| *total > 0)?;
        Some(gpu.now.memory_used_bytes? as f64 / total as f64)
    }),
    (catalogue::HW_POWER, |gpu| gpu.now.power_watts),
    (catalogue::HW_TEMPERATURE, |gpu| gpu.now.temperature_celsius),
];

const HARDWARE_COUNTERS: [Column; 1] = [(catalogue::HW_ENERGY, |gpu| gpu.now.energy_joules)];

fn float(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

fn percent(share: f64) -> f64 {
    share * 100.0
}

fn mebibytes(bytes: Option<u64>) -> Option<f64> {
    float(bytes).map(|bytes| bytes / MIB)
}

fn of_triton(gpu: &Reading) -> Vec<Label> {
    vec![("gpu_uuid", gpu.device.uuid.clone())]
}

fn of_dcgm(gpu: &Reading) -> Vec<Label> {
    let device = &gpu.device;
    let mut labels = vec![
        ("gpu", device.index.to_string()),
        ("UUID", device.uuid.clone()),
        ("device", format!("nvidia{}", device.index)),
        ("modelName", device.name.clone()),
    ];
    labels.extend(device.pci_bus_id.clone().map(|bus| ("pci_bus_id", bus)));
    labels.extend(device.mig_instance.map(|instance| ("GPU_I_ID", instance.to_string())));
    labels
}

fn of_hardware(gpu: &Reading) -> Vec<Label> {
    vec![("hw_id", gpu.device.uuid.clone()), ("hw_name", gpu.device.name.clone()), ("hw_type", "gpu".to_owned())]
}

fn columns(
    encoder: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    columns: &[Column],
    gpus: &[Reading],
    labels: fn(&Reading) -> Vec<Label>,
) -> Result<(), Error> {
    for (metric, value) in columns {
        let rows = gpus.iter().filter_map(|gpu| Some((labels(gpu), value(gpu)?)));
        write(encoder, *metric, kind, rows.collect())?;
    }
    Ok(())
}

/// A metric without rows is left out altogether.
fn write(
    encoder: &mut DescriptorEncoder<'_>,
    Metric { name, help }: Metric,
    kind: MetricType,
    rows: Vec<(Vec<Label>, f64)>,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let mut row = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => row.encode_counter::<NoLabelSet, f64, f64>(&value, None)?,
            _ => row.encode_gauge(&value)?,
        }
    }
    Ok(())
}

fn with(mut labels: Vec<Label>, name: &'static str, value: impl Into<String>) -> Vec<Label> {
    labels.push((name, value.into()));
    labels
}

fn io_rates(gpus: &[Reading]) -> Vec<(Vec<Label>, f64)> {
    let ways = |gpu: &Reading| {
        let slow = &gpu.slow;
        [("transmit", slow.pcie_sent_bytes_per_s), ("receive", slow.pcie_received_bytes_per_s)]
    };
    let rows = gpus.iter().flat_map(|gpu| ways(gpu).map(|(way, rate)| (gpu, way, rate)));
    rows.filter_map(|(gpu, way, rate)| Some((with(of_hardware(gpu), "network_io_direction", way), rate?))).collect()
}

fn errors(gpus: &[Reading]) -> Vec<(Vec<Label>, f64)> {
    let kinds = |gpu: &Reading| {
        [("corrected", float(gpu.slow.ecc_corrected)), ("uncorrected", float(gpu.slow.ecc_uncorrected))]
    };
    let rows = gpus.iter().flat_map(|gpu| kinds(gpu).map(|(kind, count)| (gpu, kind, count)));
    rows.filter_map(|(gpu, kind, count)| Some((with(of_hardware(gpu), "error_type", kind), count?))).collect()
}

fn throttled(gpus: &[Reading]) -> Vec<(Vec<Label>, f64)> {
    let of_one = |(gpu, bits): (&Reading, u64)| {
        THROTTLE_REASONS.map(|(bit, reason)| (with(of_triton(gpu), "reason", reason), f64::from(bits & bit != 0)))
    };
    gpus.iter().filter_map(|gpu| Some((gpu, gpu.now.throttle_bits?))).flat_map(of_one).collect()
}

fn processes(gpus: &[Reading]) -> Vec<(Vec<Label>, f64)> {
    let of_one = |gpu: &Reading| {
        let held = gpu.slow.processes.iter().filter_map(|process| Some((process.used_bytes?, process.pid)));
        let mut held: Vec<_> = held.collect();
        held.sort_unstable_by(|one, other| other.cmp(one));
        let rows = held.into_iter().take(MOST_PROCESSES);
        rows.map(|(bytes, pid)| (with(of_triton(gpu), "pid", pid.to_string()), bytes as f64)).collect::<Vec<_>>()
    };
    gpus.iter().flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::gpu::monitor::reading::{Device, Now, Process, Slow};

    #[derive(Debug)]
    struct Fixed(Vec<Reading>);

    impl Collector for Fixed {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
            encode(&mut encoder, "replay", &self.0)
        }
    }

    fn exposition(gpus: Vec<Reading>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Fixed(gpus)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn whole() -> Reading {
        Reading {
            device: Device {
                uuid: "GPU-1".to_owned(),
                index: 3,
                name: "H".to_owned(),
                pci_bus_id: Some("00:1".to_owned()),
                mig_instance: None,
            },
            now: Now {
                utilization: Some(0.25),
                memory_total_bytes: Some(64 << 20),
                memory_used_bytes: Some(16 << 20),
                memory_reserved_bytes: Some(8 << 20),
                energy_joules: Some(1.5),
                throttle_bits: Some(0x4),
                ..Now::default()
            },
            slow: Slow {
                pcie_sent_bytes_per_s: Some(2e6),
                ecc_uncorrected: Some(2),
                processes: (1..=20).map(|pid| Process { pid, used_bytes: Some(u64::from(pid)) }).collect(),
                ..Slow::default()
            },
        }
    }

    #[test]
    fn three_vocabularies_say_the_same() {
        let text = exposition(vec![whole()]);
        let dcgm = r#"{gpu="3",UUID="GPU-1",device="nvidia3",modelName="H",pci_bus_id="00:1"}"#;
        let hardware = r#"hw_id="GPU-1",hw_name="H",hw_type="gpu""#;
        for line in [
            r#"proofload_gpu_source{source="replay"} 1.0"#.to_owned(),
            r#"nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25"#.to_owned(),
            r#"nv_energy_consumption{gpu_uuid="GPU-1"} 1.5"#.to_owned(),
            format!("DCGM_FI_DEV_GPU_UTIL{dcgm} 25.0"),
            format!("DCGM_FI_DEV_FB_USED{dcgm} 16.0"),
            format!("DCGM_FI_DEV_FB_FREE{dcgm} 40.0"),
            format!("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{dcgm} 1500.0"),
            format!("DCGM_FI_DEV_PCIE_TX_THROUGHPUT{dcgm} 2000.0"),
            format!("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{dcgm} 2.0"),
            format!("hw_gpu_utilization_ratio{{{hardware}}} 0.25"),
            format!("hw_gpu_memory_utilization_ratio{{{hardware}}} 0.25"),
            format!("hw_energy_joules_total{{{hardware}}} 1.5"),
            format!("hw_errors_total{{{hardware},error_type=\"uncorrected\"}} 2.0"),
            r#"proofload_gpu_throttled{gpu_uuid="GPU-1",reason="power_cap"} 1.0"#.to_owned(),
            r#"proofload_gpu_throttled{gpu_uuid="GPU-1",reason="idle"} 0.0"#.to_owned(),
            r#"proofload_gpu_process_memory_bytes{gpu_uuid="GPU-1",pid="20"} 20.0"#.to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("proofload_gpu_process_memory_bytes{").count(), MOST_PROCESSES);
        assert!(!text.contains("nv_gpu_power_usage"), "what is not reported has no row:\n{text}");
    }

    #[test]
    fn without_devices_there_is_only_the_source() {
        let text = exposition(Vec::new());
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 1, "{text}");
    }
}
