//! `sluicegate providers`: an instance is drained from the command line, over the gateway's socket for commands.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::metrics::wait_metrics;
use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::{
    Gateway, PATIENCE, Scripted, Setup, Upstream, Wire, get, not_tried, response,
};

/// A gateway with a socket for commands, in front of `vllm` at these places.
fn setup(urls: &[String], lines: &str) -> Setup {
    let setup = Setup::new();
    let toml = toml(&setup, urls, lines);
    setup.toml(&toml)
}

fn toml(setup: &Setup, urls: &[String], lines: &str) -> String {
    let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}/v1\"")).collect();
    format!(
        "[server]\ncontrol = \"{}\"\n[metrics]\nenabled = true\n[providers.vllm]\nbase_urls = [{}]\n{lines}\n",
        setup.dir().join("control.sock").display(),
        urls.join(", ")
    )
}

fn socket(gateway: &Gateway) -> PathBuf {
    gateway.setup().dir().join("control.sock")
}

/// What `sluicegate providers` with these words prints, and its exit code.
fn said(gateway: &Gateway, words: &[&str]) -> (Option<i32>, String) {
    let output = gateway.setup().command(&[&["providers"], words].concat());
    let output = { output }.output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(all).unwrap())
}

/// The same where it succeeds.
#[track_caller]
fn done(gateway: &Gateway, words: &[&str]) -> String {
    let (code, text) = said(gateway, words);
    assert_eq!(code, Some(0), "{text}");
    text
}

/// The same where it fails with this.
#[track_caller]
fn fails(gateway: &Gateway, words: &[&str], wanted: &str) {
    let (code, text) = said(gateway, words);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(wanted), "{text}");
}

/// How the instances are.
#[track_caller]
fn listed(gateway: &Gateway) -> Value {
    serde_json::from_str(&done(gateway, &["list", "--json"])).unwrap()
}

/// Which of the instances are drained.
#[track_caller]
fn drained(gateway: &Gateway) -> Vec<bool> {
    let listed = listed(gateway);
    let all = listed["instances"].as_array().unwrap().iter();
    all.map(|one| one["drained"].as_bool().unwrap()).collect()
}

/// A stream that has begun at `upstream`, which closes its connection behind it.
#[track_caller]
fn stream(gateway: &Gateway, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    );
    client.head();
    client.expect("3\r\none\r\n");
    (client, peer)
}

#[track_caller]
fn ends_whole((mut client, mut peer): (Wire, Wire)) {
    peer.send("3\r\nend\r\n0\r\n\r\n");
    client.expect("3\r\nend\r\n0\r\n\r\n");
}

fn named(name: &'static str) -> Scripted {
    Scripted::start(move |wire, _| {
        while wire.try_request().is_ok() {
            if wire.try_send(response("200 OK", &[], name)).is_err() {
                return;
            }
        }
    })
}

#[track_caller]
fn served(client: &mut Wire) -> String {
    client.send(get("/p/vllm/models"));
    let answer = client.response();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text()
}

const FIRST: &str = "balance = \"first\"";

#[test]
fn streams_end_whole_and_new_requests_go_elsewhere() {
    let (one, two) = (Upstream::listen(), named("two"));
    let gateway = setup(&[one.url(), two.url()], FIRST).start();
    let streams = [stream(&gateway, &one), stream(&gateway, &one)];
    let text = done(&gateway, &["drain", "vllm/1"]);
    let place = format!("vllm/1 ({}/v1)", one.url());
    assert!(
        text.contains(&format!("{place} gets nothing new; 2 requests under way")),
        "{text}"
    );
    let line = gateway.wait_log(|line| line.contains("an instance is drained"));
    for part in [
        "\"level\":\"info\"",
        "\"instance\":1",
        "\"under_way\":2",
        &one.url(),
    ] {
        assert!(line.contains(part), "{line}");
    }
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(served(&mut client), "two");
    }
    let of = |name: &str| format!("upstream_instance_{name}{{provider=\"vllm\",instance=\"1\"}}");
    let seen = [
        (&*of("drained"), 1.0),
        (&of("state"), 0.0),
        (&of("requests_in_flight"), 2.0),
    ];
    wait_metrics(&gateway, &seen);
    let top = gateway.setup().command(&[
        "top",
        "--url",
        &format!("http://{}", gateway.addr()),
        "--once",
    ]);
    let top = String::from_utf8({ top }.output().unwrap().stdout).unwrap();
    let row = top
        .lines()
        .find(|line| line.contains("instance 1"))
        .unwrap_or_else(|| panic!("{top}"));
    assert!(row.contains("drained"), "{top}");
    let table = done(&gateway, &["list"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..1], ["vllm/1"], "{table}");
    assert_eq!(row[2..], ["drained", "2", "2", "0"], "{table}");
    streams.into_iter().for_each(ends_whole);
    assert!(!one.has_connection());
    // Where it is drained already, that is said, and nothing else happens.
    assert!(done(&gateway, &["drain", "vllm/1"]).contains("was drained before"));
    assert!(done(&gateway, &["undrain", "vllm/1"]).contains("gets its share again"));
    assert!(done(&gateway, &["undrain", "vllm/1"]).contains("was not drained"));
    gateway.wait_log(|line| line.contains("an instance is not drained any more"));
    ends_whole(stream(&gateway, &one));
}

