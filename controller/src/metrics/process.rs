//! The process as the kernel sees it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The process as the kernel sees it, under the names that every Prometheus client library uses. Read from `/proc` at
/// each scrape; what cannot be read there is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = ProcessStats::read();
        let mut add = |name: &str, help: &str, metric: Option<&dyn EncodeMetric>| match metric {
            Some(metric) => metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?),
            None => Ok(()),
        };
        let cpu = stats.cpu_seconds.map(ConstCounter::new);
        add("process_cpu_seconds", "CPU time used, in user and kernel mode.", cpu.as_ref().map(|m| m as _))?;
        let resident = stats.resident_bytes.map(ConstGauge::new);
        add("process_resident_memory_bytes", "Resident memory.", resident.as_ref().map(|m| m as _))?;
        let virtual_memory = stats.virtual_bytes.map(ConstGauge::new);
        add("process_virtual_memory_bytes", "Virtual memory.", virtual_memory.as_ref().map(|m| m as _))?;
        let start = stats.start_time_seconds.map(ConstGauge::new);
        add("process_start_time_seconds", "When the process began, in Unix time.", start.as_ref().map(|m| m as _))?;
        let open = stats.open_fds.map(ConstGauge::new);
        add("process_open_fds", "Open file descriptors.", open.as_ref().map(|m| m as _))?;
        let max = stats.max_fds.map(ConstGauge::new);
        add("process_max_fds", "How many file descriptors may be open.", max.as_ref().map(|m| m as _))
    }
}

#[derive(Debug, Default, PartialEq)]
struct ProcessStats {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<i64>,
    virtual_bytes: Option<i64>,
    start_time_seconds: Option<f64>,
    open_fds: Option<i64>,
    max_fds: Option<i64>,
}

impl ProcessStats {
    fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut stats = Self::parse(
            &file("/proc/self/status"),
            &file("/proc/self/stat"),
            &file("/proc/stat"),
            &file("/proc/self/limits"),
        );
        stats.open_fds = std::fs::read_dir("/proc/self/fd").ok().and_then(|fds| i64::try_from(fds.count()).ok());
        stats
    }

    fn parse(status: &str, stat: &str, system: &str, limits: &str) -> Self {
        // USER_HZ, the unit of times in /proc, is 100 on every Linux that we run on.
        let seconds = |ticks: &str| ticks.parse::<f64>().ok().map(|ticks| ticks / 100.0);
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok().map(|kib| kib * 1024)
        };
        // The second field is the program's name in parentheses and may hold spaces and parentheses; the third follows
        // the last of them, utime and stime are the 14th and 15th, starttime the 22nd.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().and_then(seconds);
        let boot = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, kernel)| user + kernel),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            start_time_seconds: boot.zip(field(22)).map(|(boot, after)| boot + after),
            open_fds: None,
            max_fds: max_fds.and_then(|max| max.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_and_their_absence_is_no_zero() {
        let status = "Name:\tssm-ready\nVmSize:\t  900 kB\nVmRSS:\t   41200 kB\n";
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 900 0 0 0 123 27 0 0 20 0 4 0 2550 1 1";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288  files\n";
        let expected = ProcessStats {
            cpu_seconds: Some(1.5),
            resident_bytes: Some(41_200 * 1024),
            virtual_bytes: Some(900 * 1024),
            start_time_seconds: Some(1_000_025.5),
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(ProcessStats::parse(status, stat, "cpu 1 2\nbtime 1000000\n", limits), expected);
        let unlimited = "Max open files            unlimited            unlimited  files\n";
        assert_eq!(ProcessStats::parse("", "", "", unlimited), ProcessStats::default());
    }
}
