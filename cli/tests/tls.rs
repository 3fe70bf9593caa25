//! A run against our own daemon behind TLS that wants to see a certificate: over HTTP and gRPC, nothing fails.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::{Daemon, Place, findings, run, text};

/// Makes `ca.pem`, and `server` and `client` with their keys, signed by it.
fn certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), signed.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn a_run_goes_through_mutual_tls() {
    let place = Place::new();
    let folder = place.path("certificates");
    std::fs::create_dir(&folder).unwrap();
    certificates(&folder);
    let file = |name: &str| folder.join(name).display().to_string();
    let setting = |key: &str, name: &str| format!("--set=tls.{key}={}", file(name));
    let settings =
        [setting("certificate", "server.pem"), setting("key", "server-key.pem"), setting("client_ca", "ca.pem")];
    let daemon = Daemon::with(&settings.each_ref().map(String::as_str));
    let (http, grpc) = (daemon.http.replace("http:", "https:"), daemon.grpc.replace("http:", "https:"));
    let entry = |name: &str, protocol: &str| {
        format!(
            "[[mix]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nmodel = \"tiny_mlp\"\n\
             inputs = [{{ name = \"input\", datatype = \"FP32\", shape = [1, 16], data = \"random\" }}]\n"
        )
    };
    let scenario = |identity: &str| {
        format!(
            "kind = \"sustained\"\n[target]\nhttp = \"{http}\"\ngrpc = \"{grpc}\"\n[target.tls]\nca = \"{}\"\n{identity}\n\
             [load]\nmodel = \"open\"\narrivals = \"constant\"\nrate = \"20/s\"\nduration = \"3s\"\nwarm_up = \"0s\"\n{}{}",
            file("ca.pem"),
            entry("json", "kserve-http-json"),
            entry("grpc", "kserve-grpc"),
        )
    };
    let shown = format!("client_cert = \"{}\"\nclient_key = \"{}\"", file("client.pem"), file("client-key.pem"));
    for (identity, served) in [(shown.as_str(), true), ("", false)] {
        let out = place.path(if served { "served" } else { "refused" });
        let written = place.scenario(&scenario(identity));
        let ran = run(&["run", "--quiet", written.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        if !served {
            assert_ne!(ran.status.code(), Some(0), "who shows nothing is served");
            continue;
        }
        let found = findings(&out);
        assert_eq!((found.totals.samples, found.errors.len()), (60, 0), "{:?} {}", found.errors, text(&ran.stderr));
    }
}
