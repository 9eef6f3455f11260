//! How a provider's certificate is checked: by its chain to a root, as webpki does it; or it is itself one of the
//! certificates that somebody named, which webpki does not take where that may sign others (`openssl req -x509`).

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::tls::certificate::Validity;

use super::roots::Roots;

/// For connections that trust these roots.
///
/// # Errors
/// What rustls says of the roots.
pub(super) fn of(
    roots: Roots,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let chains = WebPkiServerVerifier::builder_with_provider(roots.store, provider);
    let chains = chains.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(Verifier {
        chains,
        pinned: roots.pinned,
    }))
}

#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    /// Sorted.
    pinned: Arc<[CertificateDer<'static>]>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // There may be a chain as well, to an authority of the same name, that does not hold.
            Err(_) if self.is_pinned(end_entity) => by_itself(end_entity, server_name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl Verifier {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let found = self
            .pinned
            .binary_search_by(|pinned| pinned.as_ref().cmp(certificate.as_ref()));
        found.is_ok()
    }
}

/// Name and time count as for any other certificate.
fn by_itself(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let validity = Validity::of(certificate).ok_or(CertificateError::BadEncoding)?;
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    if !validity.holds(now.as_secs()) {
        let (not_before, not_after) = (at(validity.not_before), at(validity.not_after));
        let error = match now < not_before {
            true => CertificateError::NotValidYetContext {
                time: now,
                not_before,
            },
            false => CertificateError::ExpiredContext {
                time: now,
                not_after,
            },
        };
        return Err(error.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}
