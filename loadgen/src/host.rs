//! What this machine is, and how many connections it allows.

use std::fs;

use proofload_run::manifest::{ConnectionBound, Gpu, Host};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process needs besides connections: its own, the journal, scrapes.
const OTHER_FILES: u64 = 256;

/// Describes the machine. What cannot be found out stays empty.
pub fn probe() -> Host {
    let uname = rustix::system::uname();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Host {
        name: uname.nodename().to_string_lossy().into_owned(),
        os: format!(
            "{}{} {}",
            pretty_name(&release).map(|name| format!("{name}, ")).unwrap_or_default(),
            uname.sysname().to_string_lossy(),
            uname.release().to_string_lossy()
        ),
        cpu: cpu_model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        cores: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        memory_bytes: memory_bytes(&memory),
        gpus: gpus(),
    }
}

fn pretty_name(os_release: &str) -> Option<String> {
    os_release.lines().find_map(|line| Some(line.strip_prefix("PRETTY_NAME=")?.trim_matches('"').to_owned()))
}

fn cpu_model(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_ascii_whitespace().next());
    total.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The GPUs that NVML knows; none without a driver.
fn gpus() -> Vec<Gpu> {
    let Ok(nvml) = nvml_wrapper::Nvml::init() else { return Vec::new() };
    let driver = nvml.sys_driver_version().unwrap_or_default();
    let devices = (0..nvml.device_count().unwrap_or(0)).filter_map(|index| nvml.device_by_index(index).ok());
    devices
        .map(|device| Gpu {
            name: device.name().unwrap_or_default(),
            uuid: device.uuid().unwrap_or_default(),
            memory_bytes: device.memory_info().map_or(0, |memory| memory.total),
            driver: driver.clone(),
        })
        .collect()
}

/// Raises the limit on open files as far as allowed, and says how many connections to one address can then be
/// open at a time, and which of the two bounds it: the limit on files or the number of local ports.
pub fn connection_limit() -> (u32, ConnectionBound) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    let ports = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    tighter(files, local_ports(&ports))
}

fn tighter(files: u64, ports: u64) -> (u32, ConnectionBound) {
    let bound = if files < ports { ConnectionBound::OpenFiles } else { ConnectionBound::LocalPorts };
    (u32::try_from(files.min(ports).max(1)).unwrap_or(u32::MAX), bound)
}

/// Ports in the range that `ip_local_port_range` states; 28 232, Linux's default, where it states none.
fn local_ports(text: &str) -> u64 {
    let mut bounds = text.split_ascii_whitespace().filter_map(|bound| bound.parse::<u64>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(low), Some(high)) if high > low => high - low + 1,
        _ => 28_232,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian 12\"\n").as_deref(), Some("Debian 12"));
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n"), "Some CPU: 3 GHz");
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2_097_152);
        assert_eq!(local_ports("32768\t60999\n"), 28_232);
        assert_eq!(local_ports(""), 28_232);
        assert_eq!(tighter(768, 28_232), (768, ConnectionBound::OpenFiles));
        assert_eq!(tighter(1_000_000, 28_232), (28_232, ConnectionBound::LocalPorts));
        assert_eq!(tighter(0, 28_232), (1, ConnectionBound::OpenFiles));
    }

    #[test]
    fn this_machine_has_cores_and_memory_and_allows_connections() {
        let host = probe();
        assert!(host.cores >= 1 && host.memory_bytes > 1 << 20, "{host:?}");
        assert!(connection_limit().0 >= 100);
    }
}
