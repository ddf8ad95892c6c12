//! A served API over a manager with a scripted source.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use probe_agent::{
    BUILD,
    agent::View,
    lifecycle::readiness::Readiness,
    metrics::{Metrics, MetricsOptions, SinkReaders},
};
use probe_api::{Api, ApiState, BoundApi, options::ApiConfig};
use probe_capture::{
    manager::{Manager, ManagerOptions},
    schedule::IntervalSetting,
};
use probe_flow::interval::Interval;
use tokio::sync::oneshot;

use crate::{reloads::Reloads, source::Script};

/// A running API, stopped on drop.
pub(crate) struct Running {
    pub(crate) readiness: Readiness,
    pub(crate) manager: Arc<Manager>,
    pub(crate) script: Script,
    pub(crate) reloader: Arc<Reloads>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new(api: BoundApi) -> Self {
        Self::with_sinks(api, Arc::new([]))
    }

    pub(crate) fn with_sinks(api: BoundApi, sinks: SinkReaders) -> Self {
        Self::with_writeout(api, sinks, drop)
    }

    /// Ended intervals go to `writeout`.
    pub(crate) fn with_writeout(
        api: BoundApi,
        sinks: SinkReaders,
        writeout: impl Fn(Interval) + Send + Sync + 'static,
    ) -> Self {
        let readiness = Readiness::new();
        let script = Script::default();
        let metrics = Arc::new(Metrics::new(MetricsOptions::default()));
        let observer = metrics.clone();
        let options = ManagerOptions {
            writeout: Box::new(writeout),
            on_rotation: Box::new(move |took| observer.on_rotation(took)),
            ..ManagerOptions::default()
        };
        let manager = Manager::new(Box::new(script.clone()), options).expect("a manager");
        let manager = Arc::new(manager);
        let reloader = Arc::new(Reloads::default());
        let view = View {
            metrics,
            manager: manager.clone(),
            sinks,
            readiness: readiness.clone(),
            interval: IntervalSetting::new(Duration::from_mins(5)),
        };
        let state = ApiState {
            build: BUILD,
            agent: Arc::new(view),
            manager: manager.clone(),
            config_path: Some("/etc/probe/probe.yaml".into()),
            reloader: reloader.clone(),
            maps_bytes: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = Api::runtime().expect("a runtime");
            let shutdown = async {
                let _ = stopped.await;
            };
            runtime
                .block_on(api.serve(state, shutdown))
                .expect("served");
        });
        Self {
            readiness,
            manager,
            script,
            reloader,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends well");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn config(addr: Option<&str>, metrics_addr: Option<&str>) -> ApiConfig {
    ApiConfig {
        addr: addr.map(str::to_owned),
        metrics_addr: metrics_addr.map(str::to_owned),
        ..ApiConfig::default()
    }
}

/// One request; the whole response.
pub(crate) fn request(mut stream: impl Read + Write, line: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

pub(crate) fn tcp(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).expect("somebody listens")
}
