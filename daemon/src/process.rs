//! The life of the daemon as a process, on one page: read the configuration, step back, serve, wait for a reason to
//! stop, drain, and say how that ended.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::app::{App, DaemonError, cores, rules};
use crate::cli::{DaemonArgs, validated};
use crate::config::layers::Merged;
use crate::config::{Config, shown};
use crate::drain::Outcome;
use crate::notify::Notifier;
use crate::reload::{self, Reloader};
use crate::telemetry::logs;

/// More connection threads than this gain nothing: models compute on threads of their own.
const MAX_WORKERS: usize = 4;

/// Runs the daemon until it is told to stop. It must be called before the process has started any thread, or these
/// would not step back.
///
/// # Errors
/// When it cannot start. That its grace period was exceeded is no error but an exit code.
pub fn run(args: &DaemonArgs) -> Result<ExitCode, DaemonError> {
    if let Some(command) = &args.command {
        return command.run(args).map(|()| ExitCode::SUCCESS);
    }
    let merged = args.merged(environment());
    if args.print_config && merged.errors.is_empty() {
        print(&shown::text(&merged))?;
    }
    let (merged, config) = validated(merged, cores())?;
    if args.check || args.print_config {
        // Certificates are a part of the configuration that is read already.
        return rules(&config).map(|_| ExitCode::SUCCESS);
    }
    step_back(config.nice)?;
    logs::to_stderr();
    logs::choose(config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores().get().min(MAX_WORKERS))
        .thread_name("daemon")
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System { what: "cannot start the runtime", source })?;
    let outcome = runtime.block_on(serve(args, merged, config));
    // Whatever still runs had its grace period.
    runtime.shutdown_background();
    outcome.map(exit_code)
}

/// The variables of this process. No value that is not UTF-8 is right; what is made of it here will be named.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

fn print(text: &str) -> Result<(), DaemonError> {
    let printed = std::io::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|source| DaemonError::System { what: "cannot print", source })
}

fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Finished => {
            tracing::info!("stopped; every request in flight was answered");
            ExitCode::SUCCESS
        }
        Outcome::Exceeded { left } => {
            tracing::error!("stopped at the end of the grace period with {left} requests unanswered; raise --grace");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &DaemonArgs, merged: Merged, config: Config) -> Result<Outcome, DaemonError> {
    let stop = stop_reason(config.exit_with_stdin)?;
    let hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let notifier = Notifier::of(|name| std::env::var(name).ok(), std::process::id())
        .map_err(|source| DaemonError::System { what: "cannot tell systemd by NOTIFY_SOCKET", source })?;
    let app = App::start(&config).await?;
    tracing::info!("serving HTTP on {} and gRPC on {}", app.http(), app.grpc());
    let engine = app.engine().clone();
    tokio::spawn(notifier.clone().watch(move || engine.is_live()));
    let reloader = Reloader::new(args.clone(), cores(), merged, config, app.reloadable().clone());
    tokio::spawn(reload::run(reloader, hangup, notifier.clone()));
    if args.ready_json {
        print_ready(&app).map_err(|source| DaemonError::System { what: "cannot print the ready line", source })?;
    }
    notifier.ready();
    app.run_until(async {
        tracing::info!("{}: finishing what is in flight", stop.await);
        notifier.stopping();
    })
    .await
}

fn no_signals(source: std::io::Error) -> DaemonError {
    DaemonError::System { what: "cannot listen for signals", source }
}

#[derive(Serialize)]
struct Ready {
    event: &'static str,
    http: String,
    grpc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    pid: u32,
}

fn print_ready(app: &App) -> std::io::Result<()> {
    let ready = Ready {
        event: "ready",
        http: app.http().to_string(),
        grpc: app.grpc().to_string(),
        metrics: app.metrics().map(|address| address.to_string()),
        pid: std::process::id(),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &ready)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Resolves to what asked the daemon to stop. The handlers are in place when this returns.
fn stop_reason(exit_with_stdin: bool) -> Result<impl Future<Output = &'static str>, DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let stdin = exit_with_stdin.then(watch_stdin).transpose()?;
    let stdin_closed = async {
        match stdin {
            // The thread's end closes the channel without a message.
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = stdin_closed => "standard input was closed",
        }
    })
}

/// Reads standard input to its end on a thread of its own, for a read cannot be given up.
fn watch_stdin() -> Result<oneshot::Receiver<()>, DaemonError> {
    let (sender, closed) = oneshot::channel::<()>();
    let watch = move || {
        let mut ignored = [0; 512];
        while std::io::stdin().lock().read(&mut ignored).is_ok_and(|read| read > 0) {}
        drop(sender);
    };
    let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(watch);
    thread.map_err(|source| DaemonError::System { what: "cannot start a thread", source })?;
    Ok(closed)
}

fn step_back(nice: i32) -> Result<(), DaemonError> {
    if nice == 0 {
        return Ok(());
    }
    let stepped = rustix::process::nice(nice);
    stepped.map(drop).map_err(|error| DaemonError::System { what: "cannot lower the priority", source: error.into() })
}
