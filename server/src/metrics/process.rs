//! The process as the kernel sees it, under the names that Prometheus' client libraries agree on.

use std::fmt::Write;
use std::fs;

/// Appends the `process_*` family. What the kernel does not tell is left out.
pub(super) fn append(page: &mut String) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let stat = Stat::parse(&stat);
    let boot = boot_seconds();
    let ticks = real(rustix::param::clock_ticks_per_second());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let family = [
        (
            "cpu_seconds_total",
            "counter",
            "CPU time used, in seconds.",
            stat.map(|stat| stat.cpu_ticks / ticks),
        ),
        (
            "start_time_seconds",
            "gauge",
            "When it began, in seconds since 1970.",
            boot.zip(stat).map(|(boot, stat)| boot + stat.start_ticks / ticks),
        ),
        ("open_fds", "gauge", "Files and sockets open.", count("/proc/self/fd")),
        ("max_fds", "gauge", "Files and sockets that may be open.", limit.map(real)),
        ("threads", "gauge", "Threads.", count("/proc/self/task")),
        ("virtual_memory_bytes", "gauge", "Address space.", stat.map(|stat| stat.virtual_bytes)),
        (
            "resident_memory_bytes",
            "gauge",
            "Memory in use.",
            stat.map(|stat| stat.resident_pages * real(rustix::param::page_size() as u64)),
        ),
    ];
    for (name, kind, help, value) in family {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(page, "# HELP process_{name} {help}\n# TYPE process_{name} {kind}\n");
            let _ = writeln!(page, "process_{name} {value}\n");
        }
    }
}

/// What is of use in `/proc/self/stat`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    /// The program's name stands in parentheses, and may hold anything: numbers begin behind the last.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // The first field here is the third of the manual's.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine began, in seconds since 1970.
fn boot_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn count(dir: &str) -> Option<f64> {
    Some(real(fs::read_dir(dir).ok()?.count() as u64))
}

#[allow(clippy::cast_precision_loss)] // Prometheus knows nothing else.
fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_no_numbers() {
        let numbers: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = Stat::parse(&format!("1 (a) b (c)) {}", numbers.join(" ")));
        let expected = Stat { cpu_ticks: 29.0, start_ticks: 22.0, virtual_bytes: 23.0, resident_pages: 24.0 };
        assert_eq!(stat, Some(expected));
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_begun_and_uses_memory() {
        let mut page = String::new();
        append(&mut page);
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_start_time_seconds") > 1e9);
        assert!(value("process_open_fds") >= 3.0 && value("process_threads") >= 1.0);
        assert!(value("process_max_fds") > value("process_open_fds"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
