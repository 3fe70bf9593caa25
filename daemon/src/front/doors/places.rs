//! Places for connections: so many in all, and so many from one address. Who finds none from its address is turned away;
//! who finds none in all waits in the system's own queue.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one or more listeners.
#[derive(Debug, Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _one_of_all: OwnedSemaphorePermit,
}

impl Places {
    /// So many in all.
    pub(super) fn new(connections: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))), from: Arc::default() }
    }

    /// Waits until there is one for whoever comes.
    pub(super) async fn one_of_all(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// One for a connection from this address, of which there may be so many.
    pub(super) fn seat(&self, one: OwnedSemaphorePermit, address: IpAddr, per_address: Option<usize>) -> Option<Place> {
        let address = household(address);
        let mut from = lock(&self.from);
        let taken = from.entry(address).or_default();
        if per_address.is_some_and(|most| *taken >= most) {
            return None;
        }
        *taken += 1;
        Some(Place { address, from: Arc::clone(&self.from), _one_of_all: one })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut from = lock(&self.from);
        if let Some(taken) = from.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                from.remove(&self.address);
            }
        }
    }
}

fn lock(from: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    from.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of IPv6 whoever has one address has all of its /64.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_so_many_places_and_gets_them_back() {
        let places = Places::new(10);
        let seat = async |address: &str| {
            let one = places.one_of_all().await.unwrap();
            places.seat(one, address.parse().unwrap(), Some(2))
        };
        let held = [seat("10.0.0.1").await, seat("::ffff:10.0.0.1").await];
        assert!(held.iter().all(Option::is_some));
        assert!(seat("10.0.0.1").await.is_none());
        assert!(seat("10.0.0.2").await.is_some(), "others have their own");
        let v6 = [seat("2001:db8::1").await, seat("2001:db8::2").await];
        assert!(v6.iter().all(Option::is_some) && seat("2001:db8::3").await.is_none());
        assert!(seat("2001:db8:0:1::3").await.is_some());
        drop((held, v6));
        assert!(seat("10.0.0.1").await.is_some());
        assert!(lock(&places.from).is_empty(), "nothing is remembered of who is gone");
        assert_eq!(places.all.available_permits(), 10);
    }
}
