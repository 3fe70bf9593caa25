//! Whether the files of a model have changed, without reading them: names, sizes and times of change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Model folders nest three deep; this leaves room, and bounds what a link to a parent folder can do.
const MAX_DEPTH: usize = 8;

/// What the files of a model look like from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    /// Of everything in a folder. Hidden files belong to tools, such as the copies that editors keep.
    ///
    /// # Errors
    /// When something there cannot be read.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let mut stamp = Self::default();
        stamp.add(folder, 0)?;
        stamp.0.sort();
        Ok(stamp)
    }

    fn add(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                continue;
            }
            let about = fs::metadata(&path)?;
            if about.is_dir() && depth < MAX_DEPTH {
                self.add(&path, depth + 1)?;
            }
            let size = if about.is_dir() { 0 } else { about.len() };
            self.0.push((path, size, about.modified().ok().filter(|_| !about.is_dir())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_shows() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        let stamp = || Stamp::of(root.path()).expect("readable");
        let mut last = stamp();
        let mut changed = |what: &str, expected: bool| {
            let now = stamp();
            assert_eq!(now != last, expected, "{what}");
            last = now;
        };
        fs::write(at("config.pbtxt"), "").expect("written");
        changed("a file more", true);
        changed("nothing", false);
        fs::create_dir_all(at("1")).expect("made");
        changed("a version more", true);
        fs::write(at("1/model.onnx"), "abc").expect("written");
        changed("a file in it", true);
        fs::write(at("1/model.onnx"), "abcd").expect("written");
        changed("a longer file", true);
        let file = fs::File::options().write(true).open(at("1/model.onnx")).expect("there");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
        changed("another time", true);
        fs::write(at(".config.pbtxt.swp"), "x").expect("written");
        changed("a hidden file", false);
        fs::remove_dir_all(at("1")).expect("removed");
        changed("a version less", true);
    }
}
