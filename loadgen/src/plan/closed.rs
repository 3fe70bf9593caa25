//! The closed model: what each simulated user does in each of its turns. A user's turns depend on the seed and its
//! number alone, whatever the target's speed; only a journey that fails is cut short.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::journey::{Doings, Place};
use super::mix::Draw;
use super::{exponential, stream, uniform};

/// How long a user waits between an answer and its next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "snake_case")]
pub enum Think {
    /// Always the same.
    Constant {
        /// The wait.
        ns: u64,
    },
    /// Exponential.
    Exponential {
        /// The mean wait.
        mean_ns: u64,
    },
}

/// One turn of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The wait before it.
    pub think_ns: u64,
    /// Index of the entry of the mix.
    pub entry: u16,
    /// Index of the payload within the entry.
    pub payload: u32,
    /// What makes the request unlike every other.
    pub unique: u64,
    /// What fills its payload: the same, or the item where contents repeat.
    pub content: u64,
}

/// The turns of one user, without end.
#[derive(Debug, Clone)]
pub struct UserPlan {
    doings: Doings,
    think: Think,
    rng: Pcg64,
    unique: u64,
    place: Option<Place>,
    begun: bool,
}

impl UserPlan {
    /// The turns of user number `user`.
    pub fn new(doings: impl Into<Doings>, think: Think, seed: u64, user: u32) -> Self {
        // Streams 1 and 2 are the open model's; the users' begin above them. 2^32 turns a user are unique.
        let (rng, unique) = (stream(seed, 16 + u64::from(user)), u64::from(user) << 32);
        Self { doings: doings.into(), think, rng, unique, place: None, begun: false }
    }

    /// Cuts the journey that the user is on short: what would have followed makes no sense any more. Says whether it
    /// was on one.
    pub fn abandon(&mut self) -> bool {
        self.place.take().is_some()
    }

    /// Whether the next turn goes on with a journey.
    pub fn is_under_way(&self) -> bool {
        self.place.is_some()
    }

    /// The next turn.
    pub fn turn(&mut self) -> Turn {
        let think_ns = self.thought_ns();
        let (Draw { entry, payload, item }, place) = self.doings.draw(self.place, &mut self.rng);
        self.place = place;
        let unique = self.unique;
        self.unique += 1;
        Turn { think_ns, entry, payload, unique, content: item.map_or(unique, u64::from) }
    }
}

impl UserPlan {
    /// The next thought. The first one is taken up in the middle, as an observer would find it: users who all began
    /// theirs at once would march in step for the whole run.
    fn thought_ns(&mut self) -> u64 {
        let begun = std::mem::replace(&mut self.begun, true);
        match self.think {
            Think::Constant { ns } if begun => ns,
            Think::Constant { ns } => (uniform(&mut self.rng) * ns as f64) as u64,
            // What is left of an exponential thought is as long as a whole one.
            Think::Exponential { mean_ns } => (exponential(&mut self.rng) * mean_ns as f64) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mix;
    use super::*;

    #[test]
    fn turns_repeat_for_the_same_user_and_differ_between_users() {
        let turns = |user| {
            let mut plan =
                UserPlan::new(Mix::new([(1.0, 3), (2.0, 1)]), Think::Exponential { mean_ns: 1_000_000 }, 9, user);
            (0..500).map(|_| plan.turn()).collect::<Vec<_>>()
        };
        assert_eq!(turns(4), turns(4));
        assert_ne!(turns(4), turns(5));
        let first = |user| UserPlan::new(Mix::new([(1.0, 1)]), Think::Constant { ns: 1000 }, 9, user).turn().think_ns;
        let firsts: Vec<u64> = (0..1000).map(first).collect();
        let early = firsts.iter().filter(|ns| **ns < 500).count();
        assert!(firsts.iter().all(|ns| *ns < 1000) && early.abs_diff(500) < 80, "{early} of 1000 in the first half");
        let mut plan = UserPlan::new(
            Doings::new(Mix::new([(0.0, 1), (0.0, 1), (0.0, 1)]), [(1.0, vec![0, 1, 2])]),
            Think::Constant { ns: 5 },
            9,
            1,
        );
        let mut entries = Vec::new();
        for n in 0..8 {
            entries.push(plan.turn().entry);
            assert_eq!((n == 4) && plan.abandon(), n == 4, "it was on its way");
        }
        assert_eq!(entries, [0, 1, 2, 0, 1, 0, 1, 2], "after a cut the journey begins anew");
        assert!(!plan.is_under_way() && !plan.abandon());
        let mean = turns(4).iter().map(|t| t.think_ns as f64).sum::<f64>() / 500.0;
        assert!((mean / 1e6 - 1.0).abs() < 0.25, "{mean}");
    }
}
