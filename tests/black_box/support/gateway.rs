//! The program under test, on a port of its own, with a clean environment.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{GATEWAY_KEY, PATIENCE, PROVIDER_KEY, Upstream};

/// How the program is started.
pub struct Setup {
    env: Vec<(String, String)>,
    toml: Option<String>,
    args: Vec<String>,
    dir: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let dir = scratch_dir();
        let mut setup = Self {
            env: Vec::new(),
            toml: None,
            args: Vec::new(),
            dir,
        };
        setup.env("SLUICEGATE_LISTEN", "127.0.0.1:0");
        setup.env("SLUICEGATE_WORKERS", "1");
        setup.env("LOG_FORMAT", "json");
        setup.env("GOMODEL_MASTER_KEY", GATEWAY_KEY);
        if let Ok(driver) = std::env::var("SLUICEGATE_TEST_DRIVER") {
            setup.env("SLUICEGATE_DRIVER", &driver);
        }
        setup
    }

    /// Sets a variable; an empty value unsets it.
    pub fn env(&mut self, key: &str, value: &str) -> &mut Self {
        self.env.retain(|(other, _)| other != key);
        if !value.is_empty() {
            self.env.push((key.to_owned(), value.to_owned()));
        }
        self
    }

    /// The configuration file's content.
    pub fn toml(&mut self, content: &str) -> &mut Self {
        self.toml = Some(content.to_owned());
        self
    }

    /// An argument of the command line.
    pub fn arg(&mut self, arg: &str) -> &mut Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A provider type (`ANTHROPIC`, `OPENAI`, `OPENAI_EAST` …) that is this upstream, below `/v1`.
    pub fn provider(&mut self, prefix: &str, upstream: &Upstream) -> &mut Self {
        self.env(&format!("{prefix}_BASE_URL"), &upstream.url("/v1"));
        self.env(&format!("{prefix}_API_KEY"), PROVIDER_KEY);
        if upstream.is_tls() {
            let ca = super::tls::authority_file();
            self.env("SSL_CERT_FILE", &ca.display().to_string());
        }
        self
    }

    /// TLS towards clients.
    pub fn tls(&mut self) -> &mut Self {
        let (cert, key) = super::tls::server_files();
        self.env("SLUICEGATE_TLS_CERT", &cert.display().to_string());
        self.env("SLUICEGATE_TLS_KEY", &key.display().to_string())
    }

    /// The working directory, where files can be put before the start.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command
            .env_clear()
            .current_dir(&self.dir)
            .envs(self.env.iter().cloned());
        if let Some(toml) = &self.toml {
            std::fs::write(self.dir.join("sluicegate.toml"), toml).unwrap();
        }
        command.args(&self.args).stdin(Stdio::null());
        command
    }
}

/// A folder of this test's own; removed with the gateway.
pub fn scratch_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("sluicegate-test-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A running gateway. Dropping it ends it and looks for secrets in what it printed.
pub struct Gateway {
    child: Child,
    /// Where it listens (the first address).
    pub addr: SocketAddr,
    output: Arc<Mutex<String>>,
    lines: Mutex<Receiver<String>>,
    dir: PathBuf,
    secrets: Vec<String>,
    ended: bool,
}

impl Gateway {
    /// Starts the program and waits until it listens.
    pub fn start(configure: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::new();
        configure(&mut setup);
        let mut command = setup.command();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let err = child.stderr.take().unwrap();
        let out = child.stdout.take().unwrap();
        for stream in [Box::new(err) as Box<dyn Read + Send>, Box::new(out)] {
            let (output, sender) = (output.clone(), sender.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    output.lock().unwrap().push_str(&format!("{line}\n"));
                    let _ = sender.send(line);
                }
            });
        }
        let secrets = setup.env.iter().filter(|(key, _)| key.ends_with("_KEY"));
        let mut gateway = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            output,
            lines: Mutex::new(lines),
            secrets: secrets
                .map(|(_, value)| value.clone())
                .filter(|v| !v.starts_with('/'))
                .collect(),
            dir: setup.dir,
            ended: false,
        };
        let line = gateway.wait_for_line("\"message\":\"listening\"");
        if let Some(addr) = field(&line, "addr").and_then(|addr| addr.parse().ok()) {
            gateway.addr = addr;
        }
        gateway
    }

    /// One gateway in front of one upstream, as type anthropic.
    pub fn before(upstream: &Upstream) -> Self {
        Self::start(|setup| {
            setup.provider("ANTHROPIC", upstream);
        })
    }

    /// Runs the program to its end: exit status and everything it printed.
    pub fn run(configure: impl FnOnce(&mut Setup)) -> (ExitStatus, String) {
        let mut setup = Setup::new();
        configure(&mut setup);
        let out = setup.command().output().expect("the program starts");
        let _ = std::fs::remove_dir_all(&setup.dir);
        let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&out.stderr));
        (out.status, text)
    }

    /// The next line of output that holds `part`; lines before it are passed over.
    pub fn wait_for_line(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let lines = self.lines.lock().unwrap();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(_) => panic!(
                    "no line with {part:?}; output:\n{}",
                    self.output.lock().unwrap()
                ),
            }
        }
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that it runs in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sends a signal, `TERM` for instance.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.ended = true;
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the program does not end; output:\n{}", self.output());
    }

    /// A figure of `/proc/PID/status` in KiB.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let died = !self.ended && self.child.try_wait().ok().flatten().is_some();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
        if std::thread::panicking() {
            eprintln!("gateway's output:\n{}", self.output());
            return;
        }
        let output = self.output();
        assert!(!died, "the program died:\n{output}");
        assert!(!output.contains("panicked"), "a task panicked:\n{output}");
        for secret in &self.secrets {
            assert!(!output.contains(secret), "a secret was printed:\n{output}");
        }
    }
}

/// A string field of a JSON log line.
pub fn field(line: &str, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(value.get(name)?.as_str()?.to_owned())
}
