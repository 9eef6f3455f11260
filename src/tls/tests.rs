//! Against rustls's own record layer, in memory: every suite, either role, however the bytes are cut.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection,
};

use super::handshake::{Handshake, Role};
use super::property::{Duel, Record, established};
use super::protection::PLAIN_BYTES_MAX;
use super::traffic::{KEY_UPDATE_BYTES, SILENCE_BYTES_MAX, TICKET_BYTES, Traffic};
use super::{Fault, HEADER_BYTES, Header, content};

mod hellos;

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Configurations that agree on this suite.
fn configs(suite: usize) -> Configs {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = aws_lc_rs::default_provider();
    let suites = vec![aws_lc_rs::ALL_CIPHER_SUITES[suite]];
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites,
        ..provider
    });
    let version = provider.cipher_suites[0].version();
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    client.resumption = Resumption::in_memory_sessions(8);
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    Configs {
        client: Arc::new(client),
        server: Arc::new(server),
    }
}

/// The suites that a self-signed ECDSA certificate can be used with.
fn suites() -> Vec<usize> {
    let usable = |index: &usize| {
        let name = format!("{:?}", aws_lc_rs::ALL_CIPHER_SUITES[*index].suite());
        name.starts_with("TLS13") || name.contains("ECDSA")
    };
    let all: Vec<usize> = (0..aws_lc_rs::ALL_CIPHER_SUITES.len())
        .filter(usable)
        .collect();
    assert_eq!(all.len(), 6);
    all
}

/// Our end, established, and rustls's, with what was sent to us behind the handshake.
struct Pair {
    ours: Traffic,
    theirs: Connection,
    behind: Vec<u8>,
    kind: Option<HandshakeKind>,
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Shakes hands; bytes reach us in parts of `part`.
fn shake(configs: &Configs, client: bool, part: usize) -> Pair {
    let (role, mut theirs) = if client {
        let ours = UnbufferedClientConnection::new(configs.client.clone(), localhost()).unwrap();
        let theirs = ServerConnection::new(configs.server.clone()).unwrap();
        (Role::Client(ours), Connection::Server(theirs))
    } else {
        let ours = UnbufferedServerConnection::new(configs.server.clone()).unwrap();
        let theirs = ClientConnection::new(configs.client.clone(), localhost()).unwrap();
        (Role::Server(ours), Connection::Client(theirs))
    };
    let mut handshake = Handshake::new(role);
    let mut out = Vec::new();
    let mut done = handshake.advance(&[], &mut out).unwrap();
    let mut behind = Vec::new();
    while !done || !out.is_empty() || theirs.wants_write() {
        feed(&mut theirs, &std::mem::take(&mut out));
        for bytes in drain(&mut theirs).chunks(part) {
            match done {
                false => done = handshake.advance(bytes, &mut out).unwrap(),
                true => behind.extend_from_slice(bytes),
            }
        }
    }
    assert!(!theirs.is_handshaking());
    let kind = handshake.kind();
    let (ours, mut rest) = handshake.finish().unwrap();
    rest.extend(behind);
    Pair {
        ours,
        theirs,
        behind: rest,
        kind,
    }
}

/// Hands bytes to rustls; returns the application data.
fn feed(theirs: &mut Connection, mut bytes: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    while !bytes.is_empty() {
        theirs.read_tls(&mut bytes).unwrap();
        let state = theirs.process_new_packets().unwrap();
        let mut piece = vec![0; state.plaintext_bytes_to_read()];
        theirs.reader().read_exact(&mut piece).unwrap();
        got.extend(piece);
    }
    got
}

fn drain(theirs: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while theirs.wants_write() {
        theirs.write_tls(&mut bytes).unwrap();
    }
    bytes
}

impl Pair {
    /// What we make of these bytes behind those that were left over.
    fn receive(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        self.behind.extend_from_slice(bytes);
        let mut out = vec![0; self.behind.len()];
        let opened = self.ours.open(&self.behind, &mut out);
        self.behind.drain(..opened.consumed);
        out.truncate(opened.filled);
        opened.fault.map_or(Ok(out), Err)
    }

