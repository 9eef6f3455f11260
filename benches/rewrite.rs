//! A request's whole way through the pure layer: parse, frame, admit, rewrite in place.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use sluicegate::door::http as framing;
use sluicegate::door::http::{Fields, HeadScan, HeadView, request};
use sluicegate::door::policy::Gateway;
use sluicegate::door::policy::Keys;
use sluicegate::door::policy::{self as config, Sources};
use sluicegate::door::policy::{Admission, Now, Request, admit};

const INPUTS: [(&str, &[u8]); 2] = [
    (
        "openai_chat",
        include_bytes!("../tests/corpus/heads/accept/request_openai_chat"),
    ),
    (
        "claude_code",
        include_bytes!("../tests/corpus/heads/accept/request_claude_code"),
    ),
];

/// Room in front of the head, as the worker's buffer has.
const ROOM: usize = 4096;

fn gateway() -> Result<Gateway, config::ConfigError> {
    let pairs = [
        ("OPENAI_API_KEY", "sk-provider"),
        ("ANTHROPIC_API_KEY", "sk-ant-provider"),
    ];
    let sources = Sources {
        flags: BTreeMap::new(),
        env: pairs
            .map(|(key, value)| (key.to_owned(), value.into()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        read: &|_| Err(io::ErrorKind::NotFound.into()),
        read_pem: &|_| Err(io::ErrorKind::NotFound.into()),
        file: None,
        terminal: false,
    };
    // An open gateway: a digest per credential would be most of the figure, and is the crypto library's.
    Ok(Gateway::new(
        Arc::new(config::load(&sources)?),
        Keys::new(None, None, None).into(),
    ))
}

/// Where the rewritten head begins.
fn rewrite(gateway: &Gateway, buf: &mut [u8], fields: &mut Fields) -> Option<usize> {
    let message = buf.get(ROOM..)?;
    let head = request(&mut HeadScan::default(), message, fields).ok()??;
    let view = HeadView::new(&head, fields, message);
    let length = framing::request_body(view).ok()?;
    let parsed = Request {
        view,
        length,
        content: 0,
        is_near: true,
        from: None,
    };
    let now = Now {
        unix_seconds: || 0,
        monotonic_nanos: || 0,
        is_outdated: false,
        crowded: None,
        in_flight: 0,
    };
    let Ok(Admission::Forward(forward)) = admit(gateway, parsed, now).outcome else {
        return None;
    };
    forward.rewrite(
        buf,
        ROOM,
        &head,
        fields,
        [b"X-Request-ID: 0123456789abcdef\r\n", b""],
    )
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let gateway = gateway();
    let mut group = criterion.benchmark_group("rewrite");
    let mut fields = Fields::new();
    for (name, input) in INPUTS {
        let Ok(gateway) = &gateway else { return };
        let mut placed = vec![0; ROOM];
        placed.extend_from_slice(input);
        assert!(
            rewrite(gateway, &mut placed.clone(), &mut fields).is_some(),
            "{name} is forwarded"
        );
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || placed.clone(),
                |buf| rewrite(gateway, black_box(buf), &mut fields),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
