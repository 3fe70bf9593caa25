//! The journal of samples: an append-only file of checksummed chunks that `kill -9` cannot corrupt beyond the
//! chunk that was being written. Not a log for people (that is `events.jsonl`), and not the final form (that is
//! the Parquet file made from it).
//!
//! Layout, little-endian: a 32-byte file header (magic `PLJ1`, record size u32, shard u32, reserved), then
//! chunks: magic `PLC1`, record count u32, CRC-32 of the records u32, reserved u32, records. A writer that
//! flushes at least once a second loses at most the last second; the page cache outlives the process. A chunk that
//! could not be written whole, on a full disk, is cut off again and counted as lost.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::RunError;
use crate::sample::Sample;
use crate::whole::WholeRecords;

const FILE_MAGIC: [u8; 4] = *b"PLJ1";
const CHUNK_MAGIC: [u8; 4] = *b"PLC1";
const FILE_HEADER: usize = 32;
const CHUNK_HEADER: usize = 16;
/// More records than a writer ever puts into one chunk: a larger count means a damaged header.
const MAX_CHUNK_RECORDS: usize = 65_536;

/// Appends samples. Buffers up to `chunk_records` of them; whoever owns it calls [`JournalWriter::flush`] at
/// least once a second.
#[derive(Debug)]
pub struct JournalWriter {
    path: PathBuf,
    file: WholeRecords,
    buffer: Vec<u8>,
    capacity: usize,
    kept: u64,
    lost: u64,
}

impl JournalWriter {
    /// Creates the journal; an existing file is an error, because a run never appends to another.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, shard: u16, chunk_records: usize) -> Result<Self, RunError> {
        Self::over(path, WholeRecords::create(path)?, shard, chunk_records)
    }

    fn over(path: &Path, mut file: WholeRecords, shard: u16, chunk_records: usize) -> Result<Self, RunError> {
        let chunk_records = chunk_records.clamp(1, MAX_CHUNK_RECORDS);
        file.append(&file_header(shard)).map_err(|source| RunError::io(path, source))?;
        let capacity = CHUNK_HEADER + chunk_records * Sample::SIZE;
        let mut buffer = Vec::with_capacity(capacity);
        buffer.resize(CHUNK_HEADER, 0);
        Ok(Self { path: path.to_owned(), file, buffer, capacity, kept: 0, lost: 0 })
    }

    /// Adds one sample; writes a chunk when the buffer is full. Allocates nothing.
    ///
    /// # Errors
    /// When the file cannot be written (a full disk, say). Then the whole chunk is lost.
    pub fn append(&mut self, sample: &Sample) -> Result<(), RunError> {
        let mut record = [0; Sample::SIZE];
        sample.encode(&mut record);
        self.buffer.extend_from_slice(&record);
        if self.buffer.len() >= self.capacity { self.flush() } else { Ok(()) }
    }

    /// Hands what is buffered to the operating system as one chunk.
    ///
    /// # Errors
    /// When the file cannot be written. Then the chunk is lost; what was written before it is not.
    pub fn flush(&mut self) -> Result<(), RunError> {
        let records = (self.buffer.len() - CHUNK_HEADER) / Sample::SIZE;
        if records == 0 {
            return Ok(());
        }
        let checksum = crc32fast::hash(&self.buffer[CHUNK_HEADER..]);
        self.buffer[..4].copy_from_slice(&CHUNK_MAGIC);
        self.buffer[4..8].copy_from_slice(&(records as u32).to_le_bytes());
        self.buffer[8..12].copy_from_slice(&checksum.to_le_bytes());
        let outcome = self.file.append(&self.buffer);
        self.buffer.truncate(CHUNK_HEADER);
        let count = if outcome.is_ok() { &mut self.kept } else { &mut self.lost };
        *count += records as u64;
        outcome.map_err(|source| RunError::io(&self.path, source))
    }

    /// Samples in the file.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Samples that were appended and could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

fn file_header(shard: u16) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..4].copy_from_slice(&FILE_MAGIC);
    header[4..8].copy_from_slice(&(Sample::SIZE as u32).to_le_bytes());
    header[8..12].copy_from_slice(&u32::from(shard).to_le_bytes());
    header
}

/// How a journal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// On a chunk boundary.
    Whole,
    /// In the middle of a chunk: the writer died there. The chunk is left out.
    Torn,
    /// A chunk failed its checksum: what follows it is left out.
    Damaged,
}

/// Reads a journal chunk by chunk, in bounded memory.
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    file: BufReader<File>,
    tail: Option<Tail>,
}

