//! TLS under attack: hostile bytes in both handshakes, and anything that a peer with the keys can seal.
//!
//! A model foretells what comes of sealed records, see `sluicegate::door::fuzzing::tls`.

#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sluicegate::door::fuzzing::tls::{Duel, Record, established};
use sluicegate::door::tls::{Handshake, Role};

#[derive(Arbitrary, Debug)]
enum Attack {
    /// On a client or a server, established with one of the suites.
    Established {
        suite: u8,
        client: bool,
        records: Vec<Sealed>,
        tail: Vec<u8>,
        cut: u16,
        answer: u16,
        room: u16,
        left: Option<u8>,
    },
    /// The first flight of a client, with changes, then bytes.
    Hello {
        suite: u8,
        edits: Vec<Edit>,
        behind: Vec<u8>,
        cut: u16,
    },
    /// The first flight of a server, with changes, then bytes.
    Flight {
        suite: u8,
        edits: Vec<Edit>,
        behind: Vec<u8>,
        cut: u16,
    },
    /// The second flight of a client, with changes, then bytes.
    Second {
        suite: u8,
        edits: Vec<Edit>,
        behind: Vec<u8>,
        cut: u16,
    },
}

#[derive(Arbitrary, Debug)]
struct Sealed {
    kind: Kind,
    plain: Plain,
    padding: u8,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Data,
    Handshake,
    Alert,
    Other(u8),
}

#[derive(Arbitrary, Debug)]
enum Plain {
    Bytes(Vec<u8>),
    Long(u16),
    KeyUpdate(bool),
    HelloRequest,
    Ticket {
        nonce: u8,
        ticket: u16,
        behind: Vec<u8>,
    },
}

