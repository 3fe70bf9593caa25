//! Tells the binary which commit it was built from, where that is known.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok();
    let commit = commit.filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    println!("cargo::rustc-env=PROOFLOAD_GIT_COMMIT={}", String::from_utf8_lossy(&commit).trim());
}
