//! The kernels as a child process: compiled by the C++ compiler with its sanitizers, given launches and buffers, and asked
//! what the buffers hold afterwards. What a kernel does wrong ends the child, and the test says what it said.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use proofload_daemon::gpu::kernels::Launch;

/// A kernel's pointer.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    /// To memory with this content.
    Bytes(Vec<u8>),
    /// Null.
    Absent,
    /// To the same memory as the argument with this number.
    Same(u32),
}

/// What a kernel of the host build takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) words_bytes: usize,
    pub(crate) pointers: usize,
}

const ABSENT: u32 = u32::MAX;
const SAME: u32 = 0xF000_0000;
/// Marks of memory that nobody has written.
const UNTOUCHED: [u8; 2] = [0xA5, 0x5A];

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Runs a launch; gives the content of every argument that has one.
#[track_caller]
pub(crate) fn run(launch: &Launch, args: &[Arg]) -> Vec<Vec<u8>> {
    try_run(launch, args).unwrap_or_else(|error| panic!("{}: {error}", launch.kernel.name))
}

/// Runs a launch whose last pointer is to a result of this size, of which every byte must be written, whatever was there
/// before. What is only read must stay as it was.
#[track_caller]
pub(crate) fn result(launch: &Launch, args: &[Arg], bytes: usize) -> Vec<u8> {
    let found = UNTOUCHED.map(|mark| {
        let args = [args, &[Arg::Bytes(vec![mark; bytes])]].concat();
        let mut contents = run(launch, &args);
        let result = contents.pop().unwrap();
        let given = args.iter().filter_map(|arg| if let Arg::Bytes(bytes) = arg { Some(bytes) } else { None });
        assert!(given.zip(&contents).all(|(before, after)| before == after), "{launch:?} changed what it reads");
        result
    });
    assert!(found[0] == found[1], "{launch:?} left a part of its result as it was");
    let [result, _] = found;
    result
}

/// As `run`, with what went wrong as an answer.
pub(crate) fn try_run(launch: &Launch, args: &[Arg]) -> Result<Vec<Vec<u8>>, String> {
    HOST.with_borrow_mut(|host| {
        let answer = host.get_or_insert_with(Host::start).run(launch, args);
        // One that ended is of no use to the next.
        answer.unwrap_or_else(|error| Err(host.take().map_or(String::new(), |host| host.last_words(&error))))
    })
}

/// All kernels of the host build.
pub(crate) fn listing() -> Vec<Listed> {
    HOST.with_borrow_mut(|host| host.get_or_insert_with(Host::start).list().unwrap())
}

struct Host {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Host {
    fn start() -> Self {
        let mut child = Command::new(runner())
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .env("UBSAN_OPTIONS", "print_stacktrace=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = BufWriter::new(child.stdin.take().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn run(&mut self, launch: &Launch, args: &[Arg]) -> io::Result<Result<Vec<Vec<u8>>, String>> {
        assert_eq!(launch.threads, 256, "blocks have as many threads as the sources say");
        self.send(launch, args)?;
        let length = self.number()?;
        let complaint = self.bytes(length)?;
        if !complaint.is_empty() {
            return Ok(Err(String::from_utf8_lossy(&complaint).into_owned()));
        }
        let lengths = args.iter().filter_map(|arg| if let Arg::Bytes(bytes) = arg { Some(bytes.len()) } else { None });
        lengths.map(|length| self.bytes(length)).collect::<io::Result<_>>().map(Ok)
    }

    fn send(&mut self, launch: &Launch, args: &[Arg]) -> io::Result<()> {
        self.put_bytes(launch.kernel.name.as_bytes())?;
        self.put(launch.blocks)?;
        let words: Vec<u8> = launch.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put_bytes(&words)?;
        self.put(args.len() as u32)?;
        for arg in args {
            match arg {
                Arg::Bytes(bytes) => self.put_bytes(bytes)?,
                Arg::Absent => self.put(ABSENT)?,
                Arg::Same(at) => self.put(SAME + at)?,
            }
        }
        self.input.flush()
    }

    fn list(&mut self) -> io::Result<Vec<Listed>> {
        self.put(0)?;
        self.input.flush()?;
        let mut listed = Vec::new();
        loop {
            let length = self.number()?;
            if length == 0 {
                return Ok(listed);
            }
            let name = String::from_utf8_lossy(&self.bytes(length)?).into_owned();
            listed.push(Listed { name, words_bytes: self.number()?, pointers: self.number()? });
        }
    }

    fn put(&mut self, number: u32) -> io::Result<()> {
        self.input.write_all(&number.to_le_bytes())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes.len() as u32)?;
        self.input.write_all(bytes)
    }

    fn number(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.output.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.output.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// What it wrote before it ended.
    fn last_words(mut self, error: &io::Error) -> String {
        let mut words = String::new();
        let read = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut words));
        format!("the host build ended ({error}, {:?}, {read:?}):\n{words}", self.child.wait())
    }
}

impl Drop for Host {
    /// It ends when its input does; a child is not left behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's program, built when its sources are new.
fn runner() -> &'static Path {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (kernels, host) = (here.join("src/gpu/kernels"), here.join("tests/kernels/host"));
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kernels-{:016x}", hash(&[&kernels, &host])));
        if !built.exists() {
            build(&kernels, &host, &built);
        }
        built
    })
}

fn build(kernels: &Path, host: &Path, built: &Path) {
    let unfinished = built.with_extension(std::process::id().to_string());
    let output = Command::new("g++")
        .args(["-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
        // A product and a sum are rounded apart, as the CPU's are; tensors are looked at in packs.
        .args(["-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"])
        .args([Path::new("-I"), kernels, Path::new("-I"), host])
        .arg("-o")
        .arg(&unfinished)
        .arg(host.join("runner.cpp"))
        .output()
        .expect("g++ builds the kernels for the host; install it");
    assert!(output.status.success(), "g++: {}", String::from_utf8_lossy(&output.stderr));
    // Tests of several processes may build at once: each leaves a whole file.
    std::fs::rename(unfinished, built).unwrap();
}

/// Of every source, and of how they are built.
fn hash(folders: &[&Path]) -> u64 {
    let mut hasher = DefaultHasher::new();
    include_str!("host.rs").hash(&mut hasher);
    for folder in folders {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension != "rs"));
        files.sort();
        for file in files {
            std::fs::read(&file).unwrap().hash(&mut hasher);
        }
    }
    hasher.finish()
}
