//! `sluicegate health`: whether a gateway is ready, as an exit code for whoever looks after a container.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::cli::output::fail;
use crate::config::{BaseUrl, Config, Host, Listen, ProxyProtocol};
use crate::hops::proxy_protocol::OWN;
use crate::net::sockets::answer::final_status;
use crate::net::sockets::dial::{self, Bound};
use crate::net::transport::tls_config::{ALPN, server_name};
use crate::policy::announced::is_trusted;

/// `sluicegate health …`
#[derive(Args)]
pub(crate) struct HealthArguments {
    /// The gateway: https://host:port/path or http:, host:port, or unix:/path; else as configured
    url: Option<String>,
}

/// How long all of it may take: shorter than what a container's check is given as a rule.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks a gateway; `config` loads the configuration, where no URL is given.
pub(crate) fn run(
    arguments: &HealthArguments,
    config: impl FnOnce() -> Result<Config, String>,
) -> ExitCode {
    let place = match &arguments.url {
        Some(url) => parse(url).map(|place| (place, &b""[..])),
        None => config().and_then(|config| {
            let place = configured(&config)?;
            Ok((place, introduction(&config)?))
        }),
    };
    let asked = place.and_then(|(place, introduction)| {
        let status =
            ask(&place, introduction).map_err(|error| format!("{}: {error}", shown(&place)))?;
        match status {
            200 => Ok(()),
            503 => Err(format!("{}: it is draining (503)", shown(&place))),
            status => Err(format!("{}: it answered {status}", shown(&place))),
        }
    });
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message, ExitCode::FAILURE),
    }
}

/// A gateway's health, as a person names it.
fn parse(text: &str) -> Result<BaseUrl, String> {
    let whole = match text.strip_prefix("unix:") {
        Some(path) => return Ok(at(Host::Unix(path.into()), 0, false, "")),
        None if text.contains("://") => text.to_owned(),
        None => format!("http://{text}"),
    };
    let mut base = BaseUrl::parse(&whole).map_err(|expected| format!("{text}: {expected}"))?;
    if base.path.is_empty() {
        base.path.push_str(HEALTH);
    }
    Ok(base)
}

const HEALTH: &str = "/health";

/// That of a gateway with this configuration: where operators ask, or its first address.
fn configured(config: &Config) -> Result<BaseUrl, String> {
    let operators = config.metrics.listen.first();
    let (listen, tls) = match operators {
        Some(listen) => (listen, false),
        None => {
            let first = config
                .server
                .listen
                .first()
                .ok_or("server.listen is empty")?;
            (first, config.server.tls.is_some())
        }
    };
    let base = if operators.is_some() {
        ""
    } else {
        &config.server.base_path
    };
    match listen.near() {
        Some(Listen::Unix(path)) => Ok(at(Host::Unix(path), 0, tls, base)),
        Some(Listen::Tcp(address)) => Ok(at(Host::Ip(address.ip()), address.port(), tls, base)),
        None => {
            Err("the configured port is 0, any free one: name the one that the log says".to_owned())
        }
    }
}

/// What has to be said before anything else, where the first of its addresses is asked.
fn introduction(config: &Config) -> Result<&'static [u8], String> {
    let server = &config.server;
    if !config.metrics.listen.is_empty() || server.proxy_protocol != ProxyProtocol::Required {
        return Ok(b"");
    }
    let near = server.listen.first().and_then(Listen::near);
    let peer = match near {
        Some(Listen::Tcp(address)) => Some(address.ip()),
        Some(Listen::Unix(_)) | None => None,
    };
    match (peer, is_trusted(config, peer)) {
        (Some(ip), false) => Err(format!(
            "server.proxy_protocol = \"required\" lets nobody in from {ip}; set metrics.listen, where operators \
             ask, or put {ip} among server.trusted"
        )),
        _ => Ok(OWN),
    }
}

fn at(host: Host, port: u16, tls: bool, base: &str) -> BaseUrl {
    let authority = match &host {
        Host::Unix(_) => "localhost".to_owned(),
        host => format!("{host}:{port}"),
    };
    BaseUrl {
        tls,
        host,
        port,
        authority,
        path: format!("{base}{HEALTH}"),
    }
}

fn shown(place: &BaseUrl) -> String {
    match &place.host {
        Host::Unix(path) => format!("unix:{}", path.display()),
        _ => place.to_string(),
    }
}

/// The status of its answer.
fn ask(place: &BaseUrl, introduction: &[u8]) -> io::Result<u16> {
    let bound = Bound::of(PATIENCE);
    let mut stream = dial::base(place, bound)?;
    stream.write_all(introduction)?;
    if !place.tls {
        return status(&mut stream, place);
    }
    let name = server_name(&place.host)?;
    let connection = trusting_all().and_then(|config| ClientConnection::new(config, name));
    let connection = connection.map_err(io::Error::other)?;
    status(&mut StreamOwned::new(connection, stream), place)
}

fn status(stream: &mut (impl Read + Write), place: &BaseUrl) -> io::Result<u16> {
    let BaseUrl {
        path, authority, ..
    } = place;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    final_status(stream)
}

/// Takes any certificate: nothing is said that is anybody's secret, nothing heard but a status, and what is asked is whether
/// the gateway serves, mostly by an address that no certificate is for.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

fn trusting_all() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = aws_lc_rs::default_provider();
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
