//! One certificate authority for the whole test run, and what it signed.

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

/// A certificate and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// Everything in the test world that can be trusted, and one thing that cannot.
pub(crate) struct Pki {
    /// The authority.
    pub(crate) ca: String,
    /// For `localhost`, `127.0.0.1` and `::1`.
    pub(crate) server: Identity,
    /// The same with a new key.
    pub(crate) renewed: Identity,
    /// For another host name.
    pub(crate) elsewhere: Identity,
    /// For `localhost`, until long ago.
    pub(crate) expired: Identity,
    /// For `localhost`, from a time that is far away.
    pub(crate) early: Identity,
    /// A client's.
    pub(crate) client: Identity,
    /// Another client's.
    pub(crate) other_client: Identity,
    /// For `localhost`, signed by an authority that nobody knows.
    pub(crate) stranger: Identity,
    /// That authority.
    pub(crate) stranger_ca: String,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let (ca, unknown) = (authority("known"), authority("unknown"));
    Pki {
        ca: ca.pem(),
        server: ca.sign(&["localhost", "127.0.0.1", "::1"]),
        renewed: ca.sign(&["localhost", "127.0.0.1", "::1"]),
        elsewhere: ca.sign(&["elsewhere.test"]),
        expired: ca.sign_for(&["localhost"], (1980, 1990)),
        early: ca.sign_for(&["localhost"], (3000, 4000)),
        client: ca.sign(&["client.test"]),
        other_client: ca.sign(&["other-client.test"]),
        stranger: unknown.sign(&["localhost", "127.0.0.1"]),
        stranger_ca: unknown.pem(),
    }
});

pub(crate) fn pki() -> &'static Pki {
    &PKI
}

/// Year, month and day.
type Day = (i32, u8, u8);

impl Pki {
    /// From the beginning of one day to that of another.
    pub(crate) fn dated(&self, names: &[&str], from: Day, until: Day) -> Identity {
        let mut params = params(names, (1975, 4096));
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        Identity {
            cert: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// As `openssl req -x509` makes them: signed by itself, and allowed to sign others.
    pub(crate) fn pinned(&self, names: &[&str], years: (i32, i32)) -> Identity {
        let mut params = params(names, years);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Identity {
            cert: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(names: &[&str], years: (i32, i32)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

trait Authority {
    fn sign(&self, names: &[&str]) -> Identity {
        self.sign_for(names, (1975, 4096))
    }

    /// From the beginning of one year to that of another.
    fn sign_for(&self, names: &[&str], years: (i32, i32)) -> Identity;
}

impl Authority for CertifiedIssuer<'static, KeyPair> {
    fn sign_for(&self, names: &[&str], years: (i32, i32)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = params(names, years).signed_by(&key, self).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Identity {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        (
            vec![cert],
            PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap(),
        )
    }
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki().ca.as_bytes()).unwrap())
        .unwrap();
    roots
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client that trusts the authority and offers `http/1.1`.
pub(crate) fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_config_as(versions, None)
}

/// The same with a certificate of its own.
pub(crate) fn client_config_as(
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Identity>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (cert, key) = identity.parts();
            builder.with_client_auth_cert(cert, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// A client's side of a connection to `localhost`.
pub(crate) fn client(config: &Arc<ClientConfig>) -> Connection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::clone(config), name)
        .unwrap()
        .into()
}

/// A server that shows this identity and speaks `http/1.1`.
pub(crate) fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    server_config_of(identity, rustls::ALL_VERSIONS, false)
}

/// The same for some versions only, and with client certificates demanded or not.
pub(crate) fn server_config_of(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    demand: bool,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = if demand {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider()).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let (cert, key) = identity.parts();
    let mut config = builder.with_single_cert(cert, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The same, with these key exchanges only.
pub(crate) fn server_config_with(
    identity: &Identity,
    groups: &[&'static dyn SupportedKxGroup],
) -> Arc<ServerConfig> {
    let provider = CryptoProvider {
        kx_groups: groups.to_vec(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let (cert, key) = identity.parts();
    let config = builder.with_no_client_auth().with_single_cert(cert, key);
    Arc::new(config.unwrap())
}

/// A client that trusts the authority and offers these key exchanges only.
pub(crate) fn client_config_with(groups: &[&'static dyn SupportedKxGroup]) -> ClientConfig {
    let provider = CryptoProvider {
        kx_groups: groups.to_vec(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    builder
        .with_root_certificates(roots())
        .with_no_client_auth()
}

/// A server's side of a connection.
pub(crate) fn server(config: &Arc<ServerConfig>) -> Connection {
    ServerConnection::new(Arc::clone(config)).unwrap().into()
}
