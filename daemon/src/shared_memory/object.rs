//! One object under `/dev/shm`, opened and never mapped. It is read and written by copies of the kernel's
//! (`pread`, `pwrite`): the client may write it, or cut it off, at any moment, and a mapping would then change under
//! a tensor that has been checked already, or end the process with SIGBUS. A copy costs what `memcpy` costs and one
//! system call for each tensor, and needs no `unsafe`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Where POSIX shared memory lives on Linux.
const ROOT: &str = "/dev/shm";
/// Longest name of a file.
const LONGEST_NAME: usize = 255;

/// Whether a key names an object: one name, with or without a slash in front, and nothing that leads elsewhere.
pub(super) fn name(key: &str) -> Option<&str> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let plain = !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(['/', '\0']);
    (plain && name != "." && name != "..").then_some(name)
}

/// An open object.
#[derive(Debug)]
pub(super) struct Object(File);

impl Object {
    /// Opens the object of that name, which must be a plain file: links and devices lead elsewhere.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(Path::new(ROOT).join(name))?;
        if file.metadata()?.is_file() { Ok(Self(file)) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// How long it is now.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// A copy of so many bytes from there.
    pub(super) fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut copy = vec![0; bytes];
        self.0.read_exact_at(&mut copy, offset)?;
        Ok(copy)
    }

    /// Writes there. Writing behind the end would make the object longer, which is the client's affair.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        if end > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.write_all_at(data, offset)
    }
}