#[test]
fn one_that_is_not_drained_any_more_starts_slowly() {
    let (one, two) = (named("one"), named("two"));
    let gateway = setup(&[one.url(), two.url()], "").start();
    let place = one.url().replace("http://", "vllm/");
    done(&gateway, &["drain", &place]);
    done(&gateway, &["undrain", &place]);
    assert_eq!(listed(&gateway)["instances"][0]["health"], "comes back");
    let mut client = gateway.connect();
    let first = (0..40).filter(|_| served(&mut client) == "one").count();
    assert!(first < 20, "{first}");
}

/// A command that goes on, and is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.0.wait().unwrap().code();
        let mut text = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        (code, text)
    }
}

#[test]
fn it_can_be_waited_for() {
    let (one, two) = (Upstream::listen(), named("two"));
    let gateway = setup(&[one.url(), two.url()], FIRST).start();
    let held = stream(&gateway, &one);
    fails(
        &gateway,
        &["drain", "vllm/1", "--wait", "0"],
        "1 request under way, after 0 s",
    );
    let words = ["providers", "drain", "vllm/1", "--wait"];
    let waiting = Running(gateway.setup().command(&words).spawn().unwrap());
    assert_eq!(drained(&gateway), [true, false]);
    ends_whole(held);
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("nothing is under way any more\n"), "{text}");
    // No terminal, no progress.
    assert!(!text.contains('\r'), "{text}");
    let held = stream_at_drained(&gateway, &one);
    let mut waiting = Running(gateway.setup().command(&words).spawn().unwrap());
    let mut first = [0; 6];
    waiting
        .0
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    done(&gateway, &["undrain", "vllm/1"]);
    let (code, text) = waiting.end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is not drained any more"), "{text}");
    ends_whole(held);
}

/// A stream at an instance that is let in for it alone.
#[track_caller]
fn stream_at_drained(gateway: &Gateway, upstream: &Upstream) -> (Wire, Wire) {
    done(gateway, &["undrain", "vllm/1"]);
    let begun = stream(gateway, upstream);
    done(gateway, &["drain", "vllm/1"]);
    begun
}

#[test]
fn the_last_one_that_serves_is_drained_by_force_only() {
    let (one, two) = (named("one"), named("two"));
    let gateway = setup(&[one.url(), two.url()], "").start();
    done(&gateway, &["drain", "vllm/2"]);
    fails(
        &gateway,
        &["drain", "vllm/1"],
        "the last instance that serves; --force",
    );
    assert_eq!(served(&mut gateway.connect()), "one");
    done(&gateway, &["drain", "vllm/1", "--force"]);
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let answer = client.response();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("no_instance"), "{}", answer.text());
    gateway.reload();
    gateway.wait_log(|line| line.contains("it serves nobody"));
    done(&gateway, &["undrain", "vllm/2"]);
    assert_eq!(served(&mut gateway.connect()), "two");
}

