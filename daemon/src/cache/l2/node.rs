//! One Redis, or one Redis Cluster, which looks like one: its connections and whether it is worth asking. A task of its
//! own connects, probes and connects anew; an operation that finds no connection gives up at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::slots::{self, Master};

/// How long connecting and probing may take: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a node that answers is looked at all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why an operation gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no connection.
    #[error("the node is not connected")]
    Down,
    /// It took too long.
    #[error("the node did not answer within {0:?}")]
    Slow(Duration),
    /// It answered with an error, or the connection broke.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// How to reach it.
enum Way {
    One(Client),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What is done over which connection: a large value that is being written holds up no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Reading for requests.
    Read,
    /// Writing behind them.
    Write,
}

struct State {
    breaker: Breaker,
    /// By lane.
    connections: Option<[Connection; 2]>,
    masters: Vec<Master>,
}

/// What was asked of a node.
#[derive(Debug, Default)]
pub struct Counts {
    /// Values that were there.
    pub hits: AtomicU64,
    /// Values that were not.
    pub misses: AtomicU64,
    /// Operations that failed or took too long.
    pub failures: AtomicU64,
}

/// The node.
pub struct Node {
    name: String,
    way: Way,
    state: Mutex<State>,
    broken: Notify,
    /// Who does not answer within less than that has not been given a fair chance.
    fair: Duration,
    counts: Counts,
}

impl Node {
    /// A Redis. Nothing is connected yet.
    pub fn one(name: String, client: Client, fair: Duration) -> Self {
        Self::new(name, Way::One(client), fair)
    }

    /// A cluster. Nothing is connected yet.
    pub fn cluster(name: String, client: ClusterClient, fair: Duration) -> Self {
        Self::new(name, Way::Cluster(Box::new(client)), fair)
    }

    fn new(name: String, way: Way, fair: Duration) -> Self {
        let state = State { breaker: Breaker::open(Instant::now()), connections: None, masters: Vec::new() };
        Self { name, way, state: Mutex::new(state), broken: Notify::new(), fair, counts: Counts::default() }
    }

    /// Its address, or addresses.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is worth asking.
    pub fn is_up(&self) -> bool {
        let state = self.lock();
        state.breaker.is_closed() && state.connections.is_some()
    }

    /// What was asked of it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The masters of a cluster, as it last told.
    pub fn masters(&self) -> Vec<Master> {
        self.lock().masters.clone()
    }

    /// A value.
    ///
    /// # Errors
    /// When it cannot be had within that time.
    pub async fn get(&self, name: &str, within: Duration) -> Result<Option<Vec<u8>>, Trouble> {
        let mut get = redis::cmd("GET");
        let found: Option<Vec<u8>> = self.query(get.arg(name), Lane::Read, within).await?;
        let count = if found.is_some() { &self.counts.hits } else { &self.counts.misses };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(found)
    }

    /// Keeps a value for so long.
    ///
    /// # Errors
    /// When that cannot be done within that time.
    pub async fn put(&self, name: &str, value: &[u8], ttl: Duration, within: Duration) -> Result<(), Trouble> {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let mut set = redis::cmd("SET");
        self.query(set.arg(name).arg(value).arg("PX").arg(ttl), Lane::Write, within).await
    }

