//! Who may execute when instances of all models share named resources: Triton's rate limiter. An instance takes all it
//! needs at once and holds nothing while it waits, so nobody waits for one who waits. Pure.
//!
//! Of those that wait, the one goes first that has executed least often for its priority: an instance of priority 2
//! gets half the turns of one of priority 1. While it waits for a resource, others may pass that leave alone what it
//! waits for. Beyond Triton, an instance that comes new or was idle starts level with the others instead of catching up.

use std::collections::{BTreeMap, BTreeSet};

/// How often an instance may execute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rate {
    /// How much of which resource each execution takes.
    pub needs: BTreeMap<Resource, u64>,
    /// 1 gets the most turns; 0 is 1.
    pub priority: u32,
}

/// Something of which there is a number of copies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Whether its copies are the whole server's, not each device's.
    pub global: bool,
}

/// Names an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member(u64);

/// Why an instance cannot take part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It would never execute.
    #[error(
        "resource \"{resource}\" is limited to {limit}, and an instance needs {needed}; raise it in \
         models.rate_limit_resources"
    )]
    Limited {
        /// Of what.
        resource: String,
        /// How much there is.
        limit: u64,
        /// How much it takes.
        needed: u64,
    },
    /// The name means two things.
    #[error("resource \"{0}\" is global in one model and per device in another; it must be the same in all")]
    Ambiguous(String),
}

#[derive(Debug)]
struct State {
    rate: Rate,
    /// Executions times priority, where all began at the same.
    pass: u64,
    running: bool,
}

impl State {
    fn stride(&self) -> u64 {
        u64::from(self.rate.priority.max(1))
    }
}

/// The resources and those that share them.
#[derive(Debug, Default)]
pub struct Shares {
    /// How much there is of each, where it is declared; else as much as the neediest instance takes.
    declared: Option<BTreeMap<String, u64>>,
    taken: BTreeMap<Resource, u64>,
    members: BTreeMap<Member, State>,
    /// Who waits, in the order in which they go.
    waiting: BTreeSet<(u64, Member)>,
    next: u64,
    /// The pass of whoever was let go last.
    reached: u64,
}

impl Shares {
    /// Resources in declared numbers; without any, there is of each what the neediest instance takes.
    pub fn new(declared: BTreeMap<String, u64>) -> Self {
        Self { declared: Some(declared).filter(|declared| !declared.is_empty()), ..Self::default() }
    }

    /// Lets an instance take part.
    ///
    /// # Errors
    /// When it could never execute.
    pub fn join(&mut self, rate: Rate) -> Result<Member, RateError> {
        self.check(&rate)?;
        let member = Member(self.next);
        self.next += 1;
        self.members.insert(member, State { rate, pass: self.reached, running: false });
        Ok(member)
    }

    /// An instance is gone, whatever it did.
    pub fn leave(&mut self, member: Member) {
        self.withdraw(member);
        self.release(member, false);
        self.members.remove(&member);
    }

    /// An instance wants to execute.
    pub fn want(&mut self, member: Member) {
        let Some(state) = self.members.get_mut(&member).filter(|state| !state.running) else { return };
        if self.waiting.contains(&(state.pass, member)) {
            return;
        }
        state.pass = state.pass.max(self.reached);
        self.waiting.insert((state.pass, member));
    }

    /// It does not want to any more.
    pub fn withdraw(&mut self, member: Member) {
        if let Some(state) = self.members.get(&member) {
            self.waiting.remove(&(state.pass, member));
        }
    }

    /// Lets everybody go who can go now, and says who that is.
    pub fn grant(&mut self) -> Vec<Member> {
        let mut awaited = BTreeSet::new();
        let mut granted = Vec::new();
        for (pass, member) in self.waiting.clone() {
            let Some(state) = self.members.get(&member) else { continue };
            let short = |(resource, count): &(&Resource, &u64)| **count > self.free(resource);
            let missing: Vec<_> = state.rate.needs.iter().filter(short).map(|(resource, _)| resource).collect();
            let in_the_way = state.rate.needs.keys().any(|resource| awaited.contains(resource));
            if missing.is_empty() && !in_the_way {
                self.start(pass, member);
                granted.push(member);
            } else {
                // Whoever comes later must leave all of it alone, or a large need would wait for ever.
                awaited.extend(state.rate.needs.keys().cloned());
            }
        }
        granted
    }

    /// An instance is done with what it was let go for. What it took is free again.
    pub fn release(&mut self, member: Member, executed: bool) {
        let Some(state) = self.members.get_mut(&member).filter(|state| state.running) else { return };
        state.running = false;
        state.pass += if executed { state.stride() } else { 0 };
        for (resource, count) in &state.rate.needs {
            if let Some(taken) = self.taken.get_mut(resource) {
                *taken -= count;
            }
        }
    }

