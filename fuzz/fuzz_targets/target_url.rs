//! Base URLs of targets: what is accepted has a host, and is the same when it is put together again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_loadgen::transport::check_url;

fuzz_target!(|url: &str| {
    if let Ok((authority, prefix)) = check_url(url) {
        assert!(!authority.host().is_empty(), "no host in {url:?}");
        assert!(!prefix.ends_with('/'), "{prefix:?} would double the slash of a path");
        assert_eq!(check_url(&format!("http://{authority}{prefix}")), Ok((authority, prefix)));
    }
});
