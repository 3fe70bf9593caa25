//! The closed model: what each simulated user does in each of its turns. A user's turns depend on the seed and its
//! number alone, so that they are the same whatever the target's speed.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::mix::Draw;
use super::{Mix, exponential, stream};

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
    mix: Mix,
    think: Think,
    rng: Pcg64,
    unique: u64,
}

impl UserPlan {
    /// The turns of user number `user`.
    pub fn new(mix: Mix, think: Think, seed: u64, user: u32) -> Self {
        // Streams 1 and 2 are the open model's; the users' begin above them. 2^32 turns a user are unique.
        Self { mix, think, rng: stream(seed, 16 + u64::from(user)), unique: u64::from(user) << 32 }
    }

    /// The next turn.
    pub fn turn(&mut self) -> Turn {
        let think_ns = match self.think {
            Think::Constant { ns } => ns,
            Think::Exponential { mean_ns } => (exponential(&mut self.rng) * mean_ns as f64) as u64,
        };
        let Draw { entry, payload, item } = self.mix.draw(&mut self.rng);
        let unique = self.unique;
        self.unique += 1;
        Turn { think_ns, entry, payload, unique, content: item.map_or(unique, u64::from) }
    }
}

#[cfg(test)]
mod tests {
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
        let mean = turns(4).iter().map(|t| t.think_ns as f64).sum::<f64>() / 500.0;
        assert!((mean / 1e6 - 1.0).abs() < 0.25, "{mean}");
    }
}
