//! What the system says of this process, for the `process_*` metrics.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::observe::Process;

/// Ticks per second of `/proc`'s times: fixed for programs, whatever the kernel runs at.
const TICKS: f64 = 100.0;

/// Looks; some system calls on memory of the kernel's, and none that waits.
#[must_use]
pub fn look() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Process {
        open_fds: open_fds(),
        max_fds: getrlimit(Resource::Nofile).current,
        resident_bytes: field("VmRSS:").map(|kib| kib * 1024),
        virtual_bytes: field("VmSize:").map(|kib| kib * 1024),
        cpu_seconds: Some(seconds(ClockId::ProcessCPUTime)),
        start_seconds: start(),
        threads: field("Threads:"),
    }
}

/// The folder's size is their number since Linux 6.2; before, they have to be counted.
fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => u64::try_from(fs::read_dir(folder).ok()?.count()).ok(),
        count => Some(count),
    }
}

/// Worked out once, for the clocks that it is worked out from drift.
fn start() -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(|| {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the name, in brackets and with whatever is in it; this is the 22nd.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
        let age = seconds(ClockId::Boottime) - ticks / TICKS;
        Some(((seconds(ClockId::Realtime) - age) * TICKS).round() / TICKS)
    })
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    let (secs, nanos) = (time.tv_sec.try_into(), time.tv_nsec.try_into());
    Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_had_here() {
        let process = look();
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.cpu_seconds.unwrap() > 0.0);
        assert!(process.threads.unwrap() >= 1);
        let now = seconds(ClockId::Realtime);
        let age = now - process.start_seconds.unwrap();
        assert!((-1.0..86_400.0).contains(&age), "{age}");
    }
}
