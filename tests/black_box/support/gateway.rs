//! Starts the program, talks to it in signals, and looks at what it wrote when it ends.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;

use super::company;
use super::tls::{self, pki};
use super::upstream::{Scripted, Upstream};
use super::wire::{PATIENCE, Wire};

/// The program: the one built with the tests, unless another one is named.
fn program() -> OsString {
    let named = std::env::var_os("SLUICEGATE_TEST_BIN");
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_sluicegate").into())
}

/// The gateway key of every test that does not say otherwise.
pub(crate) const KEY: &str = "gk-test";

/// How the program shall be started.
pub(crate) struct Setup {
    dir: PathBuf,
    env: Vec<(String, OsString)>,
    args: Vec<String>,
    secrets: Vec<String>,
}

/// Has the program see the setup's `etc` in the place of the machine's.
const WITH_HOSTS: &str = "exec unshare -rm /bin/sh -c \
     'mount --bind etc /etc && exec \"$0\" \"$@\"' \"$0\" \"$@\"";

impl Setup {
    /// On loopback, one worker, JSON logs, the test authority trusted, the gateway key set.
    pub(crate) fn new() -> Self {
        let setup = Self::bare()
            .env("SLUICEGATE_LISTEN", "127.0.0.1:0")
            .env("SLUICEGATE_WORKERS", "1")
            .env("LOG_FORMAT", "json")
            // A connection that no test asked for would come in between.
            .env("SLUICEGATE_WARM", "0")
            .env("GOMODEL_MASTER_KEY", KEY)
            .file("ca.pem", &pki().ca)
            .env("SSL_CERT_FILE", "ca.pem");
        // Tests count its descriptors, which nobody but root sees otherwise.
        let setup = match rustix::process::geteuid().is_root() {
            true => setup,
            false => setup.env("SLUICEGATE_DUMPABLE", "true"),
        };
        match std::env::var("SLUICEGATE_TEST_DRIVER") {
            Ok(driver) => setup.env("SLUICEGATE_DRIVER", &driver),
            Err(_) => setup,
        }
    }

    /// In an empty directory, with an empty environment.
    pub(crate) fn bare() -> Self {
        company::join();
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("black-box-{}-{count}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).unwrap();
        Self {
            dir,
            env: Vec::new(),
            args: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Sets an environment variable; a key's value must never be seen in the output.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        if name.ends_with("_KEY") && !name.ends_with("TLS_KEY") {
            self.secrets.push(value.to_owned());
        }
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// As [`env`](Self::env), with a value that need not be text.
    pub(crate) fn env_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.env.retain(|(n, _)| n != name);
        let value = OsStr::from_bytes(value).to_owned();
        self.env.push((name.to_owned(), value));
        self
    }

    /// An environment variable that was set before.
    pub(crate) fn var(&self, name: &str) -> String {
        let found = self.env.iter().find(|(n, _)| n == name);
        found.unwrap().1.to_str().unwrap().to_owned()
    }

    /// Takes an environment variable away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.retain(|(n, _)| n != name);
        self
    }

