//! The `Server-Timing` line of a response (W3C Server Timing): what was the gateway's share until now, what the
//! provider's. Opt-in, a line of its own beside the provider's.

use std::io::Write as _;
use std::time::Duration;

use crate::base::bytes::within;
use crate::observe::Times;

/// A field line without an allocation.
pub(crate) struct TimingLine {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

/// Names and three times of twenty digits.
const LINE_BYTES_MAX: usize = 160;

impl TimingLine {
    /// The line of a request that began `age` ago.
    #[must_use]
    pub(crate) fn new(times: &Times, age: Duration) -> Self {
        let connecting = times.connecting().unwrap_or_default();
        let connect = connecting.connect + connecting.tls.unwrap_or_default();
        let provider = times.to_head().unwrap_or_default();
        let gateway = times.gateway(age).saturating_sub(connect);
        let mut line = Self {
            bytes: [0; LINE_BYTES_MAX],
            len: 0,
        };
        let mut room = &mut line.bytes[..];
        let (gateway, provider) = (millis(gateway), millis(provider));
        let written = match times.connecting() {
            Some(_) => write!(
                room,
                "Server-Timing: gateway;dur={gateway:.3}, connect;dur={:.3}, provider;dur={provider:.3}\r\n",
                millis(connect)
            ),
            None => write!(
                room,
                "Server-Timing: gateway;dur={gateway:.3}, provider;dur={provider:.3}\r\n"
            ),
        };
        let left = room.len();
        if written.is_ok() {
            line.len = LINE_BYTES_MAX - left;
        }
        line
    }

    /// The line.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        within(&self.bytes, ..self.len)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
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
        times.sent(at(40));
        times.head(at(1040));
        let line = TimingLine::new(&times, at(1050));
        let expected = "Server-Timing: gateway;dur=0.050, provider;dur=1.000\r\n";
        assert_eq!(str::from_utf8(line.as_bytes()).unwrap(), expected);
        times.connected(Connecting {
            connect: at(10),
            tls: Some(at(20)),
        });
        let line = TimingLine::new(&times, at(1050));
        let expected =
            "Server-Timing: gateway;dur=0.020, connect;dur=0.030, provider;dur=1.000\r\n";
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