    /// What they make of what we send, sealed in a room of this size.
    fn send(&mut self, mut bytes: &[u8], room: usize) -> Vec<u8> {
        let mut room = vec![0; room];
        let mut got = Vec::new();
        while !bytes.is_empty() {
            let (taken, sealed) = self.ours.seal(bytes, &mut room).unwrap();
            assert!(taken > 0);
            got.extend(feed(&mut self.theirs, &room[..sealed]));
            bytes = &bytes[taken..];
        }
        got
    }

    fn they_send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.theirs.set_buffer_limit(None);
        self.theirs.writer().write_all(bytes).unwrap();
        drain(&mut self.theirs)
    }

    fn refresh_theirs(&mut self) {
        self.theirs.refresh_traffic_keys().unwrap();
    }
}

#[test]
fn every_suite_carries_bytes_both_ways() {
    for suite in suites() {
        let configs = configs(suite);
        for (client, part) in [(true, 1), (true, 50_000), (false, 1), (false, 50_000)] {
            let mut pair = shake(&configs, client, part);
            let ping = vec![7; 40_000];
            assert_eq!(pair.send(&ping, 90_000), ping);
            let sent = pair.they_send(&ping);
            let mut got = Vec::new();
            for piece in sent.chunks(7_001) {
                got.extend(pair.receive(piece).unwrap());
            }
            assert!(got == ping && pair.behind.is_empty());
        }
    }
}

#[test]
fn sessions_are_resumed_from_the_tickets_that_we_were_given() {
    for suite in suites() {
        let configs = configs(suite);
        let mut first = shake(&configs, true, 9_000);
        assert_eq!(first.kind, Some(HandshakeKind::Full));
        assert_eq!(first.receive(&[]).unwrap(), b"");
        let again = shake(&configs, true, 9_000);
        assert_eq!(again.kind, Some(HandshakeKind::Resumed), "{suite}");
    }
}

#[test]
fn keys_are_updated_when_the_peer_does_and_when_it_asks() {
    for suite in suites() {
        let configs = configs(suite);
        for client in [true, false] {
            let mut pair = shake(&configs, client, 9_000);
            if pair.theirs.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
                continue;
            }
            for round in 0..3 {
                // rustls asks for ours with its own.
                pair.refresh_theirs();
                let sent = pair.they_send(b"under a new key");
                assert_eq!(pair.receive(&sent).unwrap(), b"under a new key");
                assert_eq!(pair.send(b"so are we", 64), b"so are we", "{round}");
            }
        }
    }
}

#[test]
fn close_notify_ends_it_and_what_follows_is_ignored() {
    for suite in suites() {
        let configs = configs(suite);
        for client in [true, false] {
            let mut pair = shake(&configs, client, 9_000);
            let mut sent = pair.they_send(b"the last");
            pair.theirs.send_close_notify();
            sent.extend(drain(&mut pair.theirs));
            sent.extend(b"no record at all");
            assert_eq!(pair.receive(&sent).unwrap(), b"the last");
            assert!(pair.ours.is_closed() && pair.behind.is_empty());
            let mut room = [0; 64];
            let len = pair.ours.seal_close(&mut room).unwrap();
            feed(&mut pair.theirs, &room[..len]);
            let state = pair.theirs.process_new_packets().unwrap();
            assert!(state.peer_has_closed());
        }
    }
}

#[test]
fn our_alert_tells_them_why() {
    for suite in suites() {
        let mut pair = shake(&configs(suite), true, 9_000);
        let mut room = [0; 64];
        let len = pair.ours.seal_alert(20, &mut room).unwrap();
        let mut sealed = &room[..len];
        pair.theirs.read_tls(&mut sealed).unwrap();
        let error = pair.theirs.process_new_packets().unwrap_err();
        assert_eq!(
            error,
            rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)
        );
    }
}