impl From<&Sealed> for Record {
    fn from(sealed: &Sealed) -> Self {
        let plain = match &sealed.plain {
            Plain::Bytes(bytes) => bytes.clone(),
            Plain::Long(len) => vec![b'x'; usize::from(len % 16_385)],
            Plain::KeyUpdate(asks) => vec![24, 0, 0, 1, u8::from(*asks)],
            Plain::HelloRequest => vec![0; 4],
            Plain::Ticket {
                nonce,
                ticket,
                behind,
            } => {
                let ticket = ticket % 16_000;
                let mut body = vec![0, 0, 1, 0, 1, 2, 3, 4, *nonce];
                body.resize(9 + usize::from(*nonce), 1);
                body.extend(ticket.to_be_bytes());
                body.resize(body.len() + usize::from(ticket), 2);
                body.extend([0, 0]);
                let mut message = (body.len() as u32).to_be_bytes().to_vec();
                message[0] = 4;
                message.extend(body);
                message.extend(behind);
                message
            }
        };
        let kind = match sealed.kind {
            Kind::Data => 23,
            Kind::Handshake => 22,
            Kind::Alert => 21,
            Kind::Other(kind) => kind,
        };
        // No more than a record holds.
        let padding = usize::from(sealed.padding).min(16_384 - plain.len().min(16_384));
        Self {
            kind,
            plain,
            padding,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Edit {
    Flip(u16, u8),
    Insert(u16, Vec<u8>),
    Remove(u16, u8),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: &u16| usize::from(*at) % (bytes.len() + 1);
        match self {
            Self::Flip(at, bits) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Insert(at, new) => {
                let at = place(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Remove(at, len) => {
                let at = place(at);
                bytes.drain(at..(at + usize::from(*len)).min(bytes.len()));
            }
        }
    }
}

struct World {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// Us as a client and as a server.
    duels: [Duel; 2],
}

impl World {
    fn new(suite: usize) -> Self {
        let made = generate_simple_self_signed(["localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a root");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![aws_lc_rs::ALL_CIPHER_SUITES[suite]],
            ..aws_lc_rs::default_provider()
        });
        let versions = [provider.cipher_suites[0].version()];
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder
            .with_protocol_versions(&versions)
            .expect("a version");
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.enable_secret_extraction = true;
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder
            .with_protocol_versions(&versions)
            .expect("a version");
        let server = builder.with_no_client_auth();
        let server = server.with_single_cert(vec![cert.der().clone()], key);
        let mut server = server.expect("a fitting key");
        server.enable_secret_extraction = true;
        server.ticketer = aws_lc_rs::Ticketer::new().expect("a ticketer");
        let (client, server) = (Arc::new(client), Arc::new(server));
        let peers = || established(client_of(&client), server_of(&server));
        let (ours, theirs) = peers();
        let as_client = Duel::between(ours, theirs);
        let (theirs, ours) = peers();
        let as_server = Duel::between(ours, theirs);
        Self {
            client,
            server,
            duels: [as_client, as_server],
        }
    }

    fn client(&self) -> Handshake {
        Handshake::new(Role::Client(client_of(&self.client)))
    }

    fn server(&self) -> Handshake {
        Handshake::new(Role::Server(server_of(&self.server)))
    }

    fn run(&mut self, attack: &Attack) {
        match attack {
            Attack::Established {
                client,
                records,
                tail,
                cut,
                answer,
                room,
                left,
                ..
            } => {
                let records: Vec<Record> = records.iter().take(80).map(Record::from).collect();
                let duel = &mut self.duels[usize::from(!client)];
                duel.holds(&records, tail, 1 + usize::from(*cut));
                let left = left.map(|left| 1 + u64::from(left));
                duel.answers(&vec![b'y'; usize::from(*answer)], usize::from(*room), left);
            }
            Attack::Hello {
                edits, behind, cut, ..
            } => {
                let hello = said(&mut self.client(), &[]);
                suffer(self.server(), hello, edits, behind, *cut);
            }
            Attack::Flight {
                edits, behind, cut, ..
            } => {
                let mut ours = self.client();
                let flight = said(&mut self.server(), &said(&mut ours, &[]));
                suffer(ours, flight, edits, behind, *cut);
            }
            Attack::Second {
                edits, behind, cut, ..
            } => {
                let (mut ours, mut theirs) = (self.server(), self.client());
                let flight = said(&mut ours, &said(&mut theirs, &[]));
                suffer(ours, said(&mut theirs, &flight), edits, behind, *cut);
            }
        }
    }
}

fn client_of(config: &Arc<ClientConfig>) -> UnbufferedClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    UnbufferedClientConnection::new(config.clone(), name).expect("a client")
}

fn server_of(config: &Arc<ServerConfig>) -> UnbufferedServerConnection {
    UnbufferedServerConnection::new(config.clone()).expect("a server")
}

/// What one end says to this.
fn said(end: &mut Handshake, received: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    end.advance(received, &mut out).expect("nothing wrong");
    out
}

/// Neither a panic nor a loop; once established, what is behind goes through the record layer.
fn suffer(mut ours: Handshake, mut flight: Vec<u8>, edits: &[Edit], behind: &[u8], cut: u16) {
    edits.iter().for_each(|edit| edit.apply(&mut flight));
    flight.extend_from_slice(behind);
    let mut out = Vec::new();
    let mut pieces = flight.chunks(1 + usize::from(cut));
    while let Some(piece) = pieces.next() {
        match ours.advance(piece, &mut out) {
            Ok(false) => {}
            Ok(true) => break,
            Err(_) => return,
        }
    }
    let Ok((mut traffic, mut rest)) = ours.finish() else {
        return;
    };
    rest.extend(pieces.flatten());
    let mut plain = vec![0; rest.len()];
    let opened = traffic.open(&rest, &mut plain);
    assert_eq!(opened.filled, 0, "nobody has sealed anything");
    assert!(opened.consumed <= rest.len());
}

impl Attack {
    fn suite(&self) -> usize {
        let (Self::Established { suite, .. }
        | Self::Hello { suite, .. }
        | Self::Flight { suite, .. }
        | Self::Second { suite, .. }) = self;
        // All of TLS 1.3, and those of TLS 1.2 that go with an ECDSA certificate.
        usize::from(suite % 6)
    }
}

thread_local! {
    static WORLDS: RefCell<Vec<World>> = RefCell::new((0..6).map(World::new).collect());
}

fuzz_target!(|attack: Attack| {
    WORLDS.with_borrow_mut(|worlds| worlds[attack.suite()].run(&attack));
});
