//! Our TLS stream beside monoio-rustls: one message there and back over a loopback connection on one core,
//! for the size of an event and for bulk. Both ends are of the same kind. And full handshakes in memory, both ends of
//! them, by how keys are agreed on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use monoio::io::{AsyncReadRentExt as _, AsyncWriteRentExt as _};
use monoio::{FusionDriver, RuntimeBuilder};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sluicegate::door::tls::{
    Handshake, Reactor, Received, Role, Scratch, Socket, Stream, TlsStream, Turns, seal_room,
};

type Failure = Box<dyn std::error::Error>;

const SIZES: [(&str, usize); 2] = [("event", 120), ("bulk", 64 * 1024)];

struct Pair {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

fn configs() -> Result<Pair, Failure> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    client.enable_secret_extraction = true;
    server.enable_secret_extraction = true;
    Ok(Pair {
        client: Arc::new(client),
        server: Arc::new(server),
    })
}

/// Two ends of a loopback connection.
fn connected() -> io::Result<(std::net::TcpStream, std::net::TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
    }
    Ok((near, far))
}

async fn receive(stream: &mut Stream, scratch: &RefCell<Scratch>, size: usize) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        let received = {
            let scratch = &mut *scratch.borrow_mut();
            let (room, cipher) = scratch.room(usize::MAX);
            stream.recv(room, cipher)?
        };
        match received {
            Received::Data(n) => left = left.saturating_sub(n),
            Received::Eof => return Err(io::ErrorKind::UnexpectedEof.into()),
            Received::Pending => poll_fn(|cx| stream.poll_readable(cx)).await,
        }
    }
    Ok(())
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.send(bytes)?;
    poll_fn(|cx| stream.poll_flush(cx)).await
}

async fn ours(configs: &Pair, size: usize, rounds: u64) -> Result<Duration, Failure> {
    Reactor::start(!monoio::utils::detect_uring())?;
    let (near, far) = connected()?;
    let name = ServerName::try_from("localhost")?;
    let client = Role::Client(UnbufferedClientConnection::new(
        configs.client.clone(),
        name,
    )?);
    let server = Role::Server(UnbufferedServerConnection::new(configs.server.clone())?);
    let room = seal_room();
    let mut near = TlsStream::new(Socket::from_fd(near.into())?, client, room.clone());
    let far = TlsStream::new(Socket::from_fd(far.into())?, server, room);
    let mut far = Stream::Tls(Box::new(far));
    let scratch = std::rc::Rc::new(RefCell::new(Scratch::new()));
    let shared = scratch.clone();
    let echo = monoio::spawn(async move {
        let message = vec![0; size];
        for _ in 0..=rounds {
            receive(&mut far, &shared, size).await?;
            send(&mut far, &message).await?;
        }
        io::Result::Ok(far)
    });
    let turns = Turns::new();
    monoio::spawn(turns.clone().run(Reactor::current()?));
    near.handshake(&scratch, &turns).await?;
    let mut near = Stream::Tls(Box::new(near));
    let message = vec![0; size];
    let mut began = Instant::now();
    for round in 0..=rounds {
        // The first is for warming up.
        if round == 1 {
            began = Instant::now();
        }
        send(&mut near, &message).await?;
        receive(&mut near, &scratch, size).await?;
    }
    let elapsed = began.elapsed();
    echo.await?;
    Ok(elapsed)
}

