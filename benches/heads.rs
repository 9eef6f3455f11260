//! Heads: from bytes as one read brings them to spans.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sluicegate::door::http::{
    Fields, HeadError, HeadScan, RESPONSE_FIELDS_MAX, Side, parse_request, parse_response,
};

const INPUTS: [(&str, Side, &[u8]); 3] = [
    (
        "openai_chat",
        Side::Request,
        include_bytes!("../tests/corpus/heads/accept/request_openai_chat"),
    ),
    (
        "claude_code",
        Side::Request,
        include_bytes!("../tests/corpus/heads/accept/request_claude_code"),
    ),
    (
        "anthropic_stream",
        Side::Response,
        include_bytes!("../tests/corpus/heads/accept/response_anthropic_stream"),
    ),
];

fn find_end(side: Side, input: &[u8]) -> Result<Option<usize>, HeadError> {
    HeadScan::default().find_end(input, side)
}

fn parse(side: Side, input: &[u8], fields: &mut Fields) -> bool {
    match side {
        Side::Request => matches!(parse_request(input, fields), Ok(Some(_))),
        Side::Response => matches!(parse_response(input, fields), Ok(Some(_))),
    }
}

/// The head with every so many field lines told apart by `mark`.
fn marked(head: &[u8], every: usize, mark: u8) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = head
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for line in lines.iter_mut().skip(every).step_by(every) {
        let end = line.len().saturating_sub(1);
        if line.contains(&b':') {
            line.insert(end, mark);
        }
    }
    lines.join(&b'\n')
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("heads");
    let mut fields = Fields::new();
    for (name, side, input) in INPUTS {
        let head_len = find_end(side, input).ok().flatten();
        assert!(head_len.is_some(), "{name} holds a head");
        group.throughput(Throughput::Bytes(head_len.unwrap_or_default() as u64));
        group.bench_function(name, |bencher| match side {
            Side::Request => bencher.iter(|| parse_request(black_box(input), &mut fields)),
            Side::Response => bencher.iter(|| parse_response(black_box(input), &mut fields)),
        });
        group.bench_function(format!("{name}/end"), |bencher| {
            bencher.iter(|| find_end(side, black_box(input)));
        });
        // After others of its kind: the same, with other values on every fourth line, and on all of them.
        let head = input.get(..head_len.unwrap_or_default()).unwrap_or(input);
        for (alike, every) in [("again", usize::MAX), ("a_quarter_new", 4), ("all_new", 1)] {
            // More than are told apart at once.
            let heads: Vec<_> = (b'1'..b'9').map(|mark| marked(head, every, mark)).collect();
            let mut fields = Fields::remembering(RESPONSE_FIELDS_MAX);
            assert!(
                heads.iter().all(|head| parse(side, head, &mut fields)),
                "{name} {alike}"
            );
            let mut turns = heads.iter().cycle();
            group.bench_function(format!("{name}/{alike}"), |bencher| {
                bencher.iter(|| {
                    turns
                        .next()
                        .map(|head| parse(side, black_box(head), &mut fields))
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