/// Us, a client, and a peer that sends what it likes.
fn forger(suite: usize) -> (Traffic, Traffic) {
    let configs = configs(suite);
    let ours = UnbufferedClientConnection::new(configs.client.clone(), localhost()).unwrap();
    let theirs = UnbufferedServerConnection::new(configs.server.clone()).unwrap();
    established(ours, theirs)
}

fn record(forger: &mut Traffic, kind: u8, plain: &[u8]) -> Vec<u8> {
    forger.forge(kind, plain)
}

fn open(ours: &mut Traffic, record: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = vec![0; record.len()];
    let opened = ours.open(record, &mut out);
    out.truncate(opened.filled);
    opened.fault.map_or(Ok(out), Err)
}

#[test]
fn messages_out_of_place_end_the_connection() {
    const TICKET_START: &[u8] = &[4, 0, 0, 9, 1, 2];
    type Records = &'static [(u8, &'static [u8])];
    let cases: [(&str, Records); 9] = [
        ("no type", &[(0, b"")]),
        ("an unknown type", &[(25, b"x")]),
        ("a change of cipher spec", &[(20, &[1])]),
        ("an empty handshake record", &[(content::HANDSHAKE, b"")]),
        (
            "a finished message",
            &[(content::HANDSHAKE, &[20, 0, 0, 1, 0])],
        ),
        (
            "data between parts of a message",
            &[
                (content::HANDSHAKE, TICKET_START),
                (content::APPLICATION_DATA, b"x"),
            ],
        ),
        (
            "something behind a key update",
            &[(content::HANDSHAKE, &[24, 0, 0, 1, 0, 4, 0, 0, 0])],
        ),
        (
            "a key update that is none",
            &[(content::HANDSHAKE, &[24, 0, 0, 1, 2])],
        ),
        ("a fatal alert", &[(content::ALERT, &[2, 40])]),
    ];
    for (what, records) in cases {
        let (mut ours, mut forger) = forger(suites()[0]);
        let (last, first) = records.split_last().unwrap();
        for (kind, plain) in first {
            let sealed = record(&mut forger, *kind, plain);
            assert!(open(&mut ours, &sealed).unwrap().is_empty(), "{what}");
        }
        let sealed = record(&mut forger, last.0, last.1);
        assert!(open(&mut ours, &sealed).is_err(), "{what}");
    }
}

#[test]
fn what_is_wrong_with_a_message_is_said_before_it_is_whole() {
    // What a client is sent; of a request that is malformed, what TLS 1.3 says.
    let cases: [(&[u8], u8); 6] = [
        (&[24, 0, 0, 1, 2], 47),
        (&[24, 0, 0, 0], 50),
        (&[24, 0, 0, 2], 50),
        (&[4, 1, 0, 0], 50),
        (&[4, 0, 0, 1, 0], 50),
        (&[13, 0, 0, 9], 10),
    ];
    for (message, alert) in cases {
        let (mut ours, mut forger) = forger(suites()[0]);
        let sealed = record(&mut forger, content::HANDSHAKE, message);
        let fault = open(&mut ours, &sealed).unwrap_err();
        assert_eq!(fault.alert(), Some(alert), "{message:?}");
    }
}

#[test]
fn a_ticket_in_parts_is_put_together() {
    let (mut ours, mut forger) = forger(suites()[0]);
    // Lifetime, age, nonce, ticket, no extensions.
    let mut ticket = vec![4, 0, 0, 17];
    ticket.extend([0, 0, 1, 0, 1, 2, 3, 4, 1, 9, 0, 3, 7, 8, 9, 0, 0]);
    for piece in ticket.chunks(3) {
        let sealed = record(&mut forger, content::HANDSHAKE, piece);
        assert!(open(&mut ours, &sealed).unwrap().is_empty());
    }
    let sealed = record(&mut forger, content::APPLICATION_DATA, b"on");
    assert_eq!(open(&mut ours, &sealed).unwrap(), b"on");
}

