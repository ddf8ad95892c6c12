//! The agent: configuration in, captured interfaces and written flows out.
//!
//! [`bind`] does everything that can fail, all of it before the first failure is reported;
//! [`Bound::run`] captures until its shutdown comes, then drains in reverse order of the start.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

mod errors;
mod view;
mod watch;

use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Runtime},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use self::watch::Watched;
pub use self::{
    errors::{AgentError, AgentErrors},
    view::View,
};
use crate::{
    BUILD,
    config::Config,
    lifecycle::{
        readiness::Readiness,
        shutdown::{Drain, DrainOutcome, Signals, exit_while_starting},
        watchdog::Watchdog,
    },
    metrics::{Metrics, MetricsOptions},
    reload::{ConfigFile, LiveSettings, Reloader},
};
use probe_api::{Api, ApiState, BoundApi};
use probe_capture::{
    clock,
    manager::{Manager, ManagerOptions},
    reconcile::{LinksError, Reconciler},
    schedule::{IntervalSetting, Schedule},
    source::{Source, SourceError},
};
use probe_datapath::{
    expedite::{self, Expedite},
    link_watcher::LinkEvents,
    links,
};
use probe_flow::flow_log::{FlowBudget, FlowLogOptions};
use probe_store::{QueuePolicy, SinkReport, Writeout, open_sinks};

/// How long the drain may take, final writeout included. Below the 90 s after which systemd kills.
const DRAIN_BUDGET: Duration = Duration::from_secs(30);

/// Makes the source that the agent captures with; tests and embedders bring their own.
pub type SourceInit = Box<dyn FnOnce(&Config) -> Result<Box<dyn Source>, SourceError>>;

