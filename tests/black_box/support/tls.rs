//! Certificates made once per run, and rustls over blocking sockets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// The tests' certificate authority and what it signed.
struct Pki {
    authority_pem: String,
    authority_der: CertificateDer<'static>,
    server_pem: (String, String),
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    client: (CertificateDer<'static>, PrivateKeyDer<'static>),
    dir: PathBuf,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "sluicegate tests");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        (cert, key)
    };
    let (cert, key) = leaf(&["localhost", "127.0.0.1", "::1"]);
    let (client_cert, client_key) = leaf(&["client"]);
    Pki {
        authority_pem: authority.pem(),
        authority_der: authority.der().clone(),
        server_pem: (cert.pem(), key.serialize_pem()),
        server: (
            cert.der().clone(),
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        ),
        client: (
            client_cert.der().clone(),
            PrivateKeyDer::try_from(client_key.serialize_der()).unwrap(),
        ),
        dir: super::gateway::scratch_dir(),
    }
});

fn file(name: &str, content: &str) -> PathBuf {
    let path = PKI.dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// The authority's certificate as a PEM file.
pub fn authority_file() -> PathBuf {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| file("ca.pem", &PKI.authority_pem));
    FILE.clone()
}

/// Certificate and key for the gateway, for localhost and loopback addresses.
pub fn server_files() -> (PathBuf, PathBuf) {
    static FILES: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
        (
            file("cert.pem", &PKI.server_pem.0),
            file("key.pem", &PKI.server_pem.1),
        )
    });
    FILES.clone()
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(PKI.authority_der.clone()).unwrap();
    roots
}

/// A client that trusts the tests' authority.
pub fn client_config() -> ClientConfig {
    ClientConfig::builder()
        .with_root_certificates(roots())
        .with_no_client_auth()
}

/// The same with a client certificate.
pub fn client_config_with_certificate() -> ClientConfig {
    let (cert, key) = (PKI.client.0.clone(), PKI.client.1.clone_key());
    ClientConfig::builder()
        .with_root_certificates(roots())
        .with_client_auth_cert(vec![cert], key)
        .unwrap()
}

/// A server with the tests' certificate.
pub fn server_config() -> ServerConfig {
    let (cert, key) = (PKI.server.0.clone(), PKI.server.1.clone_key());
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap()
}

/// A client's stream; the handshake happens with the first bytes.
pub fn client(tcp: TcpStream, config: ClientConfig) -> TlsOver<ClientConnection> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsOver {
        tls: ClientConnection::new(Arc::new(config), name).unwrap(),
        tcp,
    }
}

/// A server's stream.
pub fn server(tcp: TcpStream) -> TlsOver<ServerConnection> {
    server_with(tcp, Arc::new(server_config()))
}

/// A server's stream with a configuration of the test's own.
pub fn server_with(tcp: TcpStream, config: Arc<ServerConfig>) -> TlsOver<ServerConnection> {
    TlsOver {
        tls: ServerConnection::new(config).unwrap(),
        tcp,
    }
}

/// A blocking TLS stream. Dropping it sends close_notify, unless the socket was shut down or told to reset.
pub struct TlsOver<C: Side> {
    pub tls: C,
    tcp: TcpStream,
}

/// What both roles of rustls share.
pub trait Side: Send {
    fn common(&mut self) -> &mut dyn Common;
}

/// The calls that a stream needs of a connection.
pub trait Common {
    fn read_plain(&mut self, tcp: &mut TcpStream, out: &mut [u8]) -> io::Result<usize>;
    fn write_plain(&mut self, tcp: &mut TcpStream, bytes: &[u8]) -> io::Result<usize>;
    fn close(&mut self, tcp: &mut TcpStream);
}

macro_rules! side {
    ($connection:ty) => {
        impl Side for $connection {
            fn common(&mut self) -> &mut dyn Common {
                self
            }
        }
        impl Common for $connection {
            fn read_plain(&mut self, tcp: &mut TcpStream, out: &mut [u8]) -> io::Result<usize> {
                rustls::Stream::new(self, tcp).read(out)
            }
            fn write_plain(&mut self, tcp: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
                let mut stream = rustls::Stream::new(self, tcp);
                let n = stream.write(bytes)?;
                stream.flush()?;
                Ok(n)
            }
            fn close(&mut self, tcp: &mut TcpStream) {
                self.send_close_notify();
                let _ = self.write_tls(tcp);
            }
        }
    };
}
side!(ClientConnection);
side!(ServerConnection);

impl<C: Side> Read for TlsOver<C> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.tls.common().read_plain(&mut self.tcp, out)
    }
}

impl<C: Side> Write for TlsOver<C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.common().write_plain(&mut self.tcp, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<C: Side> Drop for TlsOver<C> {
    fn drop(&mut self) {
        self.tls.common().close(&mut self.tcp);
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}
