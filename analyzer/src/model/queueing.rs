//! Waiting by formula: Erlang's C for M/M/m, and Allen and Cunneen's approximation for G/G/m. Requests that are served one by one;
//! batches are `batcher`'s affair. Pure.

/// The share of arrivals that wait, with Poisson arrivals, exponential service and this load in erlangs; 1 where servers cannot
/// keep up.
pub(super) fn erlang_c(servers: u32, erlangs: f64) -> f64 {
    let m = f64::from(servers);
    if erlangs >= m {
        return 1.0;
    }
    // Erlang's B by its recursion, which cannot overflow.
    let blocked = (1..=servers).fold(1.0, |blocked, k| erlangs * blocked / (f64::from(k) + erlangs * blocked));
    let busy = erlangs / m;
    blocked / (1.0 - busy * (1.0 - blocked))
}

/// The mean wait, in the unit of `service`: Allen and Cunneen (1990), W = C(m, ρ) · s / (m (1 − ρ)) · (ca² + cs²) / 2. `None` where
/// servers cannot keep up.
pub(super) fn allen_cunneen(
    servers: u32,
    per_unit: f64,
    service: f64,
    arrivals_cv2: f64,
    service_cv2: f64,
) -> Option<f64> {
    let erlangs = per_unit * service;
    let m = f64::from(servers);
    (erlangs < m && erlangs > 0.0)
        .then(|| erlang_c(servers, erlangs) * service / (m - erlangs) * (arrivals_cv2 + service_cv2) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_c_is_that_of_tables() {
        let check = |servers, erlangs, expected: f64| {
            let found = erlang_c(servers, erlangs);
            assert!((found - expected).abs() < 5e-4, "{servers} {erlangs}: {found}");
        };
        check(1, 0.5, 0.5);
        check(2, 1.0, 1.0 / 3.0);
        check(3, 2.0, 0.4444);
        check(10, 8.0, 0.4092);
        check(4, 4.5, 1.0);
        check(500, 450.0, 0.0122);
    }

    #[test]
    fn waits_are_exact_where_theory_is() {
        let check = |servers, rate, ca2, cs2, expected: f64| {
            let found = allen_cunneen(servers, rate, 1.0, ca2, cs2).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} and not {expected}");
        };
        // M/M/1: ρ / (1 − ρ); M/D/1: half of it (Pollaczek and Khinchine).
        check(1, 0.8, 1.0, 1.0, 4.0);
        check(1, 0.8, 1.0, 0.0, 2.0);
        check(2, 1.0, 1.0, 1.0, 1.0 / 3.0);
        assert_eq!(allen_cunneen(2, 2.0, 1.0, 1.0, 1.0), None);
        assert_eq!(allen_cunneen(2, 0.0, 1.0, 1.0, 1.0), None);
    }
}