/// An agent that captures and has its addresses, but does not serve or write yet.
pub struct Bound {
    runtime: Runtime,
    api: BoundApi,
    state: ApiState,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    manager: Arc<Manager>,
    writeout: Arc<Writeout>,
    reconciler: Arc<Mutex<Reconciler>>,
    reloader: Arc<Reloader>,
    interval: IntervalSetting,
    flush_interval: Duration,
    link_events: Option<LinkEvents>,
    /// Has the signals until the shutdown has them.
    starting: Option<JoinHandle<()>>,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunSummary {
    /// How the drain went.
    pub drain: DrainOutcome,
    /// What each sink preserved and lost.
    pub sinks: Vec<SinkReport>,
    /// Why the run ended, if not by its shutdown.
    pub failure: Option<AgentError>,
}

/// As [`bind_with_file`], for a configuration that came from no file.
///
/// # Errors
///
/// As [`bind_with_file`].
pub fn bind(config: Config, source: SourceInit) -> Result<Bound, AgentErrors> {
    bind_with_file(config, None, source)
}

/// Opens sinks, addresses and source, and attaches to the configured interfaces. An interface
/// that cannot be captured is logged by name; the others go on. The configuration came from `file`,
/// which is read again at a reload.
///
/// # Errors
///
/// All of [`AgentError::Selector`], [`AgentError::Writeout`], [`AgentError::Api`] and
/// [`AgentError::Source`] that apply: a wrong rule, a sink, an address, the source. Without those,
/// one of [`AgentError::Thread`], [`AgentError::Manager`] and [`AgentError::Reconcile`]: the system
/// starts no thread, or does not list the links.
pub fn bind_with_file(
    config: Config,
    file: Option<ConfigFile>,
    source: SourceInit,
) -> Result<Bound, AgentErrors> {
    let mut errors = Vec::new();
    let selector = keep(config.selector().map_err(AgentError::Selector), &mut errors);
    let sinks = open_sinks(&config.writeout, clock::now).unwrap_or_else(|failures| {
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
    let expedite = Expedite::new(config.capture.expedite_attach);
    let may_expedite = expedite.may_hold();
    let options = manager_options(&config, &metrics, &writeout, expedite);
    let flow_budget = options.flow_budget.clone();
    let manager = Arc::new(Manager::new(source, options)?);
    let list = || links::list().map_err(LinksError::new);
    let mut reconciler = Reconciler::new(manager.clone(), selector, Box::new(list));
    // Before the first check: what changes after it is an event.
    let inside_runtime = runtime.enter();
    let link_events = LinkEvents::subscribe()
        .inspect_err(|error| tracing::warn!(%error, "no events about links: they are checked every few seconds"))
        .ok();
    let starting = may_expedite.then(Signals::new);
    let starting = starting.transpose()?.map(exit_while_starting);
    let starting = starting.map(|starting| runtime.spawn(starting));
    drop(inside_runtime);
    reconciler.reconcile(&[])?;
    let reconciler = Arc::new(Mutex::new(reconciler));
    let interval = IntervalSetting::new(config.rotation.interval);
    let flush_interval = config.capture.flush_interval;
    let live = LiveSettings {
        troubles: manager.troubles().clone(),
        reconciler: reconciler.clone(),
        interval: interval.clone(),
        flow_budget,
    };
    let reloader = Arc::new(Reloader::new(file, config, live));
    let readiness = Readiness::new();
    let view = View {
        metrics: metrics.clone(),
        manager: manager.clone(),
        sinks: writeout.readers().into(),
        readiness: readiness.clone(),
        interval: interval.clone(),
    };
    let state = ApiState {
        build: BUILD,
        agent: Arc::new(view),
        manager: manager.clone(),
        reloader: reloader.clone(),
        config_path: None,
        maps_bytes: None,
    };
    Ok(Bound {
        runtime,
        api,
        state,
        metrics,
        readiness,
        manager,
        writeout,
        reconciler,
        reloader,
        interval,
        flush_interval,
        link_events,
        starting,
    })
}

fn keep<T>(result: Result<T, AgentError>, errors: &mut Vec<AgentError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn manager_options(
    config: &Config,
    metrics: &Arc<Metrics>,
    writeout: &Arc<Writeout>,
    expedite: Expedite,
) -> ManagerOptions {
    let metrics = metrics.clone();
    let writeout = writeout.clone();
    ManagerOptions {
        flow_log: FlowLogOptions {
            port_aggregation: config.capture.port_aggregation,
            max_flows: config.capture.max_flows,
            ..FlowLogOptions::default()
        },
        flow_budget: Arc::new(FlowBudget::new(config.capture.max_flows_total)),
        local_buffers: config.rotation.local_buffers,
        writeout: Box::new(move |interval| writeout.submit(Arc::new(interval))),
        on_rotation: Box::new(move |took| metrics.on_rotation(took)),
        batches: Box::new(expedite),
        ..ManagerOptions::default()
    }
}

impl Bound {
    /// Tells readers which file the configuration came from.
    #[must_use]
    pub fn with_config_path(mut self, path: PathBuf) -> Self {
        self.state.config_path = Some(path);
        self
    }

    /// Tells readers how much kernel memory the maps of the source take.
    #[must_use]
    pub const fn with_maps_bytes(mut self, bytes: Option<u64>) -> Self {
        self.state.maps_bytes = bytes;
        self
    }

    /// The addresses that are being listened on.
    pub const fn api(&self) -> &BoundApi {
        &self.api
    }

    /// The manager, for embedders.
    pub fn manager(&self) -> Arc<Manager> {
        self.manager.clone()
    }

    /// What reloads the configuration, for signals and embedders.
    pub fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }

    /// Serves, writes on schedule and follows the links, until `shutdown` (made on the agent's
    /// runtime before it is ready) ends or capturing fails. Then drains: final writeout, sinks, endpoints.
    ///
    /// # Errors
    ///
    /// [`AgentError::Thread`]: the system starts no thread for rotations. What ends the capture
    /// later is in [`RunSummary::failure`].
    pub fn run<F>(self, shutdown: impl FnOnce() -> F) -> Result<RunSummary, AgentErrors>
    where
        F: Future<Output = ()>,
    {
        let Self {
            runtime,
            api,
            state,
            metrics,
            readiness,
            manager,
            writeout,
            reconciler,
            reloader,
            interval,
            flush_interval,
            link_events,
            starting,
        } = self;
        let watched = Watched {
            manager: manager.clone(),
            reconciler,
            reloader,
            link_events,
            metrics,
            interval: interval.clone(),
        };
        let schedule = Schedule::start(manager.clone(), interval, flush_interval)?;
        let outcome = runtime.block_on(async {
            // Before anybody is told that the agent is ready: what asks it to stop may come at once.
            let shutdown = shutdown();
            if let Some(starting) = starting {
                starting.abort();
            }
            let (stop_api, api_stopped) = tokio::sync::oneshot::channel::<()>();
            let served = tokio::spawn(api.serve(state, async {
                // An error says that the sender is gone, which means the same.
                drop(api_stopped.await);
            }));
            let watchdog = Watchdog::start(manager.clone(), Handle::current());
            let watchdog = watchdog.inspect_err(|error| tracing::error!(%error, "no watchdog"));
            notify_service_manager(sd_notify::NotifyState::Ready);
            let failure = tokio::select! {
                () = shutdown => None,
                failure = watched.run() => Some(failure),
            };
            // Never done: what has drained is not ready again.
            std::mem::forget(readiness.register_task("draining"));
            notify_service_manager(sd_notify::NotifyState::Stopping);
            let mut drain = Drain::new(DRAIN_BUDGET);
            let writing = manager.clone();
            let closing = spawn_blocking(move || {
                drop(schedule);
                let written = writing.write_out_and_end();
                drop(watchdog);
                written
            });
            if let Some(Ok(Err(error))) = drain.step("final writeout", closing).await {
                tracing::error!(%error, "cannot close the captures");
            }
            let deadline = Instant::now() + drain.remaining();
            let finishing = spawn_blocking(move || writeout.finish(deadline));
            let sinks = drain.step("sinks", finishing).await;
            drop(stop_api);
            drain.step("endpoints", served).await;
            // Last, since it takes long and no caller waits for it. Not a step, as everything is written:
            // what is left when the time is over goes with the process, and filters of clsact are
            // removed by `probe-agent detach` or the next start.
            let detaching = spawn_blocking(move || manager.close(&[]));
            if timeout(drain.remaining(), detaching).await.is_err() {
                expedite::put_back_own();
                tracing::warn!("still detaching: the kernel goes on with the end of the process");
            }
            let sinks = sinks.and_then(Result::ok).unwrap_or_default();
            RunSummary {
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

/// Tells systemd, if it started us.
fn notify_service_manager(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
