//! Counting together with other daemons, in a Redis. Each count is one script, which Redis runs as a whole and by its own
//! clock. Where it is down or slow, a daemon counts alone: it has counted along all the time, so it knows what it let in.

use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use tokio::task::AbortHandle;

use crate::admit::quota::{Due, UsedUp};
use crate::admit::rate::{Exceeded, Rate, Standing};
use crate::cache::l2::node::{Node, Trouble};
use crate::config::rate_limit::Shared as Options;

/// Names begin so, in a Redis that keeps other things besides.
const PREFIX: &str = "proofload:limit:";

/// The rate of `admit::rate`, in microseconds: gives what is over the room, and what is spent.
const COUNT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local next = whole + ARGV[1]
local over = next - now - ARGV[2]
if over > 0 then return {over, whole - now} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return {0, next - now}";

/// Quotas: of all the counts or of none. Gives the number of the one that is used up, or 0.
const TAKE: &str = "
for at, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[2 * at - 1]) then return at end
end
for at, key in ipairs(KEYS) do
  redis.call('INCR', key)
  redis.call('EXPIRE', key, ARGV[2 * at])
end
return 0";

const GIVE_BACK: &str = "
for _, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') > 0 then redis.call('DECR', key) end
end";

/// The Redis.
pub(super) struct Shared {
    node: Arc<Node>,
    budget: Duration,
    keeping: AbortHandle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("node", &self.node.name()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins to connect. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the URL is none of Redis'.
    pub(super) fn start(options: &Options) -> Result<Self, String> {
        let wrong = |error| format!("rate_limit.shared: {error}");
        let name = crate::cache::l2::address(options.url.expose()).map_err(wrong)?;
        let client = redis::Client::open(options.url.expose()).map_err(wrong)?;
        let node = Arc::new(Node::one(name, client, options.budget));
        // Nothing is agreed on here: what the node knows may stay.
        let keeping = tokio::spawn(Arc::clone(&node).keep(|known| known)).abort_handle();
        Ok(Self { node, budget: options.budget, keeping })
    }

    /// Counts a request of a client; `None` when that cannot be done in time.
    pub(super) async fn count(&self, client: &str, rate: &Rate) -> Option<Result<Standing, Exceeded>> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut count = script(COUNT, [client]);
        count.arg(micros(rate.interval()).max(1)).arg(micros(rate.room()));
        let (over, spent): (u64, u64) = self.asked(&count).await?;
        let standing = rate.standing(Duration::from_micros(spent));
        Some(match over {
            0 => Ok(standing),
            over => Err(Exceeded { standing, retry_after: Duration::from_micros(over) }),
        })
    }

    /// Counts a request of all quotas or of none; `None` when that cannot be done in time.
    pub(super) async fn take(&self, quotas: &[Due]) -> Option<Result<(), UsedUp>> {
        if quotas.is_empty() {
            return Some(Ok(()));
        }
        let mut take = script(TAKE, quotas.iter().map(Due::name));
        for due in quotas {
            take.arg(due.limit).arg(due.ends_in.as_secs() + 1);
        }
        let used_up: usize = self.asked(&take).await?;
        Some(used_up.checked_sub(1).and_then(|at| quotas.get(at)).map_or(Ok(()), |due| Err(due.used_up())))
    }

    /// Takes a request back.
    pub(super) async fn give_back(&self, quotas: &[Due]) {
        if !quotas.is_empty() {
            let _: Option<redis::Value> = self.asked(&script(GIVE_BACK, quotas.iter().map(Due::name))).await;
        }
    }

    async fn asked<T: redis::FromRedisValue>(&self, script: &Cmd) -> Option<T> {
        let answer = self.node.ask(script, self.budget).await;
        // That it is down was told when it went down; anything else is a mistake of ours or of the server's.
        answer
            .inspect_err(|trouble| {
                if let Trouble::Redis(error) = trouble {
                    tracing::debug!("limits are not shared: {error}");
                }
            })
            .ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

fn script(text: &str, names: impl IntoIterator<Item = impl AsRef<str>>) -> Cmd {
    let names: Vec<_> = names.into_iter().map(|name| format!("{PREFIX}{}", name.as_ref())).collect();
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(names.len()).arg(names);
    command
}
