//! Priorities, queue policies of levels, and the order of answers, through the engine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proofload_daemon::engine::{Engine, RequestContext, ServeError};
use tokio::task::JoinHandle;

use crate::support::{Daemon, context, exchange, metric, request, simulated, statistics, until};

const GRACE: Duration = Duration::from_secs(5);

/// Requests that note their names when they are answered.
struct Clients {
    engine: Engine,
    answered: Arc<Mutex<Vec<&'static str>>>,
    tasks: Vec<JoinHandle<Result<(), ServeError>>>,
}

impl Clients {
    fn of(daemon: &Daemon) -> Self {
        Self { engine: daemon.engine(), answered: Arc::default(), tasks: Vec::new() }
    }

    /// Asks, and waits until so many are in flight and all but the first wait.
    async fn ask(&mut self, name: &'static str, context: RequestContext) {
        let (engine, answered) = (self.engine.clone(), Arc::clone(&self.answered));
        self.tasks.push(tokio::spawn(async move {
            let mut request = request(&[1.0]);
            request.inputs[0].shape.insert(0, 1);
            engine.infer(request, context, Ok).await.map_err(|failed| failed.error)?;
            answered.lock().unwrap().push(name);
            Ok(())
        }));
        until(&self.engine, self.tasks.len(), self.tasks.len() as u64 - 1).await;
    }

    /// Waits for all answers; gives them in the order in which they came.
    async fn answers(self) -> Vec<&'static str> {
        for task in self.tasks {
            task.await.unwrap().unwrap();
        }
        std::mem::take(&mut *self.answered.lock().unwrap())
    }
}

fn priority(priority: u32) -> RequestContext {
    RequestContext { priority, ..context() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_level_is_served_first() {
    let levels = "max_batch_size: 1 dynamic_batching { priority_levels: 3 default_priority_level: 2 }";
    let daemon = Daemon::with_model(&simulated(150.0, 1, levels), GRACE).await;
    let mut clients = Clients::of(&daemon);
    for (name, level) in [("running", 3), ("last", 3), ("default", 0), ("unknown level", 9), ("first", 1)] {
        clients.ask(name, priority(level)).await;
    }
    assert_eq!(clients.answers().await, ["running", "first", "default", "unknown level", "last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_level_leaves_room_at_others() {
    let levels = "max_batch_size: 1 dynamic_batching { priority_levels: 2 default_priority_level: 1 \
                  priority_queue_policy { key: 2 value { max_queue_size: 1 } } }";
    let daemon = Daemon::with_model(&simulated(300.0, 1, levels), GRACE).await;
    let mut clients = Clients::of(&daemon);
    clients.ask("running", priority(1)).await;
    clients.ask("low", priority(2)).await;
    let body = |level| {
        format!(
            r#"{{"parameters":{{"priority":{level}}},
                "inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[0]}}]}}"#
        )
    };
    let http = daemon.app.http();
    let (refused, taken) = tokio::join!(
        exchange(http, "POST", "/v2/models/m/infer", body(2)),
        exchange(http, "POST", "/v2/models/m/infer", body(1))
    );
    let (refused, taken) = (refused.unwrap(), taken.unwrap());
    assert_eq!((refused.status.as_u16(), taken.status.as_u16()), (503, 200));
    assert!(String::from_utf8_lossy(&refused.body).contains("`max_queue_size` with 1 requests waiting"));
    clients.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_request_is_served_last_and_not_refused() {
    let delay = "max_batch_size: 1 dynamic_batching { default_queue_policy { timeout_action: DELAY \
                 default_timeout_microseconds: 60000000 allow_timeout_override: true } }";
    let daemon = Daemon::with_model(&simulated(200.0, 1, delay), GRACE).await;
    let mut clients = Clients::of(&daemon);
    clients.ask("running", context()).await;
    clients.ask("delayed", RequestContext { timeout: Some(Duration::from_millis(1)), ..context() }).await;
    clients.ask("patient", context()).await;
    assert_eq!(clients.answers().await, ["running", "patient", "delayed"]);
    assert_eq!(statistics(&daemon.engine()).inference_stats.fail.count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_counts_what_it_did() {
    let daemon = Daemon::with_model(&simulated(100.0, 2, "max_batch_size: 1 dynamic_batching { }"), GRACE).await;
    let engine = daemon.engine();
    let ask_one = || async {
        let mut request = request(&[1.0]);
        request.inputs[0].shape.insert(0, 1);
        engine.infer(request, context(), Ok).await.unwrap();
    };
    tokio::join!(ask_one(), ask_one());
    let of = |metric_name, instance| metric(&engine, metric_name, &[&format!("instance=\"{instance}\"")]);
    assert_eq!([0, 1].map(|instance| of("proofload_instance_executions_total", instance)), [1, 1]);
    assert_eq!([0, 1].map(|instance| of("proofload_instance_elements_total", instance)), [1, 1]);
    let text = engine.metrics_text();
    let busy = text.lines().filter(|line| line.starts_with("proofload_instance_busy_seconds_total{"));
    let busy_s: Vec<f64> = busy.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    // An instance that the machine wakes late makes up for it, and is busy for less.
    assert!(busy_s.len() == 2 && busy_s.iter().all(|busy_s| *busy_s >= 0.05), "{busy_s:?}");
}
