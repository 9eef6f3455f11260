//! What a thread may do to files, kept by the kernel (Landlock) whatever the thread is brought to.
//!
//! The kernel confines threads, not processes, and for good: they and what they start never get anything back. So
//! the threads that meet bytes from outside are confined, each to what it needs; the main thread, which reads
//! configurations anew and starts successors, is not, and neither costs a reload nor an upgrade anything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Builder};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus,
};

use crate::config::{Landlock, LogFile};

/// The rules of a start.
#[derive(Default)]
pub(crate) struct Confinement {
    /// Of those that serve clients, or write metrics: no file but this program's own, for the names in a panic's
    /// backtrace.
    pub workers: Rules,
    /// Of those that look host names up: reading what the system's resolver reads.
    pub names: Rules,
    /// Of the one that writes the log: its file, and a new one in the same folder.
    pub log: Rules,
    /// For people: the kernel's version of it, or why there is none.
    pub state: String,
}

/// What a thread may do; by default what it likes.
#[derive(Clone, Default)]
pub(crate) struct Rules(Option<Arc<RulesetCreated>>);

/// The newest rights that are withheld. Older kernels withhold those of them that they know.
const RIGHTS: ABI = ABI::V5;

/// Read to look a host name up: configuration, which others replace, and the C library's modules.
const RESOLVER_FOLDERS: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/gnu/store",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
];

/// These may be links to elsewhere.
const RESOLVER_FILES: &[&str] = &["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"];

impl Confinement {
    /// The rules for threads to come.
    ///
    /// # Errors
    /// When they are demanded, and this kernel does not keep them.
    pub(crate) fn prepare(wish: Landlock, log: &LogFile) -> Result<Self, String> {
        if wish == Landlock::Off {
            return Ok(Self::none("off".into()));
        }
        match Self::built(log) {
            Ok(confinement) => Ok(confinement),
            Err(why) if wish == Landlock::On => Err(format!("server.landlock: {why}")),
            Err(why) => Ok(Self::none(why)),
        }
    }

    fn none(state: String) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    fn built(log: &LogFile) -> Result<Self, String> {
        let workers = Rules::to(&this_program())?;
        Ok(Self {
            state: workers.tried()?,
            workers,
            names: Rules::to(&of_resolver())?,
            log: Rules::to(&of_log(log))?,
        })
    }
}

/// What may be done below a folder, or to a file.
type Allowed = (PathBuf, BitFlags<AccessFs>);

impl Rules {
    /// What is not `allowed` is forbidden; what is not there is not allowed.
    fn to(allowed: &[Allowed]) -> Result<Self, String> {
        let said = |error: &dyn std::fmt::Display| format!("Landlock: {error}");
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(RIGHTS));
        // Nobody who is confined listens.
        let ruleset = ruleset.and_then(|ruleset| ruleset.handle_access(AccessNet::BindTcp));
        let mut ruleset = ruleset
            .and_then(Ruleset::create)
            .map_err(|error| said(&error))?;
        for (path, access) in allowed {
            let Ok(place) = PathFd::new(path) else {
                continue;
            };
            // A pipe for instance can be no part of rules, and needs none.
            let _ = (&mut ruleset).add_rule(PathBeneath::new(place, *access));
        }
        Ok(Self(Some(Arc::new(ruleset))))
    }

    /// Confines the thread that calls, and all that it starts.
    ///
    /// # Errors
    /// When the kernel does not.
    pub(crate) fn apply(&self) -> io::Result<()> {
        match self.0.as_ref().map(restrict) {
            None => Ok(()),
            Some(restricted) => restricted.map(drop),
        }
    }

    /// Whether there are any.
    #[must_use]
    pub(crate) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Tries them on a thread that ends with that.
    fn tried(&self) -> Result<String, String> {
        let rules = self.0.clone().ok_or("no rules")?;
        let tried = thread::spawn(move || restrict(&rules)).join();
        let status = tried.map_err(|_| "the trial failed")?;
        match status.map_err(|error| error.to_string())?.landlock {
            LandlockStatus::Available {
                kernel_abi: Some(version),
                ..
            } => Ok(format!("ABI {version}")),
            LandlockStatus::Available { effective_abi, .. } => {
                let version = format!("{effective_abi:?}");
                Ok(format!("ABI {}", version.trim_start_matches('V')))
            }
            LandlockStatus::NotEnabled => Err("this kernel was started without Landlock".into()),
            LandlockStatus::NotImplemented => Err("this kernel has no Landlock".into()),
        }
    }
}

fn restrict(rules: &Arc<RulesetCreated>) -> io::Result<RestrictionStatus> {
    let restricted = rules.try_clone()?.restrict_self();
    let status = restricted.map_err(io::Error::other)?;
    match (&status.ruleset, &status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::Available { .. }) => {
            Err(io::Error::other("Landlock is not enforced"))
        }
        _ => Ok(status),
    }
}

/// Starts a thread that is confined before it does anything.
///
/// # Errors
/// When it cannot be started, or not be confined.
pub(crate) fn spawn(
    thread: Builder,
    rules: Rules,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let (told, confined) = sync_channel(1);
    thread.spawn(move || {
        let applied = rules.apply();
        drop(rules);
        let is_confined = applied.is_ok();
        let _ = told.send(applied);
        if is_confined {
            run();
        }
    })?;
    confined.recv().map_err(io::Error::other)?
}

fn this_program() -> Vec<Allowed> {
    let program = std::env::current_exe().ok();
    program
        .map(|path| (path, AccessFs::ReadFile.into()))
        .into_iter()
        .collect()
}

fn of_resolver() -> Vec<Allowed> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let targets = RESOLVER_FILES.iter().filter_map(folder_of_target);
    let folders = RESOLVER_FOLDERS.iter().map(PathBuf::from);
    folders.chain(targets).map(|path| (path, read)).collect()
}

fn of_log(file: &LogFile) -> Vec<Allowed> {
    let LogFile::Path(path) = file else {
        return Vec::new();
    };
    let named = path.parent().map(|folder| match folder.as_os_str() {
        none if none.is_empty() => PathBuf::from("."),
        _ => folder.to_owned(),
    });
    let folders = named.into_iter().chain(folder_of_target(path));
    let allowed = folders.map(|folder| {
        let real = folder.canonicalize().unwrap_or_default();
        match ["/dev", "/proc"].iter().any(|top| real.starts_with(top)) {
            // There is no new one in its place, and much beside it that is none of ours.
            true => (path.clone(), AccessFs::WriteFile.into()),
            false => (folder, AccessFs::WriteFile | AccessFs::MakeReg),
        }
    });
    allowed.collect()
}

fn folder_of_target(path: impl AsRef<Path>) -> Option<PathBuf> {
    let target = path.as_ref().canonicalize().ok()?;
    target.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests;