    /// An argument of the command line.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A file in the working directory.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.dir.join(name), content).unwrap();
        self
    }

    /// `sluicegate.toml` in the working directory.
    pub(crate) fn toml(self, content: &str) -> Self {
        self.file("sluicegate.toml", content)
    }

    /// Something else that must never be seen in the output.
    pub(crate) fn secret(mut self, value: &str) -> Self {
        self.secrets.push(value.to_owned());
        self
    }

    /// `anthropic` and `openai` at this base URL, with the keys `sk-anthropic` and `sk-openai`.
    pub(crate) fn base(self, url: &str) -> Self {
        self.env("ANTHROPIC_BASE_URL", url)
            .env("ANTHROPIC_API_KEY", "sk-anthropic")
            .env("OPENAI_BASE_URL", url)
            .env("OPENAI_API_KEY", "sk-openai")
    }

    /// `localhost`'s certificate towards clients.
    pub(crate) fn tls(self) -> Self {
        self.file("cert.pem", &pki().server.cert)
            .file("key.pem", &pki().server.key)
            .env("SLUICEGATE_TLS_CERT", "cert.pem")
            .env("SLUICEGATE_TLS_KEY", "key.pem")
    }

    /// The working directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn spawn(&self) -> Child {
        self.spawn_by(Command::new(program()), Stdio::null())
    }

    /// `command` runs the program with the arguments that follow.
    fn spawn_by(&self, mut command: Command, stdin: Stdio) -> Child {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.prepare(&mut command, &args);
        command.stdin(stdin).spawn().unwrap()
    }

    /// The program with other arguments, in the same directory and environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.prepare(&mut command, args);
        command.stdin(Stdio::null());
        command
    }

    /// As [`command`](Self::command), through a shell script, whose `$0` and arguments are the program and these.
    pub(crate) fn command_by(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(program());
        self.prepare(&mut command, args);
        command.stdin(Stdio::null());
        command
    }

    fn prepare(&self, command: &mut Command, args: &[&str]) {
        // What a sanitizer in the program is told is for the program.
        let sanitizer = std::env::var_os("ASAN_OPTIONS").map(|options| ("ASAN_OPTIONS", options));
        command
            .args(args)
            .env_clear()
            .envs(sanitizer)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(self) -> Gateway {
        let child = self.spawn();
        self.started(child)
    }

    /// Starts it as a service manager does that has opened this socket for it.
    pub(crate) fn start_with_socket(self, socket: OwnedFd) -> Gateway {
        let child = self.spawn_activated(socket);
        self.started(child)
    }

    fn spawn_activated(&self, socket: OwnedFd) -> Child {
        let mut command = Command::new("/bin/sh");
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null";
        command.args(["-c", script]).arg(program());
        self.spawn_by(command, socket.into())
    }

    /// Starts it with this file mode creation mask.
    pub(crate) fn start_with_umask(self, umask: &str) -> Gateway {
        let mut command = Command::new("/bin/sh");
        let script = format!("umask {umask} && exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(program());
        let child = self.spawn_by(command, Stdio::null());
        self.started(child)
    }

    /// Runs it with so few descriptors that it has to end by itself.
    pub(crate) fn run_with_descriptors(self, count: usize) -> Finished {
        let mut command = Command::new("/bin/sh");
        let script = format!("ulimit -n {count} && exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(program());
        let child = self.spawn_by(command, Stdio::null());
        self.finished(child)
    }

    fn started(self, mut child: Child) -> Gateway {
        let output = Arc::new(Output::default());
        let stdout = output.collect(child.stdout.take().unwrap());
        let stderr = output.collect(child.stderr.take().unwrap());
        let mut gateway = Gateway {
            child,
            output,
            readers: vec![stdout, stderr],
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            setup: self,
            over: false,
            successors: Mutex::default(),
        };
        gateway.addr = gateway.wait_listening();
        gateway
    }

    /// Starts it where host names are what [`Setup::hosts`] and [`Gateway::hosts`] say, and nobody else is asked.
    pub(crate) fn start_with_hosts(self) -> Gateway {
        self.with_hosts().start_by(WITH_HOSTS)
    }

    /// Runs it with these arguments where host names are so; exit code and standard output.
    pub(crate) fn run_with_hosts(self, args: &[&str]) -> (Option<i32>, String) {
        let setup = self.with_hosts();
        let output = setup.command_by(WITH_HOSTS, args).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), stdout)
    }

    fn with_hosts(self) -> Self {
        self.file("etc/nsswitch.conf", "hosts: files\n")
            .file("etc/host.conf", "multi on\n")
    }

    /// Host names at first; see [`start_with_hosts`](Self::start_with_hosts).
    pub(crate) fn hosts(self, lines: &str) -> Self {
        fs::create_dir_all(self.dir.join("etc")).unwrap();
        self.file("etc/hosts", lines)
    }

    /// Starts it through a shell script, whose `$0` and arguments are the program and its own.
    pub(crate) fn start_by(self, script: &str) -> Gateway {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(program());
        let child = self.spawn_by(command, Stdio::null());
        self.started(child)
    }

    /// Runs it to its end, which has to come by itself.
    pub(crate) fn run(self) -> Finished {
        let child = self.spawn();
        self.finished(child)
    }

    /// As [`start_with_socket`](Self::start_with_socket), to its end.
    pub(crate) fn run_with_socket(self, socket: OwnedFd) -> Finished {
        let child = self.spawn_activated(socket);
        self.finished(child)
    }

    fn finished(self, mut child: Child) -> Finished {
        let (stdout, stderr) = (Arc::new(Output::default()), Arc::new(Output::default()));
        let out = stdout.collect(child.stdout.take().unwrap());
        let err = stderr.collect(child.stderr.take().unwrap());
        let ended = stderr.wait(|lines| lines.ended.then_some(()));
        if ended.is_none() {
            let _ = child.kill();
        }
        let _ = (out.join(), err.join());
        let code = child.wait().unwrap().code();
        let finished = Finished {
            code,
            stdout: stdout.text(),
            stderr: stderr.text(),
        };
        assert!(
            ended.is_some(),
            "it did not end by itself: {}",
            finished.all()
        );
        self.check_secrets(&finished.all());
        finished
    }

    fn check_secrets(&self, text: &str) {
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            assert!(
                !text.contains(secret.as_str()),
                "a secret in the output: {text}"
            );
        }
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Output {
    fn collect(self: &Arc<Self>, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                output.lines.lock().unwrap().lines.push(line);
                output.more.notify_all();
            }
            output.lines.lock().unwrap().ended = true;
            output.more.notify_all();
        })
    }

    fn wait<T>(&self, mut found: impl FnMut(&Lines) -> Option<T>) -> Option<T> {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(found) = found(&lines) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().lines.join("\n")
    }
}

