//! How handshakes begin: long hellos, in records of any length, with early data, and long chains of certificates.

use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;
use rustls::client::{UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::UnbufferedServerConnection;

use super::super::handshake::{FROM_CLIENT_BYTES_MAX, Handshake, Role};
use super::super::{Fault, HEADER_BYTES, Header, content};
use super::{Configs, configs, localhost, shake, suites};

/// A ClientHello that announces early data.
fn early_hello(configs: &Configs) -> Vec<u8> {
    let client = UnbufferedClientConnection::new(configs.client.clone(), localhost()).unwrap();
    let mut hello = Vec::new();
    let mut handshake = Handshake::new(Role::Client(client));
    handshake.advance(&[], &mut hello).unwrap();
    let number = |hello: &[u8], at: usize| u16::from_be_bytes([hello[at], hello[at + 1]]);
    // Behind the headers, version and random: session id, suites, compression methods.
    let mut at = HEADER_BYTES + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(number(&hello, at));
    at += 1 + usize::from(hello[at]);
    for length in [at, HEADER_BYTES + 2, HEADER_BYTES - 2] {
        let longer = number(&hello, length) + 4;
        hello.splice(length..length + 2, longer.to_be_bytes());
    }
    hello.splice(at + 2..at + 2, [0, 42, 0, 0]);
    hello
}

#[test]
fn rejected_early_data_is_skipped_but_not_without_end() {
    let tls13 = configs(0);
    for (len, skipped) in [(0, 0), (17, 20)] {
        let server = UnbufferedServerConnection::new(tls13.server.clone()).unwrap();
        let mut handshake = Handshake::new(Role::Server(server));
        let mut out = Vec::new();
        let hello = early_hello(&tls13);
        assert!(!handshake.advance(&hello, &mut out).unwrap());
        let mut record = vec![content::APPLICATION_DATA, 3, 3, 0, len];
        record.resize(HEADER_BYTES + usize::from(len), 0);
        let failed = (0..200).position(|_| handshake.advance(&record, &mut out).is_err());
        assert!(failed.is_some_and(|at| at >= skipped), "{len}: {failed:?}");
    }
}

/// A ClientHello of about this many bytes, longer by names of protocols that nobody speaks.
fn long_hello(configs: &Configs, len: usize) -> Vec<u8> {
    let mut client = (*configs.client).clone();
    client.alpn_protocols = vec![vec![b'x'; 250]; len / 251];
    let client = UnbufferedClientConnection::new(client.into(), localhost()).unwrap();
    let (mut hello, mut message) = (Vec::new(), Vec::new());
    Handshake::new(Role::Client(client))
        .advance(&[], &mut hello)
        .unwrap();
    let mut rest = hello.as_slice();
    while let Some(end) = Header::end_of_record(rest) {
        message.extend_from_slice(&rest[HEADER_BYTES..end]);
        rest = &rest[end..];
    }
    message
}

/// A message in handshake records of these lengths, over and over.
fn in_records(message: &[u8], lengths: &[usize]) -> Vec<u8> {
    let (mut rest, mut out) = (message, Vec::new());
    for len in lengths.iter().cycle() {
        let (piece, behind) = rest.split_at(rest.len().min(*len));
        if piece.is_empty() {
            break;
        }
        out.extend([content::HANDSHAKE, 3, 1]);
        out.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        out.extend_from_slice(piece);
        rest = behind;
    }
    out
}

/// What a server says to this hello, received in parts of `part`, and the most that it held.
fn greet(configs: &Configs, hello: &[u8], part: usize) -> (Result<bool, Fault>, Vec<u8>, usize) {
    let server = UnbufferedServerConnection::new(configs.server.clone()).unwrap();
    let mut handshake = Handshake::new(Role::Server(server));
    let (mut out, mut held) = (Vec::new(), 0);
    for part in hello.chunks(part) {
        let advanced = handshake.advance(part, &mut out);
        if advanced.is_err() {
            return (advanced, out, held);
        }
        held = held.max(handshake.held());
    }
    (Ok(false), out, held)
}

#[test]
fn an_empty_record_ends_a_handshake_with_an_alert_that_can_be_read() {
    let configs = configs(0);
    for behind in [0, 10] {
        let mut hello = in_records(&long_hello(&configs, 0), &[5]);
        hello.splice(behind..behind, [content::HANDSHAKE, 3, 1, 0, 0]);
        let (end, out, _) = greet(&configs, &hello, 7);
        assert!(matches!(end, Err(Fault::Malformed)), "{end:?}");
        assert_eq!(out, [content::ALERT, 3, 3, 0, 2, 2, 50]);
    }
}

#[test]
fn a_hello_in_records_of_a_byte_is_not_held_for_long() {
    for suite in suites() {
        let configs = configs(suite);
        let message = long_hello(&configs, 40_000);
        let hello = in_records(&message, &[1]);
        for part in [1, 1_400, 65_536] {
            let (end, out, held) = greet(&configs, &hello[..hello.len() - 1], part);
            assert!(matches!(end, Err(Fault::Overflow)), "{end:?}");
            // An alert, which anybody can read since no key is agreed on.
            assert_eq!(out, [content::ALERT, 3, 3, 0, 2, 2, 22]);
            assert!(held <= HELD_BYTES_MAX, "{held}");
        }
    }
}

/// What a client may make us hold, our own state aside: the contract's 32 KiB include that.
const HELD_BYTES_MAX: usize = 28 * 1024;

#[test]
fn a_server_may_have_a_long_chain() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for suite in suites() {
        let Configs { client, server } = configs(suite);
        let mut server = (*server).clone();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        // What follows the first certificate need not be of use.
        let chain = vec![cert.der().clone(); 60_000 / (cert.der().len() + 5)];
        let certified = rustls::sign::CertifiedKey::new(chain, key);
        server.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            client.crypto_provider().clone(),
        );
        let mut client = (*client).clone();
        let verifier = verifier.build().unwrap();
        client.dangerous().set_certificate_verifier(verifier);
        let configs = Configs {
            client: client.into(),
            server: server.into(),
        };
        for part in [500, 65_536] {
            let mut pair = shake(&configs, true, part);
            assert_eq!(pair.send(b"hello", 100), b"hello");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What comes of a hello does not depend on its records, but for their number.
    #[test]
    fn a_hello_in_any_records_is_a_hello(
        suite in 0_usize..6,
        len in 0_usize..40_000,
        lengths in prop::collection::vec(prop_oneof![1_usize..4, 1_usize..16_000], 1..9),
        part in prop_oneof![1_usize..9, 1_usize..65_536],
    ) {
        let configs = configs(suites()[suite]);
        let hello = in_records(&long_hello(&configs, len), &lengths);
        let (end, out, held) = greet(&configs, &hello, part);
        prop_assert!(held <= HELD_BYTES_MAX, "{held}");
        match hello.len() > FROM_CLIENT_BYTES_MAX {
            true => prop_assert!(matches!(end, Err(Fault::Overflow)), "{end:?}"),
            false => prop_assert!(end.is_ok() && out.first() == Some(&content::HANDSHAKE)),
        }
    }
}