    /// Whether an instance has been let go and is not done.
    pub fn is_running(&self, member: Member) -> bool {
        self.members.get(&member).is_some_and(|state| state.running)
    }

    fn start(&mut self, pass: u64, member: Member) {
        self.waiting.remove(&(pass, member));
        self.reached = self.reached.max(pass);
        let Some(state) = self.members.get_mut(&member) else { return };
        state.running = true;
        for (resource, count) in &state.rate.needs {
            *self.taken.entry(resource.clone()).or_default() += count;
        }
    }

    fn free(&self, resource: &Resource) -> u64 {
        self.capacity(resource).saturating_sub(self.taken.get(resource).copied().unwrap_or(0))
    }

    fn capacity(&self, resource: &Resource) -> u64 {
        let needed = |state: &State| state.rate.needs.get(resource).copied();
        match &self.declared {
            Some(declared) => declared.get(&resource.name).copied().unwrap_or(0),
            None => self.members.values().filter_map(needed).max().unwrap_or(0),
        }
    }

    fn check(&self, rate: &Rate) -> Result<(), RateError> {
        for (resource, &needed) in &rate.needs {
            let opposite = Resource { name: resource.name.clone(), global: !resource.global };
            let others = self.members.values().map(|state| &state.rate);
            if others.chain([rate]).any(|rate| rate.needs.contains_key(&opposite)) {
                return Err(RateError::Ambiguous(opposite.name));
            }
            let Some(declared) = &self.declared else { continue };
            let limit = declared.get(&resource.name).copied().unwrap_or(0);
            if needed > limit {
                return Err(RateError::Limited { resource: opposite.name, limit, needed });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(needs: &[(&str, u64)], priority: u32) -> Rate {
        let resource = |name: &str| Resource { name: name.to_owned(), global: false };
        Rate { needs: needs.iter().map(|(name, count)| (resource(name), *count)).collect(), priority }
    }

    fn declared(resources: &[(&str, u64)]) -> Shares {
        Shares::new(resources.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect())
    }

    /// Joins instances with these needs, lets all of them want to execute, and expects who may.
    fn check(resources: &[(&str, u64)], needs: &[&[(&str, u64)]], expected: &[u64]) {
        let mut shares = declared(resources);
        let members: Vec<_> = needs.iter().map(|needs| shares.join(rate(needs, 1)).expect("possible")).collect();
        members.iter().for_each(|member| shares.want(*member));
        assert_eq!(shares.grant(), expected.iter().map(|index| Member(*index)).collect::<Vec<_>>(), "{needs:?}");
    }

    #[test]
    fn who_may_execute_together() {
        check(&[], &[&[], &[]], &[0, 1]);
        check(&[], &[&[("a", 1)], &[("a", 1)]], &[0]);
        check(&[("a", 2)], &[&[("a", 1)], &[("a", 1)], &[("a", 1)]], &[0, 1]);
        check(&[], &[&[("a", 1)], &[("b", 1)], &[("a", 1), ("b", 1)]], &[0, 1]);
        check(&[], &[&[("a", 4)], &[("a", 1)], &[("b", 1)], &[]], &[0, 2, 3]);
        // The second waits for `a`; what comes later must not take it away, nor `b`, which it needs as well.
        check(&[("a", 4), ("b", 1)], &[&[("a", 3)], &[("a", 2), ("b", 1)], &[("a", 1)], &[("b", 1)]], &[0]);
    }

    #[test]
    fn what_could_never_execute_is_refused() {
        let refused = declared(&[("a", 2)]).join(rate(&[("a", 3)], 1));
        assert_eq!(refused, Err(RateError::Limited { resource: "a".to_owned(), limit: 2, needed: 3 }));
        assert!(declared(&[("a", 2)]).join(rate(&[("b", 1)], 1)).is_err(), "what is not declared is not there");
        let mut shares = Shares::default();
        shares.join(rate(&[("a", 1)], 1)).expect("possible");
        let global = Resource { name: "a".to_owned(), global: true };
        let refused = shares.join(Rate { needs: BTreeMap::from([(global, 1)]), priority: 1 });
        assert_eq!(refused, Err(RateError::Ambiguous("a".to_owned())));
    }

    #[test]
    fn turns_follow_priorities() {
        let mut shares = Shares::default();
        let members = [1, 2, 0].map(|priority| shares.join(rate(&[("a", 1)], priority)).expect("possible"));
        let mut turns = BTreeMap::new();
        for _ in 0..500 {
            members.iter().for_each(|member| shares.want(*member));
            let granted = shares.grant();
            assert_eq!(granted.len(), 1);
            *turns.entry(granted[0]).or_insert(0) += 1;
            shares.release(granted[0], true);
        }
        assert_eq!(turns.into_values().collect::<Vec<_>>(), [200, 100, 200]);
    }

    #[test]
    fn a_newcomer_does_not_catch_up() {
        let mut shares = Shares::default();
        let old = shares.join(rate(&[("a", 1)], 1)).expect("possible");
        for _ in 0..1000 {
            shares.want(old);
            shares.grant();
            shares.release(old, true);
        }
        let new = shares.join(rate(&[("a", 1)], 1)).expect("possible");
        let mut turns = [0u32; 2];
        for _ in 0..100 {
            shares.want(old);
            shares.want(new);
            let granted = shares.grant()[0];
            turns[usize::from(granted == new)] += 1;
            shares.release(granted, true);
        }
        assert!(turns[0].abs_diff(turns[1]) <= 2, "{turns:?}");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Want(usize),
        Withdraw(usize),
        Finish { nth: usize, executed: bool },
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0usize..8).prop_map(Step::Want),
            1 => (0usize..8).prop_map(Step::Withdraw),
            4 => (0usize..8, any::<bool>()).prop_map(|(nth, executed)| Step::Finish { nth, executed }),
            1 => (0usize..8).prop_map(Step::Leave),
        ]
    }

    fn needs() -> impl Strategy<Value = Vec<Rate>> {
        let one = (proptest::collection::btree_map(0usize..3, 1u64..5, 0..3), 0u32..4);
        proptest::collection::vec(one, 1..8).prop_map(|rates| {
            let named = |(index, count): (usize, u64)| {
                (Resource { name: ["a", "b", "c"][index].to_owned(), global: index == 2 }, count)
            };
            let rate = |(needs, priority): (BTreeMap<_, _>, u32)| Rate {
                needs: needs.into_iter().map(named).collect(),
                priority,
            };
            rates.into_iter().map(rate).collect()
        })
    }

    proptest! {
        /// Whatever instances do: no resource is taken more often than it is there; nobody waits who could go and whom
        /// nobody is before; and once those that run are done, everybody who waits gets a turn: there is no deadlock
        /// and no starvation.
        #[test]
        fn resources_suffice_and_everybody_gets_a_turn(
            rates in needs(), explicit in any::<bool>(), steps in proptest::collection::vec(step(), 0..80)
        ) {
            let resources = [("a", 5), ("b", 4), ("c", 6)];
            let mut shares = if explicit { declared(&resources) } else { Shares::default() };
            let mut members: Vec<_> = rates.into_iter().map(|rate| shares.join(rate).expect("possible")).collect();
            let mut running = Vec::new();
            for step in steps {
                match step {
                    Step::Want(index) => members.get(index).into_iter().for_each(|member| shares.want(*member)),
                    Step::Withdraw(index) => members.get(index).into_iter().for_each(|member| shares.withdraw(*member)),
                    Step::Finish { nth, executed } if nth < running.len() => shares.release(running.swap_remove(nth), executed),
                    Step::Leave(index) if index < members.len() => {
                        let gone = members.swap_remove(index);
                        running.retain(|member| *member != gone);
                        shares.leave(gone);
                    }
                    Step::Finish { .. } | Step::Leave(_) => {}
                }
                running.extend(shares.grant());
                let mut taken: BTreeMap<Resource, u64> = BTreeMap::new();
                for (resource, count) in running.iter().flat_map(|member| &shares.members[member].rate.needs) {
                    *taken.entry(resource.clone()).or_default() += count;
                }
                shares.taken.retain(|_, count| *count > 0);
                prop_assert_eq!(&taken, &shares.taken);
                prop_assert!(!explicit || taken.iter().all(|(resource, count)| *count <= shares.capacity(resource)));
                prop_assert!(running.iter().all(|member| shares.is_running(*member)));
                prop_assert!(!running.is_empty() || shares.waiting.is_empty(), "with nothing taken, somebody goes");
            }
            let mut waiting: BTreeSet<_> = shares.waiting.iter().map(|(_, member)| *member).collect();
            let mut rounds = 1000;
            while !waiting.is_empty() {
                prop_assert!(rounds > 0, "{waiting:?} wait for ever");
                rounds -= 1;
                // Those that run come back at once: they must not get before those that wait.
                for member in std::mem::take(&mut running) {
                    shares.release(member, true);
                    shares.want(member);
                }
                running = shares.grant();
                waiting.retain(|member| !running.contains(member));
            }
        }
    }
}
