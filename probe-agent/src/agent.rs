//! The agent: configuration in, captured interfaces and written flows out.
//!
//! [`bind`] does everything that can fail, all of it before the first failure is reported;
//! [`Bound::run`] captures until its shutdown comes, then drains in reverse order of the start.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::spawn_blocking};

use crate::{
    api::{Api, ApiError, ApiState, BoundApi},
    config::{Config, InterfaceSelector},
    flow_log::FlowLogOptions,
    manager::{Manager, ManagerError, ManagerOptions},
    metrics::{Metrics, MetricsOptions, SinkReader, SinkReaders},
    readiness::Readiness,
    reconcile::{ReconcileError, Reconciler},
    schedule::Schedule,
    shutdown::{Drain, DrainOutcome},
    source::{Source, SourceError},
    writeout::{QueuePolicy, SinkReport, Writeout, WriteoutError, open_sinks},
};

/// How long the drain may take, final writeout included. Below the 90 s after which systemd kills.
const DRAIN_BUDGET: Duration = Duration::from_secs(30);

/// Hooks and link counters are looked at this often.
const SUPERVISE_EVERY: Duration = Duration::from_secs(1);

/// Links are compared with the configuration at every so many of these looks.
const LOOKS_PER_RECONCILE: u32 = 5;

/// Makes the source that the agent captures with; tests and embedders bring their own.
pub type SourceInit = Box<dyn FnOnce(&Config) -> Result<Box<dyn Source>, SourceError>>;

/// One reason why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// An address cannot be served.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The runtime of the endpoints, or a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Capturing cannot begin.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The links of the host cannot be followed.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// A rule for interfaces that only a hand-made configuration can have.
    #[error("{0}")]
    Selector(String),
    /// The source cannot be opened, or has failed while running.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A sink cannot be opened.
    #[error(transparent)]
    Writeout(#[from] WriteoutError),
}

/// Everything that keeps the agent from starting.
#[derive(Debug)]
pub struct AgentErrors(pub Vec<AgentError>);

impl std::error::Error for AgentErrors {}

impl fmt::Display for AgentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl<E: Into<AgentError>> From<E> for AgentErrors {
    fn from(error: E) -> Self {
        Self(vec![error.into()])
    }
}

/// An agent that captures and has its addresses, but does not serve or write yet.
pub struct Bound {
    config: Config,
    runtime: Runtime,
    api: BoundApi,
    state: ApiState,
    manager: Arc<Manager>,
    writeout: Arc<Writeout>,
    reconciler: Reconciler,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// How the drain went.
    pub drain: DrainOutcome,
    /// What each sink preserved and lost.
    pub sinks: Vec<SinkReport>,
    /// Why the run ended, if not by its shutdown.
    pub failure: Option<AgentError>,
}

/// Opens sinks, addresses and source, and attaches to the configured interfaces. An interface
/// that cannot be captured is logged by name; the others go on.
pub fn bind(config: Config, source: SourceInit) -> Result<Bound, AgentErrors> {
    let mut errors = Vec::new();
    let selector = keep(
        InterfaceSelector::new(&config).map_err(AgentError::Selector),
        &mut errors,
    );
    let sinks = open_sinks(&config.writeout).unwrap_or_else(|failures| {
        errors.extend(failures.into_iter().map(AgentError::from));
        Vec::new()
    });
    let api = keep(
        Api::bind(&config.api).map_err(AgentError::from),
        &mut errors,
    );
    let source = keep(source(&config).map_err(AgentError::from), &mut errors);
    let (Some(selector), Some(api), Some(source)) = (selector, api, source) else {
        return Err(AgentErrors(errors));
    };
    if !errors.is_empty() {
        return Err(AgentErrors(errors));
    }
    let runtime = Api::runtime()?;
    let writeout = Arc::new(Writeout::start(sinks, QueuePolicy::default())?);
    let metrics = Arc::new(Metrics::new(MetricsOptions {
        disable_iface_tracking: config.api.disable_iface_metrics,
    }));
    let manager = Arc::new(Manager::new(
        source,
        manager_options(&config, &metrics, &writeout),
    )?);
    let mut reconciler = Reconciler::new(manager.clone(), selector);
    reconciler.reconcile()?;
    let state = ApiState {
        metrics,
        status: manager.clone(),
        sinks: sink_readers(&writeout),
        readiness: Readiness::new(),
    };
    Ok(Bound {
        config,
        runtime,
        api,
        state,
        manager,
        writeout,
        reconciler,
    })
}

