//! The Prometheus page: plain HTTP, `GET /metrics`, on listeners of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use metrics_process::Collector;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cluster_status;
use crate::cluster::Cluster;
use crate::net::http::{HttpServer, Limits};
use crate::net::listener::{self, ListenError};
use crate::runtime::clock;
use crate::runtime::supervisor::Tasks;

/// The listeners of the page.
#[derive(Debug)]
pub(super) struct MetricsPage {
    open: Mutex<BTreeMap<SocketAddr, CancellationToken>>,
    metrics: PrometheusHandle,
    process: Collector,
    cluster: Arc<OnceLock<Cluster>>,
    tasks: Tasks,
    stop: CancellationToken,
}

/// Listeners that are bound and not served yet.
#[derive(Debug)]
pub(super) struct Prepared(Vec<(SocketAddr, TcpListener)>);

impl MetricsPage {
    /// A page that nobody can reach yet.
    pub(super) fn new(metrics: PrometheusHandle, tasks: Tasks, stop: CancellationToken) -> Self {
        Self {
            open: Mutex::default(),
            metrics,
            process: Collector::default(),
            cluster: Arc::default(),
            tasks,
            stop,
        }
    }

    /// Shows the cluster's numbers from now on.
    pub(super) fn show(&self, cluster: Cluster) {
        let _first = self.cluster.set(cluster);
    }

    /// Binds what is wanted and not open yet.
    pub(super) fn prepare(&self, wanted: &[SocketAddr]) -> Result<Prepared, ListenError> {
        let open = self.open.lock();
        let missing = wanted.iter().filter(|address| !open.contains_key(address));
        let bound =
            missing.map(|address| Ok((*address, listener::tcp(*address, "[metrics] listen")?)));
        bound.collect::<Result<_, ListenError>>().map(Prepared)
    }

    /// Serves what was prepared and closes what is not wanted any more.
    pub(super) fn commit(&self, prepared: Prepared, wanted: &[SocketAddr]) {
        let mut open = self.open.lock();
        for (address, listener) in prepared.0 {
            let closing = self.stop.child_token();
            let (metrics, process) = (self.metrics.clone(), self.process.clone());
            let cluster = Arc::clone(&self.cluster);
            let router = Router::new().route(
                "/metrics",
                get(move || {
                    process.collect();
                    if let Some(cluster) = cluster.get() {
                        cluster_status::gauges(&cluster.read(), clock::utc_now());
                    }
                    std::future::ready(metrics.render())
                }),
            );
            let server = HttpServer {
                listener,
                tls: None,
                router,
                limits: Limits::default(),
                tasks: self.tasks.clone(),
            };
            self.tasks
                .spawn("metrics page", server.run(closing.clone()));
            open.insert(address, closing);
        }
        open.retain(|address, closing| {
            let stays = wanted.contains(address);
            if !stays {
                closing.cancel();
            }
            stays
        });
    }
}
