//! The coordinated-omission truth test: a server that answers in 1 ms and freezes for 1 s in every 10 s. What the
//! generator measures must agree with a reference simulation of that many connections. Here the first 10 s with
//! the fewest connections and with as many as needed; `examples/prove_freezing.rs` has all of it.

#[path = "support/freezing_server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod freezing_server;
#[path = "support/reference.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod reference;
#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;
#[path = "support/truth.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod truth;

use reference::{Freeze, figures, simulate};

const FREEZE: Freeze = Freeze { service_ms: 1.0, freeze_ms: 1000.0, period_ms: 10_000.0, phase_ms: 4000.0 };

/// The published truth for this server (p95, mean, fraction above 100 ms), which the reference must reproduce.
#[test]
fn the_reference_agrees_with_the_published_figures() {
    let arrivals: Vec<f64> = (0..20_000).map(f64::from).collect();
    let check = |connections: Option<u32>, p95_ms: f64, mean_ms: f64, slow: f64| {
        let found = figures(&simulate(&FREEZE, &arrivals, connections), 100.0);
        assert!((found.p95_ms / p95_ms - 1.0).abs() < 0.01, "{connections:?}: {found:?}");
        assert!((found.mean_ms / mean_ms - 1.0).abs() < 0.01, "{connections:?}: {found:?}");
        assert!((found.slow / slow - 1.0).abs() < 0.01, "{connections:?}: {found:?}");
    };
    check(Some(16), 533.0, 54.4, 0.096);
    check(Some(32), 517.0, 52.6, 0.093);
    check(Some(100), 506.0, 51.5, 0.091);
    check(Some(400), 503.0, 51.2, 0.090);
    check(None, 501.0, 51.0, 0.090);
}

#[test]
fn the_generator_measures_a_freeze_as_long_as_it_is() {
    for connections in [Some(32), None] {
        let found = truth::compare(FREEZE, 1000.0, 10, connections, 100.0).unwrap();
        assert!(found.measured.worst_error(&found.truth) < 0.05, "{connections:?}: {found:?}");
        if let Some(limit) = connections {
            assert!(found.connections <= limit, "{found:?}");
        }
    }
}
