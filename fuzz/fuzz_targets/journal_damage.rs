//! A journal that a writer has written, with one burst of damage and cut somewhere: the place of the damage, four
//! bytes to change there, the place of the cut. What is read is how the journal began, and whole chunks of it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::Scratch;
use proofload_run::journal::{JournalReader, JournalWriter};
use proofload_run::sample::Sample;

const CHUNK: usize = 5;
const FILE_HEADER: usize = 32;
const CHUNK_HEADER: usize = 16;

fn samples() -> Vec<Sample> {
    (0..30_u64).map(|n| Sample { sequence: n, intended_ns: n * 1_000_003, status: 200, ..Sample::default() }).collect()
}

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let place = Scratch::fresh("journal_damage");
    let path = place.path().join("whole.journal");
    let mut writer = JournalWriter::create(&path, 0, CHUNK).expect("a new file");
    samples().iter().for_each(|sample| writer.append(sample).expect("written"));
    writer.flush().expect("written");
    std::fs::read(path).expect("just written")
});

fuzz_target!(|input: &[u8]| {
    let &[low, high, a, b, c, d, cut_low, cut_high, ..] = input else { return };
    let mut bytes = WHOLE.clone();
    let place = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
    for (byte, change) in bytes[place..].iter_mut().zip([a, b, c, d]) {
        *byte ^= change;
    }
    let changed = bytes.iter().zip(WHOLE.iter()).position(|(now, before)| now != before).unwrap_or(bytes.len());
    let cut = usize::from(u16::from_le_bytes([cut_low, cut_high])).min(bytes.len());
    bytes.truncate(cut);

    let path = Scratch::fresh("journal_damage").file("a.journal", &bytes);
    let Ok(mut reader) = JournalReader::open(&path) else {
        assert!(changed < FILE_HEADER, "refused for damage at {changed}");
        return;
    };
    let (mut chunk, mut read) = (Vec::new(), Vec::new());
    while reader.next_chunk(&mut chunk).expect("a file of this machine can be read") {
        read.extend_from_slice(&chunk);
    }
    // Damage to reserved words of a header changes nothing; any other ends the journal before its chunk.
    let chunk_bytes = CHUNK_HEADER + CHUNK * Sample::SIZE;
    let whole = changed.min(cut).saturating_sub(FILE_HEADER) / chunk_bytes * CHUNK;
    assert!(read.len() >= whole, "{} samples of {whole} before the damage", read.len());
    assert!(samples().starts_with(&read), "samples that nobody wrote");
});