#[test]
fn what_nobody_is_called_is_refused_with_what_there_is() {
    let setup = Setup::new();
    let toml = format!(
        "[server]\ncontrol = \"{}\"\n[providers.vllm]\nbase_urls = [\"http://127.0.0.1:9/v1\", \
         \"https://127.0.0.1:9/v1\"]\n[providers.openai]\nbase_url = \"http://127.0.0.1:8/v1\"\napi_key = \"sk-lone\"\n",
        setup.dir().join("control.sock").display(),
    );
    let gateway = setup.secret("sk-lone").toml(&toml).start();
    for (name, wanted) in [
        (
            "nobody/1",
            "there is no provider \"nobody\"; there are openai, vllm",
        ),
        (
            "vllm",
            "which instance of vllm? There are vllm/1 (http://127.0.0.1:9/v1), vllm/2 (https:",
        ),
        (
            "vllm/3",
            "there is no instance \"3\" of vllm; there are vllm/1",
        ),
        (
            "vllm/127.0.0.1:9",
            "can be vllm/1 (http://127.0.0.1:9/v1), vllm/2 (https://127.0.0.1:9/v1)",
        ),
        (
            "openai/1",
            "openai has one instance, http://127.0.0.1:8/v1, and all its requests go there",
        ),
    ] {
        fails(&gateway, &["drain", name], wanted);
        fails(&gateway, &["undrain", name], wanted);
    }
    fails(
        &gateway,
        &["drain", "vllm/1\n"],
        "expected a name of printable characters",
    );
    assert_eq!(drained(&gateway), [false, false, false]);
}

#[test]
fn without_a_socket_it_says_how_to_set_one() {
    let upstream = named("one");
    let gateway = Setup::new().base(&format!("{}/v1", upstream.url())).start();
    let (code, text) = said(&gateway, &["list"]);
    assert_eq!(code, Some(2), "{text}");
    for part in [
        "server.control = \"/run/sluicegate/control.sock\"",
        "SLUICEGATE_CONTROL",
        "--control",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let nowhere = gateway.setup().dir().join("none.sock");
    fails(
        &gateway,
        &["list", "--control", nowhere.to_str().unwrap()],
        "no gateway listens there",
    );
    // Somebody else's.
    let listener = UnixListener::bind(&nowhere).unwrap();
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
    });
    fails(
        &gateway,
        &["list", "--control", nowhere.to_str().unwrap()],
        "is no gateway",
    );
    other.join().unwrap();
}

#[test]
fn the_socket_is_private_and_goes_with_the_process() {
    let one = named("one");
    let mut gateway = setup(
        &[one.url(), one.url().replace("127.0.0.1", "localhost")],
        "",
    )
    .start();
    let path = socket(&gateway);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_what_is_somebodys_is_not() {
    let urls = [
        "http://127.0.0.1:8".to_owned(),
        "http://127.0.0.1:9".to_owned(),
    ];
    let stale = setup(&urls, "");
    drop(UnixListener::bind(stale.dir().join("control.sock")).unwrap());
    let gateway = stale.start();
    assert_eq!(drained(&gateway), [false, false]);
    // Another one with the same configuration does not take it away.
    let output = gateway.setup().command(&[]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("server.control: cannot listen on"), "{text}");
    assert_eq!(drained(&gateway), [false, false]);
    let file = setup(&urls, "").file("control.sock", "mine");
    let finished = file.run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("a file that is no socket"),
        "{finished:?}"
    );
    let file = setup(&urls, "")
        .file("control.sock", "mine")
        .arg("check")
        .run();
    assert_eq!(file.code, Some(2), "{file:?}");
    assert!(file.all().contains("server.control"), "{file:?}");
}

#[test]
fn peers_that_say_nothing_much_or_nonsense_matter_to_nobody() {
    let (one, two) = (named("one"), named("two"));
    let gateway = setup(&[one.url(), two.url()], "").start();
    let connect = || UnixStream::connect(socket(&gateway)).unwrap();
    let mut answers = Vec::new();
    for garbage in [
        &b"\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"drain\n",
        b"drain \xff\n",
        &[b'a'; 100_000],
        b"",
    ] {
        // Those before may not have been forgotten yet, which makes too many.
        let answer = loop {
            let mut stream = connect();
            // It may be closed amid what is too long.
            let _ = stream.write_all(garbage);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            if answer != "\"again\"\n" {
                break answer;
            }
        };
        answers.push(answer);
    }
    assert!(
        answers[..4]
            .iter()
            .all(|it| it.contains("does not know that command")),
        "{answers:?}"
    );
    assert!(answers[4..].iter().all(String::is_empty), "{answers:?}");
    // More of them than are listened to at once; clients do not notice, and commands wait until they are given up.
    let silent: Vec<UnixStream> = (0..12).map(|_| connect()).collect();
    let mut client = gateway.connect();
    for _ in 0..50 {
        served(&mut client);
    }
    done(&gateway, &["drain", "vllm/1"]);
    assert_eq!(served(&mut client), "two");
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.is_empty() || answer == "\"again\"\n", "{answer}");
    }
}

