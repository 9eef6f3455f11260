//! `contrib/seccomp.json`: its form, and that it allows what the gateway asks of the kernel on either driver.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use super::contrib::text;
use crate::support::tls::{self, pki};
use crate::support::{Setup, Upstream, get, not_tried, post, response};

/// A rule of the profile.
struct Rule {
    names: Vec<String>,
    action: String,
    args: Vec<(u64, u64, String)>,
}

fn profile() -> Value {
    serde_json::from_str(&text("contrib/seccomp.json")).unwrap()
}

fn rules() -> Vec<Rule> {
    let number = |value: &Value| value.as_u64().unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let rule = |value: &Value| Rule {
        names: value["names"]
            .as_array()
            .unwrap()
            .iter()
            .map(word)
            .collect(),
        action: word(&value["action"]),
        args: { value["args"].as_array().into_iter().flatten() }
            .map(|arg| {
                (
                    number(&arg["index"]),
                    number(&arg["value"]),
                    word(&arg["op"]),
                )
            })
            .collect(),
    };
    let profile = profile();
    let rules = profile["syscalls"].as_array().unwrap().iter();
    rules.map(rule).collect()
}

/// What is allowed whatever its arguments are.
fn plainly_allowed() -> BTreeSet<String> {
    let rules = rules();
    let plain = rules
        .iter()
        .filter(|rule| rule.action == "SCMP_ACT_ALLOW" && rule.args.is_empty());
    plain.flat_map(|rule| rule.names.clone()).collect()
}

#[test]
fn it_refuses_what_it_does_not_name() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(profile["defaultErrnoRet"], 1);
    let arches = profile["archMap"].as_array().unwrap().iter();
    let arches: Vec<_> = arches
        .map(|arch| arch["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(arches, ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]);
    let mut once = BTreeSet::new();
    for rule in rules().iter().filter(|rule| rule.args.is_empty()) {
        for name in &rule.names {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(name.bytes().all(plain), "{name}");
            assert!(once.insert(name.clone()), "{name} twice");
        }
        assert!(rule.names.is_sorted(), "{:?}", rule.names);
    }
}

#[test]
fn it_allows_nothing_that_leads_out_of_a_container() {
    let allowed = plainly_allowed();
    let never = "acct add_key bpf chroot clock_settime clone clone3 delete_module finit_module fsopen init_module ioperm iopl \
                 kcmp kexec_file_load kexec_load keyctl mknod mknodat mount move_mount name_to_handle_at open_by_handle_at \
                 perf_event_open personality pidfd_getfd pivot_root process_vm_readv process_vm_writev ptrace reboot \
                 request_key setns settimeofday socket swapoff swapon syslog umount2 unshare userfaultfd vhangup";
    for name in never.split_whitespace() {
        assert!(!allowed.contains(name), "{name}");
    }
    for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.contains(name), "{name}");
    }
}

/// The number that a kind of sockets has.
fn family(name: &str) -> u64 {
    let known = [
        ("AF_UNIX", 1),
        ("AF_INET", 2),
        ("AF_INET6", 10),
        ("AF_NETLINK", 16),
    ];
    let found = known.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("a socket of {name}")).1
}

/// Whether the rules allow a call that strace wrote down; for clone3 the C library has an answer to ENOSYS.
fn is_allowed(rules: &[Rule], name: &str, arguments: &str) -> bool {
    let of = |action: &str| {
        let found = rules
            .iter()
            .filter(|rule| rule.names.iter().any(|n| n == name) && rule.action == action);
        found.collect::<Vec<_>>()
    };
    match name {
        "clone3" => of("SCMP_ACT_ERRNO").len() == 1 && !arguments.contains("CLONE_NEW"),
        "clone" => !of("SCMP_ACT_ALLOW").is_empty() && !arguments.contains("CLONE_NEW"),
        "socket" => {
            let wanted = family(arguments.split(',').next().unwrap());
            of("SCMP_ACT_ALLOW")
                .iter()
                .any(|rule| rule.args == [(0, wanted, "SCMP_CMP_EQ".to_owned())])
        }
        _ => of("SCMP_ACT_ALLOW").iter().any(|rule| rule.args.is_empty()),
    }
}

/// The calls in what strace wrote, with their arguments; one that goes on later is there from its begin.
fn calls(trace: &str) -> impl Iterator<Item = (&str, &str)> {
    trace.lines().filter_map(|line| {
        let behind_the_thread = |c: char| c.is_ascii_digit() || c == ' ';
        let (name, arguments) = line.trim_start_matches(behind_the_thread).split_once('(')?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        (!name.is_empty() && name.bytes().all(plain)).then_some((name, arguments))
    })
}

/// What the gateway asks of the kernel from its start to its drain: TLS on both sides, a name to look up, a reload.
fn trace(driver: &str) -> String {
    let upstream = Upstream::listen_tls(tls::server_config(&pki().server));
    let base = format!("https://localhost:{}/v1", upstream.addr().port());
    let setup = Setup::new()
        .base(&base)
        .tls()
        .env("SLUICEGATE_DRIVER", driver);
    let control = setup.dir().join("control.sock");
    let setup = setup.env("SLUICEGATE_CONTROL", control.to_str().unwrap());
    let pipe = setup.dir().join("trace");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Whoever opens one side waits for the other.
    let trace = thread::spawn(move || fs::read_to_string(pipe).unwrap());
    let mut gateway = setup.start_by("exec strace -D -f -qq -o trace \"$0\" \"$@\"");
    let client = Arc::new(tls::client_config(rustls::ALL_VERSIONS));
    let mut client = gateway.connect_tls(&client);
    client.send(post("/p/openai/chat/completions", "{}"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(response("200 OK", &["Content-Length: 2"], "{}"));
    assert_eq!(client.response().status(), 200);
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
    gateway.reload();
    let listed = gateway.setup().command(&["providers", "list"]).output();
    assert!(listed.unwrap().status.success());
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(), Some(0));
    trace.join().unwrap()
}

#[test]
fn it_allows_what_the_gateway_asks_for_on_either_driver() {
    if Command::new("strace").arg("-V").output().is_err() {
        return not_tried("strace is missing");
    }
    let rules = rules();
    for driver in ["auto", "epoll"] {
        let trace = trace(driver);
        let mut names = BTreeSet::new();
        for (name, arguments) in calls(&trace) {
            names.insert(name);
            let allowed = is_allowed(&rules, name, arguments);
            assert!(allowed, "{driver}: {name}({arguments}");
        }
        for name in ["execve", "socket", "listen", "recvfrom", "futex"] {
            assert!(names.contains(name), "{driver}: {names:?}");
        }
        let waits = |name: &&str| name.starts_with("epoll_") || *name == "io_uring_enter";
        assert!(names.iter().any(waits), "{driver}: {names:?}");
    }
}