/// The running program; killed when dropped, which also asserts that it was alive and kept its secrets.
pub(crate) struct Gateway {
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    addr: SocketAddr,
    setup: Setup,
    over: bool,
    successors: Mutex<Vec<Pid>>,
}

impl Gateway {
    /// In front of a provider that the test plays; base path `/v1`.
    pub(crate) fn before(upstream: &Upstream) -> Self {
        Setup::new().base(&format!("{}/v1", upstream.url())).start()
    }

    /// In front of a provider that answers by itself; base path `/v1`.
    pub(crate) fn before_scripted(upstream: &Scripted) -> Self {
        Setup::new().base(&format!("{}/v1", upstream.url())).start()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.addr)
    }

    /// A new TLS connection.
    pub(crate) fn connect_tls(&self, config: &Arc<ClientConfig>) -> Wire {
        Wire::connect_tls(self.addr, tls::client(config))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Everything it wrote.
    pub(crate) fn log(&self) -> String {
        self.output.text()
    }

    /// Host names from now on; see [`Setup::start_with_hosts`].
    pub(crate) fn hosts(&self, lines: &str) {
        let dir = self.setup.dir.join("etc");
        fs::write(dir.join("next"), lines).unwrap();
        fs::rename(dir.join("next"), dir.join("hosts")).unwrap();
    }

    /// Waits for a line of its output.
    #[track_caller]
    pub(crate) fn wait_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = self
            .output
            .wait(|lines| lines.lines.iter().find(|line| wanted(line)).cloned());
        found.unwrap_or_else(|| panic!("no such line in {}", self.log()))
    }

    /// Has it read its configuration anew, and waits until that is in force.
    #[track_caller]
    pub(crate) fn reload(&self) {
        let done = |lines: &Lines| {
            let said = |line: &&String| line.contains("configuration reloaded");
            lines.lines.iter().filter(said).count()
        };
        let before = done(&self.output.lines.lock().unwrap());
        self.signal(Signal::HUP);
        let reloaded = { &self.output }.wait(|lines| (done(lines) > before).then_some(()));
        assert!(reloaded.is_some(), "no reload: {}", self.log());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let ended = self.output.wait(|lines| lines.ended.then_some(()));
        assert!(ended.is_some(), "it goes on: {}", self.log());
        self.over = true;
        self.child.wait().unwrap().code()
    }

    /// Waits until its `nth` successor accepts.
    #[track_caller]
    pub(crate) fn successor(&self, nth: usize) -> Pid {
        let accepts = |line: &&String| line.contains("the successor accepts");
        let line = self.output.wait(|lines| {
            let mut lines = lines.lines.iter().filter(accepts);
            lines.nth(nth).cloned()
        });
        let line = line.unwrap_or_else(|| panic!("no successor: {}", self.log()));
        self.succeeded_by(&line)
    }

    /// Its successor, of which this line tells; killed with the gateway.
    pub(crate) fn succeeded_by(&self, line: &str) -> Pid {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let pid = line["successor"].as_i64().unwrap();
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        self.successors.lock().unwrap().push(pid);
        pid
    }

    /// Waits for the end that a test makes for it.
    pub(crate) fn wait_status(&mut self) -> std::process::ExitStatus {
        self.over = true;
        self.child.wait().unwrap()
    }

    /// Waits until the first process has ended, while its successor goes on; its exit code.
    pub(crate) fn wait_succeeded(&mut self) -> Option<i32> {
        self.over = true;
        self.child.wait().unwrap().code()
    }

    /// The most memory it ever had resident, in KiB.
    pub(crate) fn resident_peak_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory it has resident now, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The descriptors that it has open: number and what stands behind it.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let links = entries.filter_map(|entry| {
            let path = entry.unwrap().path();
            // One that was closed meanwhile has no link any more.
            let behind = fs::read_link(&path).ok()?;
            let number = path.file_name()?.to_string_lossy().into_owned();
            Some(format!("{number} {}", behind.display()))
        });
        links.collect()
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait_listening(&self) -> SocketAddr {
        let addr = self.output.wait(|lines| {
            let line = lines.lines.iter().find_map(|line| listening(line));
            line.map(Ok).or_else(|| lines.ended.then_some(Err(())))
        });
        match addr {
            Some(Ok(addr)) => addr,
            _ => panic!("it does not listen: {}", self.log()),
        }
    }

    /// Takes the lines that it has written since the last call.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.output.lines.lock().unwrap().lines)
    }
}

