//! Every kernel through NVIDIA's compiler, for each generation of GPUs that is supported: it compiles, keeps its numbers in
//! registers, and needs the shared memory that its file says. No GPU and no driver is needed, only NVRTC's library; where
//! that is missing these tests fail, and so they are run by `scripts/test`, which brings it.
#![expect(unsafe_code, reason = "NVRTC is a C library")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::time::Instant;

use cudarc::nvrtc::result;
use proofload_daemon::gpu::kernels::Source;

/// A100, H100 and H200, B200.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];
/// What a kernel may take, so that two blocks and more fit a multiprocessor at once: it has 65 536 registers for its
/// threads, 256 a block, and 100 KiB or more of shared memory.
const MOST_SHARED_BYTES: u32 = 16 * 1024;
const MOST_REGISTERS: u32 = 96;

/// What the assembler says of a kernel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Use {
    registers: u32,
    shared_bytes: u32,
    /// Of memory that looks like registers and is none.
    stack_bytes: u32,
}

/// Panics where there is no library, rather than letting the binding panic without a word of what to do.
fn need_nvrtc() {
    // Sound: it looks for a file and opens it.
    let present = unsafe { cudarc::nvrtc::sys::is_culib_present() };
    assert!(present, "NVRTC's library is not on the loader's path; run scripts/test, which brings it");
}

/// A program's assembly and what the compiler said, or what it complained of.
fn compile(text: &str, source: Source, architecture: &str) -> Result<(String, String), String> {
    let [text, name] = [text, source.file()].map(|text| CString::new(text).unwrap());
    let program = result::create_program(&text, Some(&name)).unwrap();
    let options = [
        format!("--gpu-architecture={architecture}"),
        format!("--fmad={}", source.fused_multiply_add()),
        "--ptxas-options=-v".to_owned(),
    ];
    // Sound: the program was just made, and is destroyed behind its last use; what comes back ends with a zero.
    unsafe {
        let compiled = result::compile_program(program, &options);
        let log = result::get_program_log(program).unwrap();
        let log = CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned();
        let assembly = compiled.and_then(|()| result::get_ptx(program));
        let answer = match assembly {
            Ok(assembly) => Ok((CStr::from_ptr(assembly.as_ptr()).to_string_lossy().into_owned(), log)),
            Err(error) => Err(format!("{error:?}: {log}")),
        };
        result::destroy_program(program).unwrap();
        answer
    }
}

/// The number before a word.
fn number_before(line: &str, word: &str) -> u32 {
    let words: Vec<&str> = line[..line.find(word).unwrap_or(0)].split_whitespace().collect();
    words.last().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The assembler's lines on each kernel: its name, then what it takes.
fn uses(log: &str) -> BTreeMap<String, Use> {
    let mut uses: BTreeMap<String, Use> = BTreeMap::new();
    let mut kernel = String::new();
    for line in log.lines() {
        if let Some(named) = line.split_once("Compiling entry function '") {
            kernel = named.1.split('\'').next().unwrap_or_default().to_owned();
        }
        let found = uses.entry(kernel.clone()).or_default();
        found.registers = found.registers.max(number_before(line, " registers"));
        found.shared_bytes = found.shared_bytes.max(number_before(line, " bytes smem"));
        found.stack_bytes = found.stack_bytes.max(number_before(line, " bytes stack frame"));
    }
    uses
}

#[test]
#[ignore = "needs NVRTC's library: scripts/test brings it"]
fn every_kernel_compiles_for_every_architecture() {
    need_nvrtc();
    for architecture in ARCHITECTURES {
        let began = Instant::now();
        let mut count = 0;
        for source in Source::ALL {
            let (assembly, log) = compile(&source.text(), source, architecture)
                .unwrap_or_else(|error| panic!("{} for {architecture}: {error}", source.file()));
            let uses = uses(&log);
            for kernel in source.kernels() {
                assert!(assembly.contains(&format!(".entry {kernel}(")), "{kernel} is not in {}", source.file());
                let used = uses.get(&kernel).copied().unwrap_or_default();
                println!(
                    "{architecture:7} {kernel:32} {:4} registers {:6} bytes of shared memory",
                    used.registers, used.shared_bytes
                );
                assert!((1..=MOST_REGISTERS).contains(&used.registers), "{kernel} for {architecture}: {used:?}\n{log}");
                assert!(used.shared_bytes <= MOST_SHARED_BYTES, "{kernel} for {architecture}: {used:?}");
                assert_eq!(used.stack_bytes, 0, "{kernel} for {architecture}: {used:?}");
                count += 1;
            }
        }
        println!("{architecture}: {count} kernels compiled in {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// A mistake is found in the file where it is.
#[test]
#[ignore = "needs NVRTC's library: scripts/test brings it"]
fn a_mistake_is_named_with_its_file_and_line() {
    need_nvrtc();
    let text = Source::Pool.text().replace("struct PoolWords {", "struct PoolWords { absent wrong;");
    let error = compile(&text, Source::Pool, "sm_90").unwrap_err();
    assert!(error.contains("pool.cu(") && error.contains("\"absent\" is undefined"), "{error}");
}
