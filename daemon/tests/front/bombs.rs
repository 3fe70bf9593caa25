//! Pictures that are small as files and huge when they are unpacked, wherever in the file that is: refused, or read
//! without the part that is too much, in little memory and in no time; and whoever comes next is served.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proofload_daemon::front::FrontLimits;

use crate::server::{LIMITS, Server, request, send};

/// What each of them unpacks to.
const BOMB_BYTES: u32 = 1 << 30;
/// More memory than this was not needed for any.
const ENOUGH_BYTES: u64 = 300 << 20;

/// Appends bits, the lowest first, as deflate does.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, bits: u32, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }
}

/// A zlib stream of about so many zeros: one zero, then again and again the 258 before, in the fixed code.
fn zeros(about: u32) -> Vec<u8> {
    let repeats = about / 258;
    let mut bits = Bits { bytes: vec![0x78, 0x9c], ..Bits::default() };
    bits.push(0b011, 3);
    bits.push(0b0000_1100, 8);
    for _ in 0..repeats {
        // Length 258 is symbol 285, whose code begins with its highest bit; distance 1 is five zeros.
        bits.push(0b1010_0011, 8);
        bits.push(0, 5);
    }
    bits.push(0, 7 + 7);
    let length = u64::from(repeats) * 258 + 1;
    let checksum = u32::try_from(length % 65_521).unwrap() << 16 | 1;
    [bits.bytes, checksum.to_be_bytes().to_vec()].concat()
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
}

/// A grey PNG that says it has this size, with these chunks between its head and its end.
fn png(width: u32, height: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n", &chunk(b"IHDR", &head)[..], &chunks.concat(), &chunk(b"IEND", &[])].concat()
}

/// The most memory that this process has had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_and_harms_nobody() {
    let limits = FrontLimits { max_body_bytes: 16 << 20, total_body_bytes: 64 << 20, ..LIMITS };
    let server = Server::with_limits(limits).await;
    let bomb = zeros(BOMB_BYTES);
    let small = chunk(b"IDAT", &zeros(600));
    let text = chunk(b"zTXt", &[b"Comment\0\0", &bomb[..]].concat());
    let international = chunk(b"iTXt", &[b"Comment\0\x01\0\0\0", &bomb[..]].concat());
    let profile = chunk(b"iCCP", &[b"profile\0\0", &bomb[..]].concat());
    let jpeg = [&b"\xFF\xD8\xFF\xC0\0\x0B\x08\xFF\xFF\xFF\xFF\x01\x01\x11\0"[..], &[0; 64]].concat();
    let files = [
        ("pixels", png(60_000, 60_000, &[chunk(b"IDAT", &bomb)]), 413),
        ("pixels of a JPEG", jpeg, 0),
        ("data beyond the pixels", png(16, 16, &[chunk(b"IDAT", &bomb)]), 0),
        ("text", png(16, 16, &[text, small.clone()]), 0),
        ("international text", png(16, 16, &[international, small.clone()]), 0),
        ("a colour profile", png(16, 16, &[profile, small]), 0),
    ];
    let (before, begun) = (peak_bytes(), Instant::now());
    for (what, file, expected) in files {
        assert!(file.len() < 8 << 20, "{what}: {} bytes", file.len());
        let answer =
            send(server.http, request("POST", "/api/v1/generate-3d", &[("content-type", "image/png")], file)).await;
        // Without a depth model a picture that can be read ends there, which is as good as an answer.
        let status = answer.status.as_u16();
        assert!((expected == 0 && matches!(status, 404 | 413 | 422)) || status == expected, "{what}: {answer:?}");
    }
    let grown = peak_bytes().saturating_sub(before);
    assert!(grown < ENOUGH_BYTES, "the process grew by {grown} bytes");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let body = Bytes::from_static(br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#);
    assert_eq!(send(server.http, request("POST", "/v2/models/echo/infer", &[], body)).await.status, 200);
}
