//! Base URLs of targets: what is accepted has a host or a whole path, and is the same when it is put together again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_loadgen::transport::BaseUrl;

fuzz_target!(|url: &str| {
    match BaseUrl::parse(url) {
        Ok(BaseUrl::Tcp { tls, authority, prefix }) => {
            assert!(!authority.host().is_empty(), "no host in {url:?}");
            assert!(!prefix.ends_with('/'), "{prefix:?} would double the slash of a path");
            let scheme = if tls { "https" } else { "http" };
            let again = BaseUrl::parse(&format!("{scheme}://{authority}{prefix}"));
            assert_eq!(again, Ok(BaseUrl::Tcp { tls, authority, prefix }));
        }
        Ok(BaseUrl::Unix(path)) => {
            assert!(path.is_absolute(), "{path:?} is not whole");
            let again = BaseUrl::parse(&format!("unix:{}", path.display()));
            assert_eq!(again, Ok(BaseUrl::Unix(path)));
        }
        Err(_) => {}
    }
});