#[test]
fn warnings_end_nothing_but_what_the_version_says() {
    for suite in suites() {
        // unrecognized_name, user_canceled as a warning and as an error, handshake_failure.
        for (alert, tls12_ends, tls13_ends) in [
            ([1, 112], false, true),
            ([1, 90], false, false),
            ([2, 90], true, false),
            ([2, 40], true, true),
        ] {
            let (mut ours, mut forger) = forger(suite);
            let sealed = record(&mut forger, content::ALERT, &alert);
            let ends = if ours.is_tls13() {
                tls13_ends
            } else {
                tls12_ends
            };
            assert_eq!(
                open(&mut ours, &sealed).is_err(),
                ends,
                "{suite}: {alert:?}"
            );
        }
    }
}

/// A ticket with `len` bytes that mean something to the server.
fn ticket(len: u16) -> Vec<u8> {
    let mut body = vec![0, 0, 1, 0, 1, 2, 3, 4, 1, 9];
    body.extend(len.to_be_bytes());
    body.resize(body.len() + usize::from(len), 7);
    body.extend([0, 0]);
    let mut message = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    message[0] = 4;
    message.extend(body);
    message
}

/// How many such records in a row it takes until the connection ends, and how long they are in all.
fn borne(kind: u8, plain: &[u8], padding: usize) -> (usize, usize) {
    let (mut ours, mut forger) = forger(suites()[0]);
    let mut bytes = 0;
    for count in 0..20_000 {
        let record = match padding {
            0 => record(&mut forger, kind, plain),
            // The type in front of padding looks to the forger like content.
            _ => record(
                &mut forger,
                0,
                &[plain, &[kind], &vec![0; padding]].concat(),
            ),
        };
        bytes += record.len();
        if open(&mut ours, &record).is_err() {
            return (count, bytes);
        }
        if plain == [24, 0, 0, 1, 0] {
            forger.forge_key().unwrap();
        }
    }
    panic!("there is no end to it");
}

#[test]
fn a_peer_cannot_keep_us_busy_with_nothing() {
    let most = SILENCE_BYTES_MAX as usize;
    let many: Vec<u8> = ticket(1).repeat(800);
    let warnings: &[u8] = &[1, 90];
    for (what, kind, plain, padding) in [
        ("nothing", content::APPLICATION_DATA, &b""[..], 0),
        ("padding", content::APPLICATION_DATA, b"", 16_000),
        ("warnings", content::ALERT, warnings, 0),
        ("short tickets", content::HANDSHAKE, &ticket(1), 0),
        ("long tickets", content::HANDSHAKE, &ticket(16_000), 0),
        ("many tickets a record", content::HANDSHAKE, &many, 0),
        ("key updates", content::HANDSHAKE, &[24, 0, 0, 1, 0], 0),
    ] {
        let (count, bytes) = borne(kind, plain, padding);
        assert!(bytes <= most + 17_000, "{what}: {bytes} bytes");
        // What costs us more than its bytes say is bounded by what it costs.
        let work = match what {
            "key updates" => count * KEY_UPDATE_BYTES as usize,
            "short tickets" => count * TICKET_BYTES as usize,
            "many tickets a record" => count * 800 * TICKET_BYTES as usize,
            _ => count,
        };
        assert!(work <= most, "{what}: {count} in a row");
    }
}

#[test]
fn as_many_tickets_and_key_updates_as_anybody_needs_are_no_fault() {
    assert!(borne(content::HANDSHAKE, &ticket(250), 0).0 >= 200);
    assert!(borne(content::HANDSHAKE, &ticket(1_500), 0).0 >= 64);
    assert!(borne(content::HANDSHAKE, &[24, 0, 0, 1, 0], 0).0 >= 30);
    // The longest one, which is in five records.
    let (mut ours, mut forger) = forger(suites()[0]);
    let longest = ticket(u16::MAX - 14);
    for piece in longest.chunks(PLAIN_BYTES_MAX) {
        let sealed = record(&mut forger, content::HANDSHAKE, piece);
        assert!(open(&mut ours, &sealed).unwrap().is_empty());
    }
}

