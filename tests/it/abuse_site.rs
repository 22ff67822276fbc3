//! A hostile client at the level of bytes, and the numbers that the Server counts about it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server_site::{GUARD, Site};

/// What is counted on this thread, which is all that a test of one thread does.
pub(crate) struct Meter {
    page: PrometheusHandle,
    _guard: metrics::LocalRecorderGuard<'static>,
}

impl Meter {
    pub(crate) fn start() -> Self {
        // The guard borrows it for as long as the test lives; a test has one.
        let recorder: &'static PrometheusRecorder =
            Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self {
            page: recorder.handle(),
            _guard: metrics::set_default_local_recorder(recorder),
        }
    }

    /// The sum over all series of the name whose labels hold the text.
    pub(crate) fn count(&self, name: &str, labels: &str) -> u64 {
        let page = self.page.render();
        let series = page
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    pub(crate) fn queries(&self, outcome: &str) -> u64 {
        self.count("jims_queries_total", &format!("outcome=\"{outcome}\""))
    }

    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.count("jims_http_refused_total", &format!("reason=\"{reason}\""))
    }
}

/// A TCP connection from an address of our choice.
pub(crate) async fn dial(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0))?;
    socket.connect(to).await
}

/// TLS that trusts the Server.
pub(crate) fn connector(site: &Site) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let file = site.folder.path().join("state/tls/self-signed.pem");
    for certificate in CertificateDer::pem_file_iter(file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A TLS connection that says what it likes.
pub(crate) struct Wire(pub(crate) TlsStream<TcpStream>);

impl Wire {
    pub(crate) async fn open(site: &Site, from: &str) -> Self {
        let plain = dial(from, site.address).await.unwrap();
        let name = ServerName::IpAddress(site.address.ip().into());
        Self(connector(site).connect(name, plain).await.unwrap())
    }

    /// Writes as much as the Server takes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        timeout(GUARD, written)
            .await
            .expect("taken or refused")
            .is_ok()
    }

    /// Everything until the Server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut answer = Vec::new();
        let _closed_hard = timeout(GUARD, self.0.read_to_end(&mut answer))
            .await
            .expect("the Server closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// One answer with its body, on a connection that stays.
    pub(crate) async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            let byte = timeout(GUARD, self.0.read_u8()).await.expect("an answer");
            text.push(byte.unwrap());
            if text.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8_lossy(&text).to_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |l| l.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        text.extend(body);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends a request that closes, and returns all that comes.
    pub(crate) async fn ask(site: &Site, from: &str, bytes: &[u8]) -> String {
        let mut wire = Self::open(site, from).await;
        wire.write(bytes).await;
        wire.rest().await
    }
}

/// The status of every answer in what came.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let heads = text.split("HTTP/1.").skip(1);
    heads.map(|rest| rest[2..5].parse().unwrap()).collect()
}
