//! The metrics that every process has (Prometheus, "Writing client libraries"), read from `/proc`, and that of its log.
//! A metric that can't be read is left out.

use std::fs;

use crate::telemetry::families as family;
use crate::telemetry::log;
use crate::telemetry::text::Exposition;

/// Clock ticks per second in `/proc/PID/stat` (`USER_HZ`): 100 on every architecture of servers.
const TICKS: f64 = 100.0;

/// Writes these metrics.
pub(super) fn write(text: &mut Exposition) {
    text.single(&family::LOG_LINES_DROPPED, log::dropped_lines());
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        text.single(&family::CPU_SECONDS, stat.cpu_ticks as f64 / TICKS);
        if let Some(booted) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(booted_at) {
            text.single(&family::START_TIME, booted + stat.start_ticks as f64 / TICKS);
        }
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (family, key) in [(&family::RESIDENT, "VmRSS:"), (&family::VIRTUAL, "VmSize:")] {
        if let Some(bytes) = bytes_of(&status, key) {
            text.single(family, bytes);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is open only for this directory listing.
        text.single(&family::OPEN_FDS, open.count().saturating_sub(1));
    }
    if let Ok((most, _)) = rlimit::Resource::NOFILE.get() {
        text.single(&family::MAX_FDS, most);
    }
}

/// The fields of `/proc/PID/stat` (proc(5)) that are needed.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Stat> {
        // The second field is the command in parentheses and may contain anything, so the third one is after the last
        // `)`.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

/// A line such as `VmRSS:     1234 kB` of `/proc/PID/status`, in octets.
fn bytes_of(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// When the machine started, in Unix seconds: `btime` of `/proc/stat`.
fn booted_at(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_octets() {
        let status = "Name:\tportolan\nVmSize:\t  201 kB\nVmRSS:\t   12 kB\n";
        assert_eq!((bytes_of(status, "VmRSS:"), bytes_of(status, "VmSize:")), (Some(12_288), Some(205_824)));
        assert_eq!(bytes_of(status, "VmPeak:"), None);
    }

    #[test]
    fn the_fields_are_counted_after_the_command_whatever_it_is_called() {
        let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 900 0 0 0 130 20 0 0 20 0 9 0 5555 73400320 2048 \
                    18446744073709551615 1 1";
        assert_eq!(Stat::parse(line), Some(Stat { cpu_ticks: 150, start_ticks: 5555 }));
        assert_eq!(Stat::parse("42 (portolan"), None);
        assert_eq!(booted_at("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000.0));
    }
}