/// The address in a line that announces one.
fn listening(line: &str) -> Option<SocketAddr> {
    if !line.contains("listening") {
        return None;
    }
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(line) if line["message"] == "listening" => line["addr"].as_str()?.parse().ok(),
        Ok(_) => None,
        Err(_) => line.rsplit_once("addr=")?.1.split(' ').next()?.parse().ok(),
    }
}

/// Lines of the log that a failed test shows.
const LOG_LINES_SHOWN: usize = 20;

impl Drop for Gateway {
    fn drop(&mut self) {
        let alive = self.over || self.child.try_wait().unwrap().is_none();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for successor in self.successors.lock().unwrap().drain(..) {
            let _ = kill_process(successor, Signal::KILL);
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let log = self.log();
        if thread::panicking() {
            // Short, so that what failed stays in sight above it.
            let lines: Vec<&str> = log.lines().collect();
            let earlier = lines.len().saturating_sub(LOG_LINES_SHOWN);
            let last = lines[earlier..].join("\n");
            eprintln!("the program wrote, behind {earlier} lines more:\n{last}");
            return;
        }
        assert!(alive, "the program died: {log}");
        assert!(
            !log.contains("panicked"),
            "a task of the program failed: {log}"
        );
        self.setup.check_secrets(&log);
    }
}
