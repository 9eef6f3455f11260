//! What the system says of this process, for the `process_*` metrics.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{RawDir, SeekFrom};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
use rustix::time::{ClockId, clock_gettime};

use crate::observe::Process;

/// Ticks per second of `/proc`'s times: fixed for programs, whatever the kernel runs at.
const TICKS: f64 = 100.0;

/// Looks at this process through files that were opened at its start: who looks later need not be able to.
pub(crate) struct Window {
    status: Option<File>,
    descriptors: Option<File>,
    stat: Option<File>,
    /// Worked out once, for the clocks that it is worked out from drift; and not before somebody asks.
    start_seconds: OnceLock<Option<f64>>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            status: File::open("/proc/self/status").ok(),
            descriptors: File::open("/proc/self/fd").ok(),
            stat: File::open("/proc/self/stat").ok(),
            start_seconds: OnceLock::new(),
        }
    }
}

/// More than `/proc/self/status` and `stat` ever have.
const STATUS_BYTES: usize = 8192;

impl Window {
    /// Looks; some system calls on memory of the kernel's, and none that waits.
    #[must_use]
    pub(crate) fn look(&self) -> Process {
        let status = whole(self.status.as_ref()).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Process {
            open_fds: self.open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
            resident_bytes: field("VmRSS:").map(|kib| kib * 1024),
            virtual_bytes: field("VmSize:").map(|kib| kib * 1024),
            cpu_seconds: Some(seconds(ClockId::ProcessCPUTime)),
            start_seconds: *self.start_seconds.get_or_init(|| self.start()),
            threads: field("Threads:"),
        }
    }

    fn start(&self) -> Option<f64> {
        let stat = whole(self.stat.as_ref())?;
        // The second field is the name, in brackets and with whatever is in it; this is the 22nd.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
        let age = seconds(ClockId::Boottime) - ticks / TICKS;
        Some(((seconds(ClockId::Realtime) - age) * TICKS).round() / TICKS)
    }

    /// The folder's size is their number since Linux 6.2; before, they have to be counted.
    fn open_fds(&self) -> Option<u64> {
        let folder = self.descriptors.as_ref()?;
        match folder.metadata().ok()?.len() {
            0 => entries(folder),
            count => Some(count),
        }
    }
}

/// Counts what is in a folder that is open already.
fn entries(folder: &File) -> Option<u64> {
    rustix::fs::seek(folder, SeekFrom::Start(0)).ok()?;
    let mut room = Vec::with_capacity(STATUS_BYTES);
    let mut entries = RawDir::new(folder, room.spare_capacity_mut());
    let mut count: u64 = 0;
    while let Some(entry) = entries.next() {
        let name = entry.ok()?.file_name().to_bytes().to_owned();
        count += u64::from(name != b"." && name != b"..");
    }
    Some(count)
}

/// What such a file says now: it is made anew, and whole, for a read from its beginning.
fn whole(file: Option<&File>) -> Option<String> {
    let mut text = vec![0; STATUS_BYTES];
    let len = file?.read_at(&mut text, 0).ok()?;
    text.truncate(len);
    String::from_utf8(text).ok()
}

/// Keeps memory, which holds keys, from debuggers and core dumps, unless it is `dumpable`: only root then looks at
/// it.
pub(crate) fn set_dumpable(dumpable: bool) {
    let behavior = match dumpable {
        true => DumpableBehavior::Dumpable,
        false => DumpableBehavior::NotDumpable,
    };
    // It cannot be refused.
    let _ = set_dumpable_behavior(behavior);
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
        let window = Window::default();
        let process = window.look();
        let counted = entries(window.descriptors.as_ref().unwrap()).unwrap();
        assert!(counted >= 3, "{counted}");
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
