//! What stands in a file where something else was expected, told from the labels of PEM (RFC 7468).

/// Why no certificate was found in this.
#[must_use]
pub(crate) fn instead_of_certificates(content: &[u8]) -> &'static str {
    let holds = |end: &str| labels(content).any(|label| label.ends_with(end));
    match () {
        () if is_blank(content) => "the file is empty",
        () if holds("PRIVATE KEY") => "the file holds a private key, not a certificate",
        () if holds("CERTIFICATE REQUEST") => {
            "the file holds a certificate request, which an authority has to sign first"
        }
        () if holds("TRUSTED CERTIFICATE") => {
            "the file holds a certificate in OpenSSL's own form; convert it with openssl x509"
        }
        () => instead_of_pem(content).unwrap_or("found none"),
    }
}

/// Why no private key was found in this.
#[must_use]
pub(crate) fn instead_of_key(content: &[u8]) -> &'static str {
    let holds = |end: &str| labels(content).any(|label| label.ends_with(end));
    match () {
        () if is_blank(content) => "the file is empty",
        () if is_encrypted(content) => ENCRYPTED,
        () if holds("OPENSSH PRIVATE KEY") => "the file holds a key in OpenSSH's own form",
        () if holds("DSA PRIVATE KEY") => "unsupported key type: DSA",
        () if holds("CERTIFICATE") => "the file holds a certificate, not a private key",
        () if holds("CERTIFICATE REQUEST") => {
            "the file holds a certificate request, not a private key"
        }
        () if holds("PUBLIC KEY") => "the file holds a public key, not the private one",
        () => instead_of_pem(content).unwrap_or("found none"),
    }
}

/// What is said of a key that is encrypted.
pub(crate) const ENCRYPTED: &str =
    "the key is encrypted; decrypt it with openssl pkey -in FILE -out NEWFILE";

/// Whether the private key in this needs a passphrase.
#[must_use]
pub(crate) fn is_encrypted(content: &[u8]) -> bool {
    // As openssl has written them since 1.0, and before.
    labels(content).any(|label| label == "ENCRYPTED PRIVATE KEY")
        || lines(content).any(|line| line.starts_with(b"Proc-Type: 4,ENCRYPTED"))
}

fn instead_of_pem(content: &[u8]) -> Option<&'static str> {
    // A SEQUENCE, which as text would be a zero, and bytes that no text has.
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let is_der = content.first() == Some(&0x30) && !content.iter().all(is_text);
    is_der.then_some("the file is not PEM but DER or PKCS #12; convert it with openssl")
}

fn is_blank(content: &[u8]) -> bool {
    content.iter().all(u8::is_ascii_whitespace)
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .map(<[u8]>::trim_ascii)
}

fn labels(content: &[u8]) -> impl Iterator<Item = &str> {
    lines(content).filter_map(|line| {
        let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        std::str::from_utf8(label).ok()
    })
}
