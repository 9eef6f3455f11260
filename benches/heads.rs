//! Heads: from bytes as one read brings them to spans.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sluicegate::http::head::{Fields, HeadError, HeadScan, Side, parse_request, parse_response};

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
    }
    group.finish();
    criterion.final_summary();
}
