//! Against certificates of rcgen's and keys of openssl's.

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SerialNumber, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::pem::{instead_of_certificates, instead_of_key, is_encrypted};
use super::*;

fn certificate(from: (i32, u8, u8), until: (i32, u8, u8), serial: Vec<u8>) -> Vec<u8> {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    params.serial_number = Some(SerialNumber::from(serial));
    let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    cert.der().to_vec()
}

fn seconds(text: &str) -> u64 {
    date::parse_rfc3339(text).unwrap()
}

macro_rules! corpus {
    ($name:literal) => {
        (
            $name,
            &include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/corpus/keys/",
                $name
            ))[..],
        )
    };
}

#[test]
fn times_are_read_in_both_forms() {
    for (from, until, expected) in [
        // 2050 is the first year in the longer form.
        (
            (2024, 2, 29),
            (2049, 12, 31),
            ("2024-02-29T00:00:00Z", "2049-12-31T00:00:00Z"),
        ),
        (
            (1970, 1, 1),
            (2050, 1, 1),
            ("1970-01-01T00:00:00Z", "2050-01-01T00:00:00Z"),
        ),
        // Before 1970 counts as its beginning.
        (
            (1951, 7, 1),
            (9999, 12, 31),
            ("1970-01-01T00:00:00Z", "9999-12-31T00:00:00Z"),
        ),
    ] {
        let validity = Validity::of(&certificate(from, until, vec![1])).unwrap();
        let expected = (seconds(expected.0), seconds(expected.1));
        assert_eq!((validity.not_before, validity.not_after), expected);
    }
}

#[test]
fn operators_are_warned_two_weeks_ahead() {
    let validity = Validity {
        not_before: seconds("2026-01-01T00:00:00Z"),
        not_after: seconds("2026-06-30T12:00:00Z"),
    };
    for (now, expected) in [
        ("2025-12-31T23:59:59Z", Some("not valid before Thu, 01 Jan")),
        ("2026-01-01T00:00:00Z", None),
        ("2026-06-16T12:00:00Z", None),
        (
            "2026-06-16T12:00:01Z",
            Some("expires in 13 days, on Tue, 30 Jun"),
        ),
        ("2026-06-30T12:00:00Z", Some("expires in 0 days")),
        ("2026-06-30T12:00:01Z", Some("expired on Tue, 30 Jun 2026")),
    ] {
        let warning = validity.warning(seconds(now));
        match expected {
            None => assert_eq!(warning, None, "{now}"),
            Some(words) => assert!(warning.as_ref().unwrap().contains(words), "{warning:?}"),
        }
        let outside = ["expired", "before"].map(|word| expected.is_some_and(|e| e.contains(word)));
        assert_eq!(validity.holds(seconds(now)), outside == [false; 2], "{now}");
    }
}

#[test]
fn a_chain_holds_while_all_of_it_does() {
    let validity = |not_before, not_after| Validity {
        not_before,
        not_after,
    };
    assert_eq!(validity(1, 9).and(validity(3, 12)), validity(3, 9));
}

#[test]
fn keys_are_named_for_what_they_are() {
    for ((name, pem), expected) in [
        (corpus!("rsa_1024.key"), "RSA of 1024 bits"),
        (corpus!("rsa_1024_pkcs8.key"), "RSA of 1024 bits"),
        (corpus!("rsa_2048.key"), "RSA of 2048 bits"),
        (corpus!("rsa_pss.key"), "RSA-PSS"),
        (corpus!("secp256k1.key"), "EC on secp256k1"),
        (corpus!("secp256k1_pkcs8.key"), "EC on secp256k1"),
        (corpus!("p256.key"), "EC on P-256"),
        (corpus!("p521.key"), "EC on P-521"),
        (corpus!("ed25519.key"), "Ed25519"),
        (corpus!("ed448.key"), "Ed448"),
        (corpus!("x25519.key"), "X25519, which signs nothing"),
        (corpus!("dsa_pkcs8.key"), "DSA"),
    ] {
        let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
        let form = match &key {
            PrivateKeyDer::Pkcs1(_) => KeyForm::Pkcs1,
            PrivateKeyDer::Sec1(_) => KeyForm::Sec1,
            _ => KeyForm::Pkcs8,
        };
        assert_eq!(key_kind(form, key.secret_der()), expected, "{name}");
        assert!(!is_encrypted(pem), "{name}");
    }
    assert_eq!(key_kind(KeyForm::Pkcs8, b"\x30"), "one of an unknown kind");
}

#[test]
fn what_stands_in_a_keys_place_is_named() {
    let certificate = b"-----BEGIN CERTIFICATE-----\r\nAA==\r\n-----END CERTIFICATE-----\r\n";
    let empty = ("empty", &b" \n"[..]);
    let words = ("words", &b"no key here"[..]);
    for ((name, content), expected) in [
        (corpus!("encrypted.key"), "is encrypted; decrypt it with"),
        (corpus!("encrypted_traditional.key"), "is encrypted"),
        (corpus!("dsa.key"), "unsupported key type: DSA"),
        (corpus!("openssh.key"), "OpenSSH"),
        (corpus!("public.key"), "a public key, not the private one"),
        (corpus!("request.pem"), "a certificate request"),
        (corpus!("der.key"), "DER or PKCS #12"),
        (corpus!("parameters.key"), "found none"),
        (
            ("certificate", certificate),
            "a certificate, not a private key",
        ),
        (empty, "is empty"),
        (words, "found none"),
    ] {
        let said = instead_of_key(content);
        assert!(said.contains(expected), "{name}: {said}");
    }
    for ((name, content), expected) in [
        (corpus!("p256.key"), "a private key, not a certificate"),
        (corpus!("encrypted.key"), "a private key, not a certificate"),
        (corpus!("request.pem"), "an authority has to sign first"),
        (corpus!("der.key"), "DER or PKCS #12"),
        (empty, "is empty"),
        (words, "found none"),
    ] {
        let said = instead_of_certificates(content);
        assert!(said.contains(expected), "{name}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_validity_is_read(
        from in (1970_i32..9000, 1_u8..13, 1_u8..29),
        until in (1970_i32..9999, 1_u8..13, 1_u8..29),
        serial in prop::collection::vec(1_u8.., 1..20),
    ) {
        let der = certificate(from, until, serial);
        let expected = |(year, month, day)| {
            seconds(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"))
        };
        let validity = Validity { not_before: expected(from), not_after: expected(until) };
        prop_assert_eq!(Validity::of(&der), Some(validity));
        // Whatever is cut off or behind it: nothing else comes of it.
        for len in 0..der.len() {
            prop_assert!(Validity::of(&der[..len]).is_none());
        }
        prop_assert_eq!(Validity::of(&[der, vec![0; 3]].concat()), Some(validity));
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..600, bit in 0_u8..8) {
        let _ = Validity::of(&bytes);
        for form in [KeyForm::Pkcs8, KeyForm::Pkcs1, KeyForm::Sec1] {
            let _ = key_kind(form, &bytes);
        }
        let _ = (instead_of_key(&bytes), instead_of_certificates(&bytes));
        let mut der = certificate((2020, 1, 1), (2030, 1, 1), vec![1]);
        let at = at % der.len();
        der[at] ^= 1 << bit;
        let _ = Validity::of(&der);
    }
}
