//! A file that only whole records are appended to: what a failed write has left of one is cut off again, so that the
//! next one does not follow half of the last. Knows nothing of what a record is.

use std::fmt::Debug;
use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;

use crate::RunError;

/// Where bytes are appended, and what can be cut to a length: a file, or in tests one that is soon full.
pub(crate) trait Storage: Write + Debug + Send {
    /// Cuts it to this length.
    fn cut(&mut self, bytes: u64) -> Result<()>;
}

impl Storage for File {
    fn cut(&mut self, bytes: u64) -> Result<()> {
        self.set_len(bytes)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WholeRecords {
    storage: Box<dyn Storage>,
    /// Length of all whole records.
    bytes: u64,
    /// Whether half a record may follow them, which could not be cut off.
    torn: bool,
}

impl WholeRecords {
    /// Creates the file; an existing one is an error.
    pub(crate) fn create(path: &Path) -> std::result::Result<Self, RunError> {
        // Every write goes to the end, wherever a cut has moved that.
        let file = File::options().append(true).create_new(true).open(path);
        Ok(Self::over(Box::new(file.map_err(|source| RunError::io(path, source))?)))
    }

    /// Over a storage that is empty.
    pub(crate) fn over(storage: Box<dyn Storage>) -> Self {
        Self { storage, bytes: 0, torn: false }
    }

    /// Appends one record, or several that belong together: all of it or nothing.
    pub(crate) fn append(&mut self, record: &[u8]) -> Result<()> {
        self.mend()?;
        let written = self.storage.write_all(record);
        if written.is_ok() {
            self.bytes += record.len() as u64;
            return Ok(());
        }
        self.torn = true;
        // What cannot be cut off now is cut off before the next record.
        let _ = self.mend();
        written
    }

    fn mend(&mut self) -> Result<()> {
        if self.torn {
            self.storage.cut(self.bytes)?;
            self.torn = false;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Error, ErrorKind};
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    /// A disk with so much room, of which a test can free some.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct SmallDisk {
        state: Arc<Mutex<State>>,
    }

    #[derive(Debug, Default)]
    struct State {
        bytes: Vec<u8>,
        room: usize,
        cuts_fail: bool,
    }

    impl SmallDisk {
        pub(crate) fn new(room: usize) -> Self {
            let disk = Self::default();
            disk.make_room(room);
            disk
        }

        pub(crate) fn make_room(&self, room: usize) {
            self.state.lock().unwrap().room = room;
        }

        pub(crate) fn bytes(&self) -> Vec<u8> {
            self.state.lock().unwrap().bytes.clone()
        }

        fn let_cuts_fail(&self, fail: bool) {
            self.state.lock().unwrap().cuts_fail = fail;
        }
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            let mut state = self.state.lock().unwrap();
            let fits = bytes.len().min(state.room - state.bytes.len().min(state.room));
            if fits == 0 && !bytes.is_empty() {
                return Err(Error::from(ErrorKind::StorageFull));
            }
            state.bytes.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Storage for SmallDisk {
        fn cut(&mut self, bytes: u64) -> Result<()> {
            let mut state = self.state.lock().unwrap();
            if state.cuts_fail {
                return Err(Error::from(ErrorKind::Other));
            }
            state.bytes.truncate(bytes as usize);
            Ok(())
        }
    }

    #[test]
    fn a_record_that_could_not_be_cut_off_is_cut_off_before_the_next() {
        let disk = SmallDisk::new(5);
        let mut records = WholeRecords::over(Box::new(disk.clone()));
        records.append(b"one").unwrap();
        disk.let_cuts_fail(true);
        assert_eq!(records.append(b"two").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(disk.bytes(), b"onetw");
        disk.make_room(100);
        assert!(records.append(b"three").is_err(), "nothing is written behind half a record");
        disk.let_cuts_fail(false);
        records.append(b"four").unwrap();
        assert_eq!(disk.bytes(), b"onefour");
    }

    proptest! {
        /// However full the disk is and becomes, it holds exactly the records whose append succeeded.
        #[test]
        fn a_disk_that_fills_up_holds_whole_records_only(
            steps in proptest::collection::vec((1usize..20, 0usize..200), 1..40),
        ) {
            let disk = SmallDisk::new(50);
            let mut records = WholeRecords::over(Box::new(disk.clone()));
            let mut kept = Vec::new();
            for (number, (length, room)) in steps.into_iter().enumerate() {
                disk.make_room(room);
                let record = vec![number as u8; length];
                if records.append(&record).is_ok() {
                    kept.extend_from_slice(&record);
                }
                prop_assert_eq!(disk.bytes(), kept.clone());
            }
        }
    }
}