async fn theirs(configs: &Pair, size: usize, rounds: u64) -> Result<Duration, Failure> {
    let (near, far) = connected()?;
    for stream in [&near, &far] {
        stream.set_nonblocking(!monoio::utils::detect_uring())?;
    }
    let (near, far) = (
        monoio::net::TcpStream::from_std(near)?,
        monoio::net::TcpStream::from_std(far)?,
    );
    let acceptor = monoio_rustls::TlsAcceptor::from(configs.server.clone());
    let echo = monoio::spawn(async move {
        let mut far = acceptor.accept(far).await.map_err(io::Error::other)?;
        let mut buf = vec![0; size];
        for _ in 0..=rounds {
            let (read, back) = far.read_exact(buf).await;
            read?;
            let (written, back) = far.write_all(back).await;
            written?;
            buf = back;
        }
        io::Result::Ok(far)
    });
    let connector = monoio_rustls::TlsConnector::from(configs.client.clone());
    let mut near = connector
        .connect(ServerName::try_from("localhost")?, near)
        .await?;
    let mut buf = vec![0; size];
    let mut began = Instant::now();
    for round in 0..=rounds {
        if round == 1 {
            began = Instant::now();
        }
        let (written, back) = near.write_all(buf).await;
        written?;
        let (read, back) = near.read_exact(back).await;
        read?;
        buf = back;
    }
    let elapsed = began.elapsed();
    echo.await?;
    Ok(elapsed)
}

fn run(ours_or_theirs: bool, size: usize, rounds: u64) -> Result<Duration, Failure> {
    let configs = configs()?;
    let mut runtime = RuntimeBuilder::<FusionDriver>::new()
        .enable_timer()
        .build()?;
    runtime.block_on(async {
        match ours_or_theirs {
            true => ours(&configs, size, rounds).await,
            false => theirs(&configs, size, rounds).await,
        }
    })
}

/// How keys are agreed on where a peer knows both, and where it does not know the second.
const GROUPS: [(&str, &dyn SupportedKxGroup); 2] =
    [("x25519mlkem768", X25519MLKEM768), ("x25519", X25519)];

/// Configurations that resume nothing and agree on keys like this.
fn agreeing(group: &'static dyn SupportedKxGroup) -> Result<Pair, Failure> {
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    });
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    client.enable_secret_extraction = true;
    server.enable_secret_extraction = true;
    Ok(Pair {
        client: Arc::new(client),
        server: Arc::new(server),
    })
}

/// Shakes hands in memory; how long the first message is.
fn shake(configs: &Pair) -> Result<usize, Failure> {
    let name = ServerName::try_from("localhost")?;
    let client = UnbufferedClientConnection::new(configs.client.clone(), name)?;
    let mut client = Handshake::new(Role::Client(client));
    let server = UnbufferedServerConnection::new(configs.server.clone())?;
    let mut server = Handshake::new(Role::Server(server));
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.advance(&[], &mut to_server)?;
    let hello = to_server.len();
    let (mut done, mut server_done) = (false, false);
    while !(done && server_done) {
        let bytes = std::mem::take(&mut to_server);
        server_done = server_done || server.advance(&bytes, &mut to_client)?;
        let bytes = std::mem::take(&mut to_client);
        done = done || client.advance(&bytes, &mut to_server)?;
    }
    Ok(hello)
}

fn handshakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tls/handshake");
    for (name, kx) in GROUPS {
        let configs = agreeing(kx);
        assert!(configs.is_ok(), "{:?}", configs.err());
        let Ok(configs) = configs else { continue };
        let hello = shake(&configs);
        assert!(hello.is_ok(), "{hello:?}");
        group.bench_function(
            format!("{name}, {} bytes of hello", hello.unwrap_or(0)),
            |bencher| {
                bencher.iter(|| assert!(shake(&configs).is_ok()));
            },
        );
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("tls");
    for (size_name, size) in SIZES {
        group.throughput(Throughput::Bytes(2 * size as u64));
        for (name, ours) in [("ours", true), ("monoio_rustls", false)] {
            group.bench_function(format!("{size_name}/{name}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let elapsed = run(ours, size, rounds);
                    assert!(elapsed.is_ok(), "{elapsed:?}");
                    elapsed.unwrap_or_default()
                });
            });
        }
    }
    group.finish();
    handshakes(&mut criterion);
    criterion.final_summary();
}