#[test]
fn what_a_peer_says_counts_anew_after_its_data() {
    let (mut ours, mut forger) = forger(suites()[0]);
    for _ in 0..40 {
        for _ in 0..20 {
            let sealed = record(&mut forger, content::HANDSHAKE, &ticket(250));
            assert!(open(&mut ours, &sealed).unwrap().is_empty());
        }
        let sealed = record(&mut forger, content::APPLICATION_DATA, b"x");
        assert_eq!(open(&mut ours, &sealed).unwrap(), b"x");
    }
}

#[test]
fn padding_is_taken_away() {
    let (mut ours, mut forger) = forger(suites()[0]);
    // The type in front of padding looks to the forger like content.
    let mut padded = b"hello".to_vec();
    padded.extend([content::APPLICATION_DATA, 0, 0]);
    let sealed = record(&mut forger, 0, &padded);
    assert_eq!(open(&mut ours, &sealed).unwrap(), b"hello");
}

#[test]
fn records_longer_than_allowed_are_not_waited_for() {
    for suite in suites() {
        let (mut ours, mut forger) = forger(suite);
        // The header alone of a record one byte longer than the longest.
        let mut longest = record(
            &mut forger,
            content::APPLICATION_DATA,
            &[7; PLAIN_BYTES_MAX],
        );
        let longer = u16::from_be_bytes([longest[3], longest[4]]) + 1;
        assert!(open(&mut ours, &longest).is_ok());
        longest.splice(3..5, longer.to_be_bytes());
        assert!(matches!(
            open(&mut ours, &longest[..HEADER_BYTES]),
            Err(Fault::Overflow)
        ));
        let of_no_type = [99, 3, 3, 0, 40];
        assert!(matches!(
            open(&mut ours, &of_no_type),
            Err(Fault::Unexpected)
        ));
    }
}

#[test]
fn a_record_is_at_most_as_long_as_said() {
    for suite in suites() {
        let mut pair = shake(&configs(suite), true, 9_000);
        let mut room = vec![0; PLAIN_BYTES_MAX + super::protection::OVERHEAD_BYTES_MAX];
        let plain = vec![1; PLAIN_BYTES_MAX];
        let (taken, sealed) = pair.ours.seal(&plain, &mut room).unwrap();
        assert_eq!(taken, plain.len());
        assert_eq!(Header::end_of_record(&room[..sealed]), Some(sealed));
        assert!(sealed - taken <= super::protection::OVERHEAD_BYTES_MAX);
        assert!(sealed - taken > HEADER_BYTES);
    }
}

#[test]
fn what_only_an_operator_mends_is_not_worth_another_handshake() {
    use rustls::{AlertDescription as Alert, CertificateError, Error, InvalidMessage};
    let rustls = |error: Error| Fault::from(error);
    for (fault, passes) in [
        (Fault::BadRecord, false),
        (Fault::Malformed, false),
        (Fault::Alert(80), true),
        (Fault::Alert(116), false),
        (rustls(CertificateError::UnknownIssuer.into()), false),
        (rustls(CertificateError::Expired.into()), false),
        (rustls(CertificateError::NotValidForName.into()), false),
        (rustls(InvalidMessage::InvalidContentType.into()), false),
        (rustls(Error::AlertReceived(Alert::InternalError)), true),
        (rustls(Error::AlertReceived(Alert::HandshakeFailure)), false),
        (rustls(Error::AlertReceived(Alert::UnknownCA)), false),
        (rustls(Error::DecryptError), true),
    ] {
        assert_eq!(fault.may_pass(), passes, "{fault}");
    }
}