    /// Asks anything small.
    ///
    /// # Errors
    /// When there is no answer within that time.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd, within: Duration) -> Result<T, Trouble> {
        self.query(command, Lane::Read, within).await
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd, lane: Lane, within: Duration) -> Result<T, Trouble> {
        let mut connection = self.connection(lane).ok_or(Trouble::Down)?;
        let asked = tokio::time::timeout(within, connection.query(command)).await;
        let trouble = match asked {
            Ok(Ok(value)) => {
                self.lock().breaker.succeeded();
                return Ok(T::from_redis_value(value).map_err(RedisError::from)?);
            }
            Ok(Err(error)) => Trouble::Redis(error),
            Err(_) => Trouble::Slow(within),
        };
        self.failed(&trouble);
        Err(trouble)
    }

    fn connection(&self, lane: Lane) -> Option<Connection> {
        let state = self.lock();
        let [read, write] = state.connections.as_ref().filter(|_| state.breaker.is_closed())?;
        Some(if lane == Lane::Read { read.clone() } else { write.clone() })
    }

    /// An error that the node answered with was fast, and says nothing against asking again.
    fn failed(&self, trouble: &Trouble) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut state = self.lock();
        match trouble {
            Trouble::Slow(within) if *within < self.fair => return,
            Trouble::Slow(_) => state.breaker.failed(now),
            Trouble::Redis(error) if error.is_unrecoverable_error() || error.kind() == ErrorKind::Io => {
                state.connections = None;
                state.breaker.break_off(now);
            }
            Trouble::Down | Trouble::Redis(_) => return,
        }
        let open = !state.breaker.is_closed();
        drop(state);
        if open {
            tracing::warn!("the cache's node {} is left alone: {trouble}", self.name);
            self.broken.notify_one();
        }
    }

    /// Keeps the node connected, for as long as it is wanted. `exchange` is given a number that is kept on all nodes, and
    /// gives the one that is to stand there.
    pub async fn keep(self: Arc<Self>, exchange: impl Fn(u64) -> u64) {
        let mut told = false;
        loop {
            let probe_at = self.lock().breaker.probe_at();
            if let Some(at) = probe_at {
                tokio::time::sleep_until(at.into()).await;
            }
            match self.look(&exchange).await {
                Ok(()) => {
                    self.is_well();
                    told = false;
                }
                Err(trouble) => {
                    self.is_ill(&trouble, told);
                    told = true;
                }
            }
            if self.is_up() {
                // Sooner, when an operation finds that it is not.
                let _ = tokio::time::timeout(LOOK_AGAIN, self.broken.notified()).await;
            }
        }
    }

    /// Once is enough to tell it.
    fn is_ill(&self, trouble: &Trouble, told: bool) {
        if !told {
            tracing::warn!("the cache's node {} cannot be used: {trouble}; it is tried again", self.name);
        }
        let mut state = self.lock();
        state.connections = None;
        state.breaker.break_off(Instant::now());
    }

    fn is_well(&self) {
        let mut state = self.lock();
        if !state.breaker.is_closed() {
            tracing::info!("the cache's node {} answers", self.name);
        }
        state.breaker.succeeded();
    }

    /// Connects where there is no connection, and asks something.
    async fn look(&self, exchange: &impl Fn(u64) -> u64) -> Result<(), Trouble> {
        let connections = self.lock().connections.clone();
        let mut connections = match connections {
            Some(connections) => connections,
            None => [self.connect().await?, self.connect().await?],
        };
        let [read, _] = &mut connections;
        let exchanged = in_time(exchanged(read, exchange)).await;
        let masters = match read {
            Connection::One(_) => exchanged.map(|()| Vec::new())?,
            // The number may be with a master that is down, while the others answer.
            Connection::Cluster(_) => in_time(masters(read)).await?,
        };
        let mut state = self.lock();
        state.connections = Some(connections);
        state.masters = masters;
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        match &self.way {
            Way::One(client) => {
                // Operations are timed here; what the connection times by itself only ends what nobody waits for.
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(2 * PATIENCE));
                in_time(client.get_multiplexed_async_connection_with_config(&config)).await.map(Connection::One)
            }
            Way::Cluster(client) => in_time(client.get_async_connection()).await.map(Connection::Cluster),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn query(&mut self, command: &Cmd) -> RedisResult<redis::Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }?
        .extract_error()
    }
}

/// Where the number stands that all daemons with these nodes agree on.
const NUMBER: &str = "proofload:generation";

/// The larger of what the node knows and what we know is what both know then.
async fn exchanged(connection: &mut Connection, exchange: &impl Fn(u64) -> u64) -> RedisResult<()> {
    let known = connection.query(redis::cmd("GET").arg(NUMBER)).await?;
    let known: Option<String> = redis::from_redis_value(known)?;
    let known = known.and_then(|text| text.parse().ok()).unwrap_or(0);
    let ours = exchange(known);
    if ours > known {
        connection.query(redis::cmd("SET").arg(NUMBER).arg(ours)).await?;
    }
    Ok(())
}

async fn masters(connection: &mut Connection) -> RedisResult<Vec<Master>> {
    let told = connection.query(redis::cmd("CLUSTER").arg("NODES")).await?;
    Ok(slots::masters(&redis::from_redis_value::<String>(told)?))
}

async fn in_time<T>(asking: impl Future<Output = RedisResult<T>>) -> Result<T, Trouble> {
    Ok(tokio::time::timeout(PATIENCE, asking).await.map_err(|_| Trouble::Slow(PATIENCE))??)
}
