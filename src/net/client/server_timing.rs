//! The `Server-Timing` line of a response (W3C Server Timing): what was the gateway's share until now, what the
//! provider's. Opt-in, a line of its own beside the provider's.

use std::time::Duration;

use crate::base::bytes::within;
use crate::observe::Times;

/// A field line without an allocation.
pub(crate) struct TimingLine {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

/// Names and four times of twenty digits.
const LINE_BYTES_MAX: usize = 192;

impl TimingLine {
    /// The line of a request that began `age` ago.
    #[must_use]
    pub(crate) fn new(times: &Times, age: Duration) -> Self {
        let connecting = times.connecting();
        let connect = connecting.map(|times| times.connect + times.tls.unwrap_or_default());
        let gateway = times.gateway(age);
        let mut line = Self {
            bytes: [0; LINE_BYTES_MAX],
            len: 0,
        };
        line.put(b"Server-Timing: gateway;dur=");
        line.millis(gateway.saturating_sub(connect.unwrap_or_default()));
        line.put(b", waited;dur=");
        line.millis(times.total_wait().unwrap_or_default());
        if let Some(connect) = connect {
            line.put(b", connect;dur=");
            line.millis(connect);
        }
        line.put(b", provider;dur=");
        line.millis(times.to_head().unwrap_or_default());
        line.put(b"\r\n");
        line
    }

    /// The line.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        within(&self.bytes, ..self.len)
    }

    /// Milliseconds to three decimals. By integers: floating point would take a tenth of what a request does.
    fn millis(&mut self, time: Duration) {
        let micros = time.as_secs().saturating_mul(1_000_000);
        let micros = micros.saturating_add(u64::from((time.subsec_nanos() + 500) / 1000));
        let digit = |of: u64| b'0' + u8::try_from(of % 10).unwrap_or_default();
        self.put(itoa::Buffer::new().format(micros / 1000).as_bytes());
        self.put(&[b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
        debug_assert!(self.len < LINE_BYTES_MAX, "sized for the longest");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::times::Connecting;

    const fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn the_shares_are_told_apart() {
        let mut times = Times::default();
        times.waited(at(30));
        times.sent(at(40));
        times.head(at(1040));
        let line = TimingLine::new(&times, at(1050));
        let expected = "Server-Timing: gateway;dur=0.050, waited;dur=0.030, provider;dur=1.000\r\n";
        assert_eq!(str::from_utf8(line.as_bytes()).unwrap(), expected);
        times.connected(Connecting {
            connect: at(10),
            tls: Some(at(20)),
        });
        let line = TimingLine::new(&times, at(1050));
        let expected = "Server-Timing: gateway;dur=0.020, waited;dur=0.030, connect;dur=0.030, provider;dur=1.000\r\n";
        assert_eq!(str::from_utf8(line.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn the_longest_line_fits() {
        let mut times = Times::default();
        let ever = Duration::from_secs(u64::MAX / 4);
        times.connected(Connecting {
            connect: ever,
            tls: None,
        });
        times.sent(Duration::ZERO);
        times.head(ever);
        assert!(!TimingLine::new(&times, ever * 2).as_bytes().is_empty());
    }
}