/// A folder that every account reaches.
struct Open(PathBuf);

impl Open {
    fn folder() -> Self {
        let name = format!("sluicegate-control-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn another_account_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return not_tried("it takes root to be somebody else");
    }
    let folder = Open::folder();
    let path = folder.0.join("control.sock");
    let (one, two) = (named("one"), named("two"));
    let setup = setup(&[one.url(), two.url()], "");
    let gateway = setup
        .env("SLUICEGATE_CONTROL", path.to_str().unwrap())
        .start();
    assert_eq!(drained(&gateway), [false, false]);
    let ask = |account: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", account, "--clear-groups", "--inh-caps=-all"]);
        command.args(["perl", "-MIO::Socket::UNIX", "-e"]).arg(
            "$SIG{PIPE} = qq(IGNORE); my $s = IO::Socket::UNIX->new($ARGV[0]) or die qq(connect: $!); \
             $s->syswrite(qq(list\\n)); print <$s>;",
        );
        let output = command.arg(&path).current_dir("/").output();
        output.map(|it| String::from_utf8([it.stdout, it.stderr].concat()).unwrap())
    };
    match ask("0") {
        Ok(own) if own.contains("instances") => {}
        other => return not_tried(&format!("setpriv and perl are wanted: {other:?}")),
    }
    let closed = ask("65534").unwrap();
    assert!(closed.contains("Permission denied"), "{closed}");
    // Where somebody has loosened its mode, the kernel's word for who asks remains.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = ask("65534").unwrap();
    assert!(refused.contains("own account and root"), "{refused}");
}

#[test]
fn a_reload_keeps_it() {
    let (one, two) = (named("one"), named("two"));
    let urls = [one.url(), two.url()];
    let gateway = setup(&urls, "").start();
    done(&gateway, &["drain", "vllm/1"]);
    gateway.reload();
    assert_eq!(drained(&gateway), [true, false]);
    // By its base URL, wherever it stands then.
    let turned = toml(gateway.setup(), &[two.url(), one.url()], "");
    fs::write(gateway.setup().dir().join("sluicegate.toml"), turned).unwrap();
    gateway.reload();
    assert_eq!(drained(&gateway), [false, true]);
    let mut client = gateway.connect();
    assert!((0..20).all(|_| served(&mut client) == "two"));
}

#[test]
fn an_upgrade_keeps_it_and_the_new_process_answers() {
    let (one, two, three) = (Upstream::listen(), named("two"), named("three"));
    let urls = [one.url(), two.url(), three.url()];
    let mut gateway = setup(&urls, FIRST).start();
    let held = stream(&gateway, &one);
    done(&gateway, &["drain", "vllm/1"]);
    gateway.signal(Signal::USR2);
    let successor = gateway.successor(0);
    // Whichever was asked last, the next one answers.
    assert_eq!(drained(&gateway), [true, false, false]);
    assert_eq!(served(&mut gateway.connect()), "two");
    assert_eq!(listed(&gateway)["predecessor"], true);
    done(&gateway, &["drain", "vllm/2"]);
    assert_eq!(served(&mut gateway.connect()), "three");
    // What the old process has there is waited for.
    fails(
        &gateway,
        &["drain", "vllm/1", "--wait", "0"],
        "those of the process before",
    );
    ends_whole(held);
    let waited = done(&gateway, &["drain", "vllm/1", "--wait"]);
    assert!(waited.contains("nothing is under way any more"), "{waited}");
    assert_eq!(gateway.wait_succeeded(), Some(0));
    assert_eq!(listed(&gateway)["predecessor"], false);
    let path = socket(&gateway);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    kill_process(successor, Signal::USR2).unwrap();
    let last = gateway.successor(1);
    assert_eq!(drained(&gateway), [true, true, false]);
    kill_process(last, Signal::TERM).unwrap();
    let begin = Instant::now();
    while path.exists() {
        assert!(begin.elapsed() < PATIENCE, "it is still there");
        thread::yield_now();
    }
}