fn keep<T>(result: Result<T, AgentError>, errors: &mut Vec<AgentError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn manager_options(
    config: &Config,
    metrics: &Arc<Metrics>,
    writeout: &Arc<Writeout>,
) -> ManagerOptions {
    let metrics = metrics.clone();
    let writeout = writeout.clone();
    ManagerOptions {
        flow_log: FlowLogOptions {
            port_aggregation: config.capture.port_aggregation,
            max_flows: config.capture.max_flows,
            ..FlowLogOptions::default()
        },
        local_buffers: config.rotation.local_buffers,
        writeout: Box::new(move |interval| writeout.submit(Arc::new(interval))),
        on_rotation: Box::new(move |took| metrics.on_rotation(took)),
        ..ManagerOptions::default()
    }
}

fn sink_readers(writeout: &Writeout) -> SinkReaders {
    let stats = writeout.stats().into_iter();
    stats
        .map(|stats| (stats.sink().to_owned(), stats as Arc<dyn SinkReader>))
        .collect()
}

impl Bound {
    /// The addresses that are being listened on.
    pub const fn api(&self) -> &BoundApi {
        &self.api
    }

    /// The manager, for embedders.
    pub fn manager(&self) -> Arc<Manager> {
        self.manager.clone()
    }

    /// Serves, writes on schedule and follows the links, until `shutdown` (made on the agent's
    /// runtime before it is ready) ends or capturing fails. Then drains: final writeout, sinks, endpoints.
    pub fn run<F>(self, shutdown: impl FnOnce() -> F) -> Result<Outcome, AgentErrors>
    where
        F: Future<Output = ()>,
    {
        let Self {
            config,
            runtime,
            api,
            state,
            manager,
            writeout,
            reconciler,
        } = self;
        let schedule = Schedule::start(manager.clone(), config.rotation.interval)?;
        let outcome = runtime.block_on(async {
            // Before anybody is told that the agent is ready: what asks it to stop may come at once.
            let shutdown = shutdown();
            let (stop_api, api_stopped) = tokio::sync::oneshot::channel::<()>();
            let readiness = state.readiness.clone();
            let served = tokio::spawn(api.serve(state, async {
                // An error says that the sender is gone, which means the same.
                drop(api_stopped.await);
            }));
            notify_service_manager(sd_notify::NotifyState::Ready);
            let failure = tokio::select! {
                () = shutdown => None,
                failure = watch(manager.clone(), reconciler) => Some(failure),
            };
            // Never done: what has drained is not ready again.
            std::mem::forget(readiness.register_task("draining"));
            notify_service_manager(sd_notify::NotifyState::Stopping);
            let mut drain = Drain::new(DRAIN_BUDGET);
            let closing = spawn_blocking(move || {
                drop(schedule);
                manager.close(&[])
            });
            if let Some(Ok(Err(error))) = drain.step("final writeout", closing).await {
                tracing::error!(%error, "cannot close the captures");
            }
            let deadline = Instant::now() + drain.remaining();
            let finishing = spawn_blocking(move || writeout.finish(deadline));
            let sinks = drain.step("sinks", finishing).await;
            drop(stop_api);
            drain.step("endpoints", served).await;
            let sinks = sinks.and_then(Result::ok).unwrap_or_default();
            Outcome {
                drain: drain.finish(),
                sinks,
                failure,
            }
        });
        // Whatever hangs was named in the outcome; the process must not hang with it.
        runtime.shutdown_background();
        Ok(outcome)
    }
}

/// Supervises the captures and follows the links, and returns when a stream of the source has failed.
async fn watch(manager: Arc<Manager>, mut reconciler: Reconciler) -> AgentError {
    let mut ticks = tokio::time::interval(SUPERVISE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = 0;
    loop {
        ticks.tick().await;
        look = (look + 1) % LOOKS_PER_RECONCILE;
        if let Some(failure) = manager.stream_failures(Duration::ZERO).pop() {
            return failure.into();
        }
        let manager = manager.clone();
        let supervised = spawn_blocking(move || {
            if look == 0
                && let Err(error) = reconciler.reconcile()
            {
                tracing::error!(%error, "cannot follow the links");
            }
            manager.supervise(Instant::now());
            reconciler
        });
        match supervised.await {
            Ok(back) => reconciler = back,
            Err(panic) => return AgentError::Thread(std::io::Error::other(panic)),
        }
    }
}

/// Tells systemd, if it started us.
fn notify_service_manager(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