impl JournalReader {
    /// Opens a journal.
    ///
    /// # Errors
    /// When it cannot be read, or is no journal of this version.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let file = File::open(path).map_err(|source| RunError::io(path, source))?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut header = [0; FILE_HEADER];
        match file.read_exact(&mut header) {
            Ok(()) if header[..4] == FILE_MAGIC && header[4..8] == (Sample::SIZE as u32).to_le_bytes() => {
                Ok(Self { path: path.to_owned(), file, tail: None })
            }
            Ok(()) => Err(RunError::malformed(path, "not a sample journal of this version")),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                Ok(Self { path: path.to_owned(), file, tail: Some(Tail::Torn) })
            }
            Err(source) => Err(RunError::io(path, source)),
        }
    }

    /// Reads the next chunk into `samples` (which is cleared first). `false` at the end, whole or not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_chunk(&mut self, samples: &mut Vec<Sample>) -> Result<bool, RunError> {
        samples.clear();
        if self.tail.is_some() {
            return Ok(false);
        }
        match self.read_chunk(samples) {
            Ok(None) => Ok(true),
            Ok(Some(tail)) => {
                self.tail = Some(tail);
                Ok(false)
            }
            Err(source) => Err(RunError::io(&self.path, source)),
        }
    }

    /// How the journal ended; `None` until [`JournalReader::next_chunk`] has said `false`.
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    fn read_chunk(&mut self, samples: &mut Vec<Sample>) -> std::io::Result<Option<Tail>> {
        let mut header = [0; CHUNK_HEADER];
        match read_full(&mut self.file, &mut header)? {
            0 => return Ok(Some(Tail::Whole)),
            n if n < CHUNK_HEADER => return Ok(Some(Tail::Torn)),
            _ => {}
        }
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let records = word(4) as usize;
        if header[..4] != CHUNK_MAGIC || records > MAX_CHUNK_RECORDS {
            return Ok(Some(Tail::Damaged));
        }
        let mut body = vec![0; records * Sample::SIZE];
        if read_full(&mut self.file, &mut body)? < body.len() {
            return Ok(Some(Tail::Torn));
        }
        if crc32fast::hash(&body) != word(8) {
            return Ok(Some(Tail::Damaged));
        }
        let (chunks, _) = body.as_chunks::<{ Sample::SIZE }>();
        samples.extend(chunks.iter().map(Sample::decode));
        Ok(None)
    }
}

/// Reads until the buffer is full or the file ends; says how much was read.
fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::tests::SmallDisk;
    use proptest::prelude::*;

    fn sample(sequence: u64) -> Sample {
        Sample { sequence, intended_ns: sequence * 7, done_ns: sequence * 9, shard: 3, ..Sample::default() }
    }

    fn write(path: &Path, count: u64, chunk: usize) {
        let mut writer = JournalWriter::create(path, 3, chunk).unwrap();
        for sequence in 0..count {
            writer.append(&sample(sequence)).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!((writer.kept(), writer.lost()), (count, 0));
    }

    fn read(path: &Path) -> (Vec<u64>, Tail) {
        let mut reader = JournalReader::open(path).unwrap();
        let (mut chunk, mut all) = (Vec::new(), Vec::new());
        while reader.next_chunk(&mut chunk).unwrap() {
            all.extend(chunk.iter().map(|s| s.sequence));
        }
        (all, reader.tail().unwrap())
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        write(&path, 1000, 64);
        assert_eq!(read(&path), ((0..1000).collect(), Tail::Whole));
        assert!(JournalWriter::create(&path, 3, 64).is_err(), "a journal is never overwritten");
    }

    #[test]
    fn a_full_disk_loses_whole_chunks_and_says_how_many_samples() {
        const CHUNK: usize = CHUNK_HEADER + 10 * Sample::SIZE;
        let disk = SmallDisk::new(FILE_HEADER + 2 * CHUNK + CHUNK / 2);
        let path = Path::new("a.journal");
        let mut writer = JournalWriter::over(path, WholeRecords::over(Box::new(disk.clone())), 3, 10).unwrap();
        let outcomes: Vec<bool> = (0..45).map(|n| writer.append(&sample(n)).is_ok()).collect();
        assert_eq!(outcomes.iter().filter(|fine| !**fine).count(), 2, "the third and the fourth chunk");
        assert_eq!((writer.kept(), writer.lost()), (20, 20));
        disk.make_room(1 << 20);
        writer.flush().unwrap();
        assert_eq!((writer.kept(), writer.lost()), (25, 20));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        std::fs::write(&path, disk.bytes()).unwrap();
        assert_eq!(read(&path), ((0..20).chain(40..45).collect(), Tail::Whole));
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_before_its_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        write(&path, 100, 10);
        let mut bytes = std::fs::read(&path).unwrap();
        let third_chunk = FILE_HEADER + 2 * (CHUNK_HEADER + 10 * Sample::SIZE);
        bytes[third_chunk + CHUNK_HEADER + 5] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path), ((0..20).collect(), Tail::Damaged));
    }

    proptest! {
        /// Wherever the file is cut, every whole chunk before the cut is read and nothing else.
        #[test]
        fn a_cut_loses_only_the_chunk_it_falls_into(cut in 0usize..(FILE_HEADER + 10 * (CHUNK_HEADER + 10 * Sample::SIZE))) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.journal");
            write(&path, 100, 10);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = cut.saturating_sub(FILE_HEADER) / (CHUNK_HEADER + 10 * Sample::SIZE) * 10;
            let (samples, _) = read(&path);
            prop_assert_eq!(samples, (0..whole as u64).collect::<Vec<_>>());
        }
    }
}