#[test]
fn an_upgrade_can_change_the_path_and_one_that_fails_changes_nothing() {
    let (one, two) = (named("one"), named("two"));
    let urls = [one.url(), two.url()];
    let mut gateway = setup(&urls, "").start();
    done(&gateway, &["drain", "vllm/1"]);
    let file = gateway.setup().dir().join("sluicegate.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, "[nonsense]\n").unwrap();
    gateway.signal(Signal::USR2);
    gateway.wait_log(|line| line.contains("the successor did not start"));
    fs::write(&file, before.replace("control.sock", "other.sock")).unwrap();
    let old = socket(&gateway);
    let at_old = ["list", "--json", "--control", old.to_str().unwrap()];
    assert!(done(&gateway, &at_old).contains("\"drained\": true"));
    gateway.signal(Signal::USR2);
    gateway.successor(0);
    assert_eq!(gateway.wait_succeeded(), Some(0));
    assert_eq!(drained(&gateway), [true, false]);
    assert!(!old.exists());
}

#[test]
fn what_is_no_place_for_it_is_refused() {
    let shown = checked(bare().toml("[server]\ncontrol = \"/run/c.sock\"\n"));
    assert_line(&shown, "control = \"/run/c.sock\"");
    let long = format!("control = \"/{}\"", "a".repeat(107));
    for (line, named) in [
        ("control = \"c.sock\"", "the absolute path of a socket"),
        ("control = \"unix:/run/c.sock\"", "without unix: before it"),
        ("control = \"\"", "the absolute path of a socket"),
        (&long, "at most 107 bytes"),
        (
            "listen = [\"unix:/run/c.sock\"]\ncontrol = \"/run/c.sock\"",
            "listened on for others",
        ),
    ] {
        assert_refused(
            || bare().toml(&format!("[server]\n{line}\n")),
            &["server.control", named],
        );
    }
}

#[test]
fn an_address_of_a_name_that_stands_for_many_is_drained_alone() {
    let all = Scripted::start_on(2, |wire, _| {
        let own = wire.socket().local_addr().unwrap().ip().to_string();
        while wire.try_request().is_ok() {
            if wire.try_send(response("200 OK", &[], &own)).is_err() {
                return;
            }
        }
    });
    let hosts = |last: &[u8]| -> String {
        let lines = last
            .iter()
            .map(|last| format!("127.0.0.{last} localhost\n"));
        lines.collect()
    };
    let setup = Setup::new();
    let toml = format!(
        "[server]\ncontrol = \"{}\"\n[upstream]\naddress_age = \"200ms\"\n[providers.vllm]\n\
         base_url = \"http://localhost:{}/v1\"\nresolve = \"all\"\n",
        setup.dir().join("control.sock").display(),
        all[0].addr().port()
    );
    let setup = setup.toml(&toml).hosts(&hosts(&[2, 3]));
    let gateway = setup.start_with_hosts();
    gateway.wait_log(|line| line.contains("stands for other addresses"));
    fails(&gateway, &["drain", "vllm/1"], "vllm/1-127.0.0.2");
    done(&gateway, &["drain", "vllm/1-127.0.0.2"]);
    let line = gateway.wait_log(|line| line.contains("an instance is drained"));
    assert!(
        line.contains("\"instance\":1") && line.contains("\"address\":\"127.0.0.2\""),
        "{line}"
    );
    let mut client = gateway.connect();
    (0..20).for_each(|_| assert_eq!(served(&mut client), "127.0.0.3"));
    // Other addresses are another configuration, and what stays is as it was.
    gateway.hosts(&hosts(&[2, 3, 4]));
    gateway.wait_log(|line| line.contains("\"added\":\"127.0.0.4\""));
    assert_eq!(drained(&gateway), [true, false, false]);
    assert!(done(&gateway, &["list"]).contains("vllm/1-127.0.0.2"));
    done(&gateway, &["undrain", "vllm/1-127.0.0.2"]);
    assert_eq!(drained(&gateway), [false; 3]);
}
