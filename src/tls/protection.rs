//! The AEAD that protects the records of one direction: RFC 8446, section 5.2, and RFC 5246, section 6.2.3.3 with
//! RFC 5288 and RFC 7905.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN};
use aws_lc_rs::aead::{Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedCipherSuite};

use crate::base::bytes::within;

use super::{Fault, HEADER_BYTES, Header, content};

/// Most plaintext bytes in a record.
pub(crate) const PLAIN_BYTES_MAX: usize = 16 * 1024;
/// Most bytes that a record is longer than its plaintext: header, explicit nonce or inner type, tag.
pub(crate) const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + EXPLICIT_BYTES + TAG_BYTES;

const TAG_BYTES: usize = 16;
const EXPLICIT_BYTES: usize = 8;

/// How nonce, additional data and type are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The type stands in the ciphertext, the header is the additional data.
    Tls13,
    /// Half of the nonce is sent with the record.
    Tls12Gcm,
    /// The nonce is made as in TLS 1.3.
    Tls12ChaCha,
}

/// See the module's documentation.
pub(crate) struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    form: Form,
    /// Of the next record.
    sequence: u64,
    /// How many records the key may seal.
    records_max: u64,
}

impl Protection {
    /// Takes over a direction from rustls.
    ///
    /// # Errors
    /// [`Fault::Unexpected`] for secrets of another kind than those that rustls hands out today.
    pub(crate) fn new(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        suite: SupportedCipherSuite,
    ) -> Result<Self, Fault> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
        let (algorithm, key, iv) = match &secrets {
            Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Fault::Unexpected),
        };
        let form = match (suite.version().version, &secrets) {
            (ProtocolVersion::TLSv1_3, _) => Form::Tls13,
            (_, Chacha20Poly1305 { .. }) => Form::Tls12ChaCha,
            _ => Form::Tls12Gcm,
        };
        let unbound = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Fault::Unexpected)?;
        Ok(Self {
            key: LessSafeKey::new(unbound),
            iv: iv.as_ref().try_into().map_err(|_| Fault::Unexpected)?,
            form,
            sequence,
            records_max: match suite {
                SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
                SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            },
        })
    }

    /// Whether it is time for another key.
    #[must_use]
    pub(crate) fn is_exhausted(&self) -> bool {
        // What a key update and an alert need is left.
        self.sequence >= self.records_max.saturating_sub(16)
    }

    /// Seals one record of at most [`PLAIN_BYTES_MAX`] into the start of `out`; returns its length. One pass over
    /// the bytes: they are encrypted from one buffer into the other.
    ///
    /// # Errors
    /// [`Fault::Exhausted`] when the key has protected all that it may, [`Fault::Overflow`] when there is not room.
    pub(crate) fn seal(&mut self, kind: u8, plain: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        if self.sequence >= self.records_max || plain.len() > PLAIN_BYTES_MAX {
            return Err(Fault::Exhausted);
        }
        let nonce = self.nonce();
        let (explicit, inner): (&[u8], &[u8]) = match self.form {
            Form::Tls13 => (&[], &[kind]),
            Form::Tls12Gcm => (nonce.last_chunk::<EXPLICIT_BYTES>().map_or(&[], |e| e), &[]),
            Form::Tls12ChaCha => (&[], &[]),
        };
        let body = explicit.len() + plain.len() + inner.len() + TAG_BYTES;
        let outer = match self.form {
            Form::Tls13 => content::APPLICATION_DATA,
            Form::Tls12Gcm | Form::Tls12ChaCha => kind,
        };
        let header = header(outer, body);
        let record = out.get_mut(..HEADER_BYTES + body).ok_or(Fault::Overflow)?;
        let (front, rest) = record.split_at_mut(HEADER_BYTES + explicit.len());
        let (sealed, tail) = rest.split_at_mut(plain.len());
        let (front_header, front_nonce) = front.split_at_mut(HEADER_BYTES);
        front_header.copy_from_slice(&header);
        front_nonce.copy_from_slice(explicit);
        let mut aad = [0; AAD_BYTES_MAX];
        let aad = self.additional(&mut aad, header, kind, plain.len());
        self.key
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plain,
                sealed,
                inner,
                tail,
            )
            .map_err(|_| Fault::Overflow)?;
        self.sequence += 1;
        Ok(HEADER_BYTES + body)
    }

    /// Opens one whole record into the start of `out`; returns its type and the length of its plaintext.
    /// What stands in `out` behind that is undefined. One pass over the bytes, as in [`seal`](Self::seal).
    ///
    /// # Errors
    /// What is wrong with the record; nothing counts then that `out` holds. [`Fault::Overflow`] also when there is less room than
    /// the record has bytes.
    pub(crate) fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<(u8, usize), Fault> {
        let header = Header::parse(record).ok_or(Fault::Malformed)?;
        let body = within(record, HEADER_BYTES..);
        if let Some(fault) = self.refuses(header) {
            return Err(fault);
        }
        let mut nonce = self.nonce();
        let sealed = match self.form {
            Form::Tls12Gcm => {
                let (explicit, sealed) = body
                    .split_first_chunk::<EXPLICIT_BYTES>()
                    .ok_or(Fault::BadRecord)?;
                if let Some(place) = nonce.last_chunk_mut::<EXPLICIT_BYTES>() {
                    *place = *explicit;
                }
                if let (Some(place), Some(salt)) =
                    (nonce.first_chunk_mut::<4>(), self.iv.first_chunk::<4>())
                {
                    *place = *salt;
                }
                sealed
            }
            Form::Tls13 | Form::Tls12ChaCha => body,
        };
        let (sealed, tag) = sealed
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(Fault::BadRecord)?;
        let len = sealed.len();
        let plain = out.get_mut(..len).ok_or(Fault::Overflow)?;
        let outer = self::header(header.content, header.len);
        let mut aad = [0; AAD_BYTES_MAX];
        let aad = self.additional(&mut aad, outer, header.content, len);
        self.key
            .open_separate_gather(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                sealed,
                tag,
                plain,
            )
            .map_err(|_| Fault::BadRecord)?;
        self.sequence = self.sequence.checked_add(1).ok_or(Fault::Exhausted)?;
        let (kind, len) = match self.form {
            Form::Tls12Gcm | Form::Tls12ChaCha => (header.content, len),
            // The type is the last byte that is not padding.
            Form::Tls13 => match plain.iter().rposition(|byte| *byte != 0) {
                Some(end) => (plain.get(end).copied().unwrap_or_default(), end),
                None => return Err(Fault::Unexpected),
            },
        };
        Ok((kind, len))
    }

    /// What is wrong with a record that begins like this, however it goes on. Padding does not make it longer than
    /// the longest plaintext (RFC 8446, section 5.4).
    #[must_use]
    pub(crate) fn refuses(&self, header: Header) -> Option<Fault> {
        let (types, added) = match self.form {
            Form::Tls13 => (content::APPLICATION_DATA..=content::APPLICATION_DATA, 1),
            Form::Tls12Gcm => (content::ALERT..=content::APPLICATION_DATA, EXPLICIT_BYTES),
            Form::Tls12ChaCha => (content::ALERT..=content::APPLICATION_DATA, 0),
        };
        if !types.contains(&header.content) {
            return Some(Fault::Unexpected);
        }
        (header.len > PLAIN_BYTES_MAX + added + TAG_BYTES).then_some(Fault::Overflow)
    }

    /// Makes the next record the first one, or the last of `left` that the key may seal.
    #[cfg(any(test, fuzzing))]
    pub(super) fn rewind(&mut self, left: Option<u64>) {
        self.sequence = left.map_or(0, |left| self.records_max - left);
    }

    /// The next record's nonce.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        if let Some(low) = nonce.last_chunk_mut::<8>() {
            *low = (u64::from_be_bytes(*low) ^ self.sequence).to_be_bytes();
        }
        nonce
    }

    /// What is authenticated but not encrypted.
    fn additional<'a>(
        &self,
        room: &'a mut [u8; AAD_BYTES_MAX],
        header: [u8; HEADER_BYTES],
        kind: u8,
        plain: usize,
    ) -> &'a [u8] {
        if self.form == Form::Tls13 {
            let (front, _) = room.split_at_mut(HEADER_BYTES);
            front.copy_from_slice(&header);
            return front;
        }
        let (front, back) = room.split_at_mut(8);
        front.copy_from_slice(&self.sequence.to_be_bytes());
        back.copy_from_slice(&self::header(kind, plain));
        room
    }
}

/// A sequence number and a header, for TLS 1.2.
const AAD_BYTES_MAX: usize = 8 + HEADER_BYTES;

fn header(kind: u8, len: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [kind, 3, 3, high, low]
}
