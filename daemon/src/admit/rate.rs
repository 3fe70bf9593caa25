//! Rates of requests, by client. Pure.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A), as a virtual schedule: of each client it is known when its
//! allowance will be whole again, and a request moves that time by the interval between two requests. So a client costs
//! one time, may come with `burst` requests at once, and after that with exactly `requests` in every `per`.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The table of clients is tidied up at most so often.
const TIDY: Duration = Duration::from_secs(1);

/// How many requests a client may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in every `per`.
    pub requests: u32,
    /// The time in which it may make them.
    pub per: Duration,
    /// Requests at once.
    pub burst: u32,
}

/// How a client stands after it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What holds of it.
    pub rate: Rate,
    /// Requests that it may make at once now.
    pub remaining: u32,
    /// When its allowance will be whole again.
    pub reset: Duration,
}

/// A client has made as many requests as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// How it stands.
    pub standing: Standing,
    /// When it may make the next one.
    pub retry_after: Duration,
}

impl Rate {
    /// The time that one request costs.
    pub fn interval(&self) -> Duration {
        self.per / self.requests.max(1)
    }

    /// What a client may spend at once.
    pub fn room(&self) -> Duration {
        self.interval().saturating_mul(self.burst.max(1))
    }

    /// Judges a request of a client whose allowance is whole at `whole`, and says when it will be then.
    fn judge(&self, whole: Instant, now: Instant) -> Result<(Instant, Standing), Exceeded> {
        let spent = whole.saturating_duration_since(now);
        let next = spent.saturating_add(self.interval());
        match next.checked_sub(self.room()).filter(|over| !over.is_zero()) {
            Some(over) => Err(Exceeded { standing: self.standing(spent), retry_after: over }),
            None => Ok((now + next, self.standing(next))),
        }
    }

    /// How a client stands that has spent so much.
    pub fn standing(&self, spent: Duration) -> Standing {
        let left = self.room().saturating_sub(spent).as_nanos() / self.interval().as_nanos().max(1);
        Standing { rate: *self, remaining: u32::try_from(left).unwrap_or(u32::MAX), reset: spent }
    }
}

/// The clients of late.
#[derive(Debug)]
pub struct Rates<K> {
    /// When the allowance of each is whole again.
    clients: HashMap<K, Instant>,
    max_clients: usize,
    /// The one allowance of all clients that found no place in the table.
    crowd: Option<Instant>,
    tidied: Instant,
}

impl<K: Hash + Eq> Rates<K> {
    /// No clients, and room for so many.
    pub fn new(max_clients: usize, now: Instant) -> Self {
        Self { clients: HashMap::new(), max_clients, crowd: None, tidied: now }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// When the client has made as many as it may.
    pub fn count(&mut self, client: K, rate: &Rate, now: Instant) -> Result<Standing, Exceeded> {
        self.tidy(now);
        let known = self.clients.get(&client).copied();
        let stranger = known.is_none() && self.clients.len() >= self.max_clients;
        let whole = if stranger { self.crowd } else { known };
        let (whole, standing) = rate.judge(whole.unwrap_or(now), now)?;
        if stranger {
            self.crowd = Some(whole);
        } else {
            self.clients.insert(client, whole);
        }
        Ok(standing)
    }

    /// Forgets clients whose allowance is whole: they are as good as new.
    fn tidy(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tidied) >= TIDY {
            self.tidied = now;
            self.clients.retain(|_, whole| *whole > now);
        }
    }
}

/// Whom an address stands for: in IPv6 a network of 64 bits is what one customer has at least.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { requests: 100, per: Duration::from_secs(60), burst: 10 };

    #[test]
    fn an_allowance_is_spent_and_comes_back() {
        let start = Instant::now();
        let mut rates = Rates::new(9, start);
        let mut check = |at_ms, expected: Result<(u32, u64), u64>| {
            let found = rates.count("a", &RATE, start + Duration::from_millis(at_ms));
            let found = found.map(|standing| (standing.remaining, standing.reset));
            let expected = expected.map(|(remaining, ms)| (remaining, Duration::from_millis(ms)));
            assert_eq!(found.map_err(|over| over.retry_after), expected.map_err(Duration::from_millis), "{at_ms}");
        };
        (1..=10).for_each(|nth: u64| check(0, Ok((10 - nth as u32, 600 * nth))));
        check(0, Err(600));
        check(599, Err(1));
        check(600, Ok((0, 6000)));
        check(600, Err(600));
        check(6600, Ok((9, 600)));
        check(100_000, Ok((9, 600)));
    }

    #[test]
    fn each_client_has_its_own_and_the_table_is_bounded() {
        let start = Instant::now();
        let mut rates = Rates::new(2, start);
        let once = Rate { burst: 1, ..RATE };
        let mut count = |client, at_ms| rates.count(client, &once, start + Duration::from_millis(at_ms)).is_ok();
        assert!(count(1, 0) && count(2, 0) && !count(1, 0));
        assert!(count(3, 0) && !count(4, 0), "those without a place share one allowance");
        assert!(count(3, 2000) && count(4, 2000), "the first two were forgotten");
        assert_eq!(rates.clients.len(), 2);
    }

    #[test]
    fn addresses_stand_for_customers() {
        let check = |address: &str, expected: &str| {
            assert_eq!(client(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{address}");
        };
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }

    proptest! {
        /// Whoever hammers gets the burst at once and then exactly its rate: over any time, the burst and what comes back
        /// in it, within one.
        #[test]
        fn no_more_and_no_less(requests in 1u32..2000, per_s in 1u64..3600, burst in 1u32..50, seconds in 1u64..600) {
            let rate = Rate { requests, per: Duration::from_secs(per_s), burst };
            let start = Instant::now();
            let (mut rates, mut now, mut made) = (Rates::new(1, start), start, 0.0);
            while now < start + Duration::from_secs(seconds) && made < 5000.0 {
                match rates.count(0, &rate, now) {
                    Ok(_) => made += 1.0,
                    Err(over) => now += over.retry_after,
                }
            }
            let elapsed = (now - start).as_secs_f64();
            let expected = f64::from(burst) + elapsed * f64::from(requests) / per_s as f64;
            prop_assert!((made - expected).abs() <= 1.0 + 1e-5 * expected, "{made}, expected {expected}");
        }
    }
}