/// Records with something to say, mostly.
fn records() -> impl Strategy<Value = Record> {
    let message = prop_oneof![
        Just(vec![24, 0, 0, 1, 0]),
        Just(vec![24, 0, 0, 1, 1]),
        Just(vec![24, 0]),
        Just(vec![0, 1, 1]),
        Just(vec![0, 0, 0, 0]),
        Just(vec![
            4, 0, 0, 15, 0, 0, 1, 0, 1, 2, 3, 4, 1, 9, 0, 1, 7, 0, 0
        ]),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let alert = prop_oneof![
        Just(vec![1, 0]),
        Just(vec![1, 90]),
        Just(vec![1, 112]),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    let data = prop::collection::vec(any::<u8>(), 0..40);
    let plain = prop_oneof![
        4 => data.prop_map(|plain| (content::APPLICATION_DATA, plain)),
        4 => message.prop_map(|plain| (content::HANDSHAKE, plain)),
        1 => alert.prop_map(|plain| (content::ALERT, plain)),
        1 => (any::<u8>(), Just(vec![1])),
    ];
    (plain, 0_usize..4).prop_map(|((kind, plain), padding)| Record {
        kind,
        plain,
        padding,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_it_is_cut_the_bytes_are_the_same(
        suite in 0_usize..6,
        client in any::<bool>(),
        messages in prop::collection::vec((1_usize..40_000, any::<bool>()), 1..6),
        cut in 1_usize..20_000,
        room in 64_usize..70_000,
    ) {
        let mut pair = shake(&configs(suites()[suite]), client, cut);
        let tls13 = pair.theirs.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        for (index, (len, refresh)) in messages.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().skip(index).take(len).collect();
            if refresh && tls13 {
                pair.refresh_theirs();
            }
            let sent = pair.they_send(&bytes);
            let mut got = Vec::new();
            for piece in sent.chunks(cut) {
                got.extend(pair.receive(piece).unwrap());
            }
            prop_assert!(got == bytes);
            prop_assert!(pair.send(&bytes, room) == bytes);
        }
    }

    #[test]
    fn a_changed_bit_is_noticed_and_nothing_panics(
        suite in 0_usize..6,
        len in 0_usize..300,
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut pair = shake(&configs(suites()[suite]), true, 9_000);
        pair.receive(&[]).unwrap();
        let mut sent = pair.they_send(&vec![b'x'; len + 1]);
        let at = at.index(sent.len());
        sent[at] ^= 1 << bit;
        // The version is ignored (RFC 8446, section 5.1), a longer record is waited for.
        match pair.receive(&sent) {
            Ok(got) => prop_assert!((1..3).contains(&at) || got.is_empty()),
            Err(_) => prop_assert!(pair.behind.len() == sent.len()),
        }
    }

    #[test]
    fn whatever_a_peer_seals_the_model_foretells_what_comes_of_it(
        suite in 0_usize..6,
        client in any::<bool>(),
        records in prop::collection::vec(records(), 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..40),
        cut in 1_usize..70,
        left in 1_u64..40,
    ) {
        let (ours, theirs) = forger(suites()[suite]);
        let mut duel = match client {
            true => Duel::between(ours, theirs),
            false => Duel::between(theirs, ours),
        };
        for _ in 0..2 {
            duel.holds(&records, &tail, cut);
            duel.answers(&vec![7; cut * 900], cut * 300, Some(left));
        }
    }

    #[test]
    fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let configs = configs(suites()[0]);
        let server = UnbufferedServerConnection::new(configs.server.clone()).unwrap();
        let mut out = Vec::new();
        let _ = Handshake::new(Role::Server(server)).advance(&bytes, &mut out);
        let client =
            UnbufferedClientConnection::new(configs.client.clone(), localhost()).unwrap();
        let mut handshake = Handshake::new(Role::Client(client));
        let _ = handshake.advance(&[], &mut out);
        let _ = handshake.advance(&bytes, &mut out);
    }
}
