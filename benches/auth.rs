//! From a credential field to its key: one digest, one lookup and the limits, among one key and ten thousand.

use std::hint::black_box;

use criterion::Criterion;
use sluicegate::door::http::{Fields, HeadScan, Section, request};
use sluicegate::door::policy::Rules;
use sluicegate::door::policy::{Asked, AuthError, Keys, sha256};
use sluicegate::door::policy::{ManagedKey, Rate};

/// As long as the keys that `sluicegate key new` makes.
fn secret(n: usize) -> String {
    format!("sk_sg_{n:043}")
}

fn key(n: usize, limited: bool) -> Result<ManagedKey, String> {
    Ok(ManagedKey {
        id: format!("key-{n}"),
        name: None,
        sha256: sha256(secret(n).as_bytes()),
        disabled: false,
        expires: Some(u64::MAX),
        providers: limited.then(|| vec!["anthropic".into(), "openai".into()]),
        allow: match limited {
            true => Some(Rules::parse(&["POST /messages*", "POST /chat/*"])?),
            false => None,
        },
        rate: match limited {
            true => Some(Rate::parse("1000000/s")?),
            false => None,
        },
        streams: limited.then_some(1000),
    })
}

const ASKED: Asked<'_> = Asked {
    provider: b"openai",
    method: b"POST",
    endpoint: b"v1/chat/completions",
};

fn check(keys: &Keys, fields: &Fields, text: &[u8], now: u64) -> Result<(), AuthError> {
    let grant = keys.check(Section::new(fields, text), || 0)?;
    grant.permit(ASKED)?;
    grant.enter(|| now).map(drop)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("auth");
    for (name, count, limited) in [
        ("one", 1, false),
        ("ten_thousand", 10_000, false),
        ("ten_thousand_limited", 10_000, true),
    ] {
        let list: Result<Vec<_>, _> = (0..count).map(|n| key(n, limited)).collect();
        let keys = Keys::new(None, Some(&list?), None);
        // Different keys, so that the table's lines are not all in the nearest cache.
        let heads: Result<Vec<(String, Fields)>, String> = (0..count)
            .step_by(count.div_ceil(1000))
            .map(|n| {
                let key = secret(n);
                let text = format!("POST /x HTTP/1.1\r\nHost: g\r\nx-api-key: {key}\r\n\r\n");
                let mut fields = Fields::new();
                let head = request(&mut HeadScan::default(), text.as_bytes(), &mut fields);
                match head {
                    Ok(Some(_)) => Ok((text, fields)),
                    _ => Err("a head that is none".into()),
                }
            })
            .collect();
        let heads = heads?;
        let (mut next, mut now) = (heads.iter().cycle(), 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now += 1_000_000;
                let (text, fields) = next.next().ok_or(AuthError::MissingKey)?;
                check(black_box(&keys), black_box(fields), text.as_bytes(), now)
            });
        });
        let (text, fields) = heads.first().ok_or("no head")?;
        check(&keys, fields, text.as_bytes(), now + 1_000_000_000)
            .map_err(|error| format!("{error:?}"))?;
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
