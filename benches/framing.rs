//! Framing: the length decision, and the cursor over a streamed response.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sluicegate::door::http::{BodyLength, Cursor, request_body};
use sluicegate::door::http::{Fields, HeadView, Side, parse_request};

/// About seventy events of one chunk each, as the provider sends them.
const STREAM: &[u8] = include_bytes!("../tests/corpus/chunked/accept/anthropic_stream");
const REQUESTS: [(&str, &[u8]); 2] = [
    (
        "openai_chat",
        include_bytes!("../tests/corpus/heads/accept/request_openai_chat"),
    ),
    (
        "claude_code",
        include_bytes!("../tests/corpus/heads/accept/request_claude_code"),
    ),
];
/// A TLS record or a read brings about so much.
const PIECE: usize = 1400;

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    group.throughput(Throughput::Bytes(STREAM.len() as u64));
    group.bench_function("anthropic_stream", |bencher| {
        bencher
            .iter(|| Cursor::new(BodyLength::Chunked).advance(black_box(STREAM), Side::Response));
    });
    group.bench_function("anthropic_stream/pieces", |bencher| {
        bencher.iter(|| {
            let mut cursor = Cursor::new(BodyLength::Chunked);
            black_box(STREAM)
                .chunks(PIECE)
                .try_for_each(|piece| cursor.advance(piece, Side::Response).map(drop))
        });
    });
    group.bench_function("anthropic_stream/strip", |bencher| {
        let mut buf = STREAM.to_vec();
        bencher.iter(|| {
            buf.copy_from_slice(STREAM);
            Cursor::new(BodyLength::Chunked).strip(black_box(&mut buf))
        });
    });
    group.finish();
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing/length");
    let mut fields = Fields::new();
    for (name, input) in REQUESTS {
        let parsed = parse_request(input, &mut fields).ok().flatten();
        let Some(head) = parsed else { continue };
        group.throughput(Throughput::Bytes(head.len as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| request_body(HeadView::new(&head, black_box(&fields), input)));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    stream(&mut criterion);
    decision(&mut criterion);
    criterion.final_summary();
}
