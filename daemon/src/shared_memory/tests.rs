//! Regions over real objects, and what clients may do wrong with them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// An object under `/dev/shm`, gone with the test.
struct Shm {
    key: String,
    path: PathBuf,
}

impl Shm {
    fn with(content: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let key = format!("/proofload-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(format!("/dev/shm{key}"));
        fs::write(&path, content).expect("written");
        Self { key, path }
    }

    fn register(&self, memory: &SharedMemory, name: &str, offset: u64, byte_size: u64) -> Result<(), ServeError> {
        memory.register(Registration { name: name.to_owned(), key: self.key.clone(), offset, byte_size })
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn place(offset: u64, byte_size: u64) -> Place {
    Place { region: "r".to_owned(), offset, byte_size }
}

#[test]
fn regions_are_read_and_written_where_they_are() {
    let (memory, shm) = (SharedMemory::new(true), Shm::with(b"0123456789"));
    shm.register(&memory, "r", 2, 6).expect("it fits");
    let region = memory.region("r").expect("registered");
    assert_eq!(region.read(&place(1, 3)).expect("within"), b"345");
    region.write(&place(4, 2), b"ab").expect("within");
    assert_eq!(fs::read(&shm.path).expect("there"), b"012345ab89");
    for (offset, byte_size) in [(6, 0), (0, 7), (5, 2), (u64::MAX, 1), (1, u64::MAX)] {
        assert!(matches!(region.read(&place(offset, byte_size)), Err(ServeError::InvalidArgument(_))), "{offset}");
    }
    assert!(region.write(&place(5, 1), b"xy").is_err(), "the data counts, not the place");
}

#[test]
fn what_is_in_use_outlives_its_registration() {
    let (memory, shm) = (SharedMemory::new(true), Shm::with(b"0123"));
    shm.register(&memory, "r", 0, 4).expect("it fits");
    let region = memory.region("r").expect("registered");
    memory.unregister(Some("r")).expect("allowed");
    memory.unregister(Some("r")).expect("nothing to do is no error");
    assert!(matches!(memory.region("r"), Err(ServeError::NotFound(_))));
    fs::remove_file(&shm.path).expect("unlinked");
    assert_eq!(region.read(&place(0, 4)).expect("still there"), b"0123");
}

/// The reason why nothing is mapped: each of these would be a SIGBUS.
#[test]
fn an_object_that_is_cut_off_is_an_error() {
    let (memory, shm) = (SharedMemory::new(true), Shm::with(&[7; 8192]));
    shm.register(&memory, "r", 0, 8192).expect("it fits");
    let region = memory.region("r").expect("registered");
    File::options().write(true).open(&shm.path).expect("there").set_len(4096).expect("cut off");
    assert_eq!(region.read(&place(0, 4096)).expect("what is left"), [7; 4096]);
    for error in [region.read(&place(0, 8192)).map(drop), region.write(&place(4000, 200), &[0; 200])] {
        assert!(error.is_err_and(|error| error.to_string().contains("not as long as it was")));
    }
    assert_eq!(fs::metadata(&shm.path).expect("there").len(), 4096, "and it is not made longer again");
}

#[test]
fn wrong_registrations_are_refused_by_name() {
    let (memory, shm) = (SharedMemory::new(true), Shm::with(b"0123"));
    let check = |name: &str, key: &str, offset, byte_size, part: &str| {
        let about = Registration { name: name.to_owned(), key: key.to_owned(), offset, byte_size };
        let error = memory.register(about).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    shm.register(&memory, "taken", 0, 4).expect("it fits");
    check("taken", &shm.key, 0, 4, "already in manager");
    check("", &shm.key, 0, 4, "must have 1 to");
    check("r", "/no-such-object-of-ours", 0, 4, "Unable to open shared memory region: '/no-such-object-of-ours'");
    for key in ["", "/", "..", "/../etc/passwd", "a/b", "/triton_python_backend_shm_region_1"] {
        check("r", key, 0, 4, "is no key");
    }
    for (offset, byte_size) in [(0, 0), (0, 5), (4, 1), (u64::MAX, 2)] {
        check("r", &shm.key, offset, byte_size, "invalid args");
    }
    let link = Shm::with(b"");
    fs::remove_file(&link.path).expect("there");
    std::os::unix::fs::symlink("/etc/passwd", &link.path).expect("linked");
    check("r", &link.key, 0, 4, "Unable to open");
    let names: Vec<_> = memory.status(None).expect("all").into_iter().map(|about| about.name).collect();
    assert_eq!(names, ["taken"]);
}

#[test]
fn nothing_is_offered_unless_it_is_allowed() {
    let (memory, shm) = (SharedMemory::new(false), Shm::with(b"0123"));
    let unsupported = |result: Result<(), ServeError>| matches!(result, Err(ServeError::Unsupported(_)));
    assert!(unsupported(shm.register(&memory, "r", 0, 4)));
    assert!(unsupported(memory.unregister(None)));
    assert!(unsupported(memory.region("r").map(drop)));
    assert_eq!(memory.status(None), Ok(Vec::new()));
}

#[test]
fn their_number_is_bounded() {
    let (memory, shm) = (SharedMemory::new(true), Shm::with(b"0123"));
    for index in 0..MAX_REGIONS {
        shm.register(&memory, &index.to_string(), 0, 4).expect("there is room");
    }
    let refused = shm.register(&memory, "one more", 0, 4);
    assert!(matches!(refused, Err(ServeError::Unavailable { retry_after: None, .. })), "{refused:?}");
    memory.unregister(None).expect("allowed");
    assert_eq!(shm.register(&memory, "one more", 0, 4), Ok(()));
}
