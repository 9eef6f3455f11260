//! What confined threads can and cannot do, tried with real files. On a kernel without Landlock: that it says so.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;

/// A folder for a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("sluicegate-confine-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "content").unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The rules of this kernel, unless it has no Landlock, which is said then.
fn confinement(log: &LogFile) -> Option<Confinement> {
    let confinement = Confinement::prepare(Landlock::Auto, log).unwrap();
    if confinement.workers.are_there() {
        assert!(
            confinement.state.starts_with("ABI "),
            "{}",
            confinement.state
        );
        return Some(confinement);
    }
    let refused = Confinement::prepare(Landlock::On, log).err().unwrap();
    assert!(refused.contains("server.landlock"), "{refused}");
    None
}

/// What a thread with these rules gets.
fn confined<T: Send + 'static>(rules: &Rules, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, result) = sync_channel(1);
    let run = move || told.send(run()).unwrap();
    spawn(Builder::new(), rules.clone(), run).unwrap();
    result.recv().unwrap()
}

fn is_denied<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[test]
fn workers_reach_no_file_and_listen_nowhere() {
    let Some(confinement) = confinement(&LogFile::Stderr) else {
        return;
    };
    let folder = Folder::new("workers");
    let (file, unix) = (folder.file("secret"), folder.0.join("socket"));
    let made = folder.0.join("made");
    // Another thread is as free as before.
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    let looked = file.clone();
    let denied = confined(&confinement.workers, move || {
        // What it starts is confined as well.
        let of_child = looked.clone();
        let child = thread::spawn(move || is_denied(fs::read(of_child)));
        let program = std::env::current_exe().unwrap();
        [
            ("read", is_denied(fs::read(&looked))),
            ("write", is_denied(append(&looked))),
            ("make", is_denied(append(&made))),
            ("remove", is_denied(fs::remove_file(&looked))),
            ("list", is_denied(fs::read_dir("/etc"))),
            ("memory", is_denied(File::open("/proc/self/mem"))),
            ("environment", is_denied(File::open("/proc/self/environ"))),
            ("passwords", is_denied(File::open("/etc/passwd"))),
            (
                "run",
                is_denied(std::process::Command::new(&program).spawn()),
            ),
            ("listen", is_denied(UnixListener::bind(&unix))),
            ("thread", child.join().unwrap()),
        ]
    });
    for (what, denied) in denied {
        assert!(denied, "{what}");
    }
    assert!(file.exists());
    // Older kernels know nothing of networks.
    let abi: u32 = confinement
        .state
        .trim_start_matches("ABI ")
        .parse()
        .unwrap();
    let bound = confined(&confinement.workers, || {
        is_denied(TcpListener::bind("127.0.0.1:0"))
    });
    assert_eq!(bound, abi >= 4);
    let program = confined(&confinement.workers, || {
        File::open(std::env::current_exe().unwrap()).map(drop)
    });
    program.unwrap();
}

#[test]
fn the_log_is_opened_anew_where_it_was_and_nowhere_else() {
    let (folder, other) = (Folder::new("log"), Folder::new("elsewhere"));
    let path = folder.0.join("access.log");
    let Some(confinement) = confinement(&LogFile::Path(path.clone())) else {
        return;
    };
    let (neighbour, elsewhere) = (folder.file("neighbour"), other.file("file"));
    confined(&confinement.log, move || {
        for _ in 0..2 {
            append(&path).unwrap();
            fs::rename(&path, path.with_extension("1")).unwrap_err();
        }
        assert!(is_denied(fs::read(&neighbour)), "reads beside the log");
        assert!(is_denied(append(&elsewhere)), "writes elsewhere");
        assert!(is_denied(fs::read("/etc/passwd")), "reads elsewhere");
    });
}

#[test]
fn a_log_behind_a_link_and_one_that_is_a_device_can_be_opened_anew() {
    let (folder, other) = (Folder::new("link"), Folder::new("target"));
    let link = folder.0.join("access.log");
    std::os::unix::fs::symlink(other.file("real.log"), &link).unwrap();
    if let Some(confinement) = confinement(&LogFile::Path(link.clone())) {
        confined(&confinement.log, move || append(&link)).unwrap();
    }
    let device = PathBuf::from("/dev/null");
    if let Some(confinement) = confinement(&LogFile::Path(device.clone())) {
        confined(&confinement.log, move || {
            append(&device).unwrap();
            assert!(is_denied(append(Path::new("/dev/zero"))));
        });
    }
}

#[test]
fn names_are_looked_up_and_nothing_is_written() {
    let Some(confinement) = confinement(&LogFile::Stderr) else {
        return;
    };
    let folder = Folder::new("names");
    let file = folder.file("file");
    let found = confined(&confinement.names, move || {
        assert!(is_denied(fs::read(&file)) && is_denied(append(&file)));
        assert!(is_denied(File::open("/proc/self/environ")));
        #[expect(clippy::disallowed_methods, reason = "a test may block")]
        std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).map(Iterator::count)
    });
    assert!(found.unwrap() > 0);
}

/// The kernel stacks 16 of them and no more.
#[test]
fn where_it_cannot_be_had_it_is_said_and_refused_if_it_was_demanded() {
    let Some(confinement) = confinement(&LogFile::Stderr) else {
        return;
    };
    confined(&Rules::default(), move || {
        assert!((0..17).any(|_| confinement.workers.apply().is_err()));
        let refused = Confinement::prepare(Landlock::On, &LogFile::Stderr);
        let refused = refused.err().unwrap();
        assert!(refused.starts_with("server.landlock: "), "{refused}");
        let without = Confinement::prepare(Landlock::Auto, &LogFile::Stderr).unwrap();
        assert!(!without.workers.are_there() && !without.state.starts_with("ABI"));
        let started = spawn(Builder::new(), confinement.workers.clone(), || {});
        assert!(started.is_err());
    });
}

#[test]
fn without_rules_nothing_is_confined() {
    let confinement = Confinement::prepare(Landlock::Off, &LogFile::Stderr).unwrap();
    assert_eq!(confinement.state, "off");
    assert!(!confinement.workers.are_there());
    confined(&confinement.workers, || fs::read("/etc/passwd")).unwrap();
}
