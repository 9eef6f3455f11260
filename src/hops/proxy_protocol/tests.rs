//! Headers as balancers send them, headers that are none, and some made at random.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Whole, at every cut, and with what may come behind it.
#[track_caller]
fn expect(header: &[u8], expected: Result<Begin, Defect>) {
    assert_eq!(read(header), expected, "{}", header.escape_ascii());
    for step in 1..=header.len().max(1) {
        property::holds(header, step);
    }
    for behind in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\n", b"\0"] {
        let more = [header, behind].concat();
        if !matches!(expected, Ok(Begin::Open | Begin::Part)) {
            assert_eq!(read(&more), expected, "{}", more.escape_ascii());
        }
        property::holds(&more, 1);
    }
}

fn client(source: &str, destination: &str) -> Source {
    Source::Client {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn header(source: Source, len: usize) -> Result<Begin, Defect> {
    Ok(Begin::Header { source, len })
}

#[test]
fn lines() {
    let rows = [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            client("192.0.2.1:56324", "198.51.100.7:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            client("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            client("0.0.0.0:0", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 2\r\n",
            client("[2001:db8::1]:1", "[2001:db8::2]:2"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            client(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("PROXY UNKNOWN\r\n", Source::Own),
        ("PROXY UNKNOWN ffff::1 whatever  it says\r\n", Source::Own),
    ];
    for (line, source) in rows {
        expect(line.as_bytes(), header(source, line.len()));
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), 107);
    expect(longest.as_bytes(), header(Source::Own, 107));
}

#[test]
fn lines_that_are_none() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
        "PROXY \r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 ::1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 [::1] ::2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 00 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2  2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 \u{661}\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY / HTTP/1.1\r\n",
    ] {
        expect(line.as_bytes(), Err(Defect::Line));
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    expect(long.as_bytes(), Err(Defect::LineLength));
}

#[test]
fn what_may_be_one_and_what_is_none() {
    for open in ["", "P", "PROXY", "\r", "\r\n\r\n", "\r\n\r\n\0\r\nQUIT"] {
        expect(open.as_bytes(), Ok(Begin::Open));
    }
    for part in ["PROXY ", "PROXY TCP4 1.1.1.1", "\r\n\r\n\0\r\nQUIT\n"] {
        expect(part.as_bytes(), Ok(Begin::Part));
    }
    for other in [
        "GET / HTTP/1.1\r\n",
        "POST ",
        "PR ",
        "PROXY\r\n",
        "proxy TCP4",
        "\n",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "\r\n\r\n\0\r\nQUIT\r",
        "\u{16}\u{3}\u{1}",
    ] {
        expect(other.as_bytes(), Ok(Begin::Other));
    }
}

/// A header of version 2; its length is that of what follows.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &len, block].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

fn v6() -> Vec<u8> {
    let mut block = [0; 36];
    block[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    block[16..20].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    (block[15], block[31]) = (1, 2);
    block[32..].copy_from_slice(&[0, 1, 0, 2]);
    block.to_vec()
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &len[..], value].concat()
}

#[test]
fn blocks() {
    let v4 = client("192.0.2.1:56324", "198.51.100.7:443");
    let six = client("[2001:db8::1]:1", "[2001:db8::2]:2");
    let carried = [
        V4,
        &extension(1, b"h2"),
        &extension(4, &[0; 100]),
        &extension(0x20, &[1, 0, 0, 0, 0]),
        &extension(0xea, b""),
    ];
    let rows = [
        (binary(0x21, 0x11, V4), v4),
        (binary(0x21, 0x12, V4), v4),
        (binary(0x21, 0x21, &v6()), six),
        (binary(0x21, 0x22, &v6()), six),
        (binary(0x21, 0x31, &[b'/'; 216]), Source::Local),
        (binary(0x21, 0x11, &carried.concat()), v4),
        (binary(0x21, 0x00, b""), Source::Own),
        (binary(0x21, 0x00, b"whatever it is"), Source::Own),
        // What a balancer asks for itself says nothing of addresses, whatever it says.
        (binary(0x20, 0x00, b""), Source::Own),
        (OWN.to_vec(), Source::Own),
        (binary(0x20, 0x11, b"short"), Source::Own),
        (binary(0x20, 0x77, V4), Source::Own),
        (binary(0x20, 0x11, &[0xff; 4096]), Source::Own),
    ];
    for (bytes, source) in rows {
        let few = bytes.len() < 300;
        match few {
            true => expect(&bytes, header(source, bytes.len())),
            false => assert_eq!(read(&bytes), header(source, bytes.len())),
        }
    }
}

#[test]
fn blocks_that_are_none() {
    let with = |more: &[u8]| [V4, more].concat();
    let rows = [
        (binary(0x11, 0x11, V4), Defect::Version),
        (binary(0x31, 0x11, V4), Defect::Version),
        (binary(0x22, 0x11, V4), Defect::Command),
        (binary(0x2f, 0x11, V4), Defect::Command),
        (binary(0x21, 0x01, V4), Defect::Family),
        (binary(0x21, 0x10, V4), Defect::Family),
        (binary(0x21, 0x13, V4), Defect::Family),
        (binary(0x21, 0x41, V4), Defect::Family),
        (binary(0x21, 0x11, &V4[..11]), Defect::Addresses),
        (binary(0x21, 0x21, &v6()[..35]), Defect::Addresses),
        (binary(0x21, 0x31, &[0; 215]), Defect::Addresses),
        (binary(0x21, 0x11, &with(b"\x01")), Defect::Extension),
        (binary(0x21, 0x11, &with(b"\x01\0")), Defect::Extension),
        (binary(0x21, 0x11, &with(b"\x01\0\x02x")), Defect::Extension),
        (binary(0x21, 0x11, &with(b"\x03\0\0")), Defect::Extension),
        (
            binary(0x21, 0x11, &with(b"\x03\0\x04abcd")),
            Defect::Checksum,
        ),
    ];
    for (bytes, defect) in rows {
        expect(&bytes, Err(defect));
    }
    let long = binary(0x21, 0x11, &[0; 4097]);
    assert_eq!(read(&long[..16]), Err(Defect::Length));
    assert_eq!(read(&long[..15]), Ok(Begin::Part));
    assert_eq!(binary(0x21, 0x11, &[0; 4096]).len(), HEADER_BYTES_MAX);
}

#[test]
fn checksums() {
    let v4 = client("192.0.2.1:56324", "198.51.100.7:443");
    let sum = extension(3, &[0; 4]);
    let name = extension(2, b"example.com");
    for block in [
        [V4, &sum].concat(),
        [V4, &sum, &name].concat(),
        [V4, &name, &sum, &name].concat(),
    ] {
        let right = property::summed(&binary(0x21, 0x11, &block));
        expect(&right, header(v4, right.len()));
        for at in 16..28 {
            let mut wrong = right.clone();
            wrong[at] ^= 0x40;
            assert!(read(&wrong).is_err(), "byte {at}");
        }
    }

    let twice = property::summed(&binary(0x21, 0x11, &[V4, &sum, &sum].concat()));
    assert_eq!(read(&twice), Err(Defect::Checksum));
}

#[test]
fn corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/proxy_protocol");
    let files: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
    assert!(files.len() > 8, "{}", files.len());
    for file in files {
        let bytes = fs::read(file.path()).unwrap();
        for step in 1..20 {
            property::holds(&bytes, step);
        }
    }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("TCP4".to_owned()),
        Just("TCP6".to_owned()),
        Just("UNKNOWN".to_owned()),
        any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        any::<[u8; 16]>().prop_map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        any::<u16>().prop_map(|port| port.to_string()),
        "[0-9.:a-f]{0,8}",
    ]
}

proptest! {
    #[test]
    fn lines_are_read_as_a_naive_reader_reads_them(
        words in prop::collection::vec(words(), 0..7),
        end in prop_oneof![Just("\r\n"), Just("\n"), Just("")],
        step in 1_usize..60,
    ) {
        property::holds(format!("PROXY {}{end}behind", words.join(" ")).as_bytes(), step);
    }

    #[test]
    fn true_lines_are_taken(
        v6 in any::<bool>(), from in any::<[u8; 16]>(), to in any::<[u8; 16]>(), ports in any::<[u16; 2]>(),
    ) {
        let ip = |octets: [u8; 16]| match v6 {
            true => IpAddr::from(octets),
            false => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
        };
        let (source, destination) = (
            SocketAddr::new(ip(from), ports[0]),
            SocketAddr::new(ip(to), ports[1]),
        );
        let family = if v6 { "TCP6" } else { "TCP4" };
        let [from, to] = ports;
        let line = format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip());
        prop_assert!(line.len() <= 107);
        prop_assert_eq!(
            read(line.as_bytes()),
            Ok(Begin::Header { source: Source::Client { source, destination }, len: line.len() })
        );
    }

    #[test]
    fn blocks_are_read_as_a_naive_reader_reads_them(
        command in prop_oneof![Just(0x20_u8), Just(0x21), Just(0x21), any::<u8>()],
        family in prop_oneof![Just(0x11_u8), Just(0x21), Just(0x31), Just(0), any::<u8>()],
        block in prop::collection::vec(any::<u8>(), 0..60),
        extensions in prop::collection::vec((0_u8..5, prop::collection::vec(any::<u8>(), 0..6)), 0..5),
        noise in prop::collection::vec(any::<u8>(), 0..3),
        step in 1_usize..60,
    ) {
        let extensions = extensions.iter().flat_map(|(kind, value)| extension(*kind, value));
        let mut block: Vec<u8> = match family >> 4 {
            1 => block.into_iter().chain([7; 12]).take(12).collect(),
            2 => block.into_iter().chain([7; 36]).take(36).collect(),
            3 => vec![b'/'; 216],
            _ => block,
        };
        block.extend(extensions);
        block.extend(noise);
        let bytes = property::summed(&binary(command, family, &block));
        property::holds(&bytes, step);
        property::holds(&[&bytes[..], b"GET"].concat(), step);
    }

    #[test]
    fn no_beginning_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1_usize..20) {
        property::holds(&bytes, step);
        property::holds(&[v2::SIGNATURE, &bytes].concat(), step);
        property::holds(&[v1::SIGNATURE, &bytes].concat(), step);
    }
}
