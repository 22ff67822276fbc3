//! What the machine and its TLS can do at best: a handler that knows one answer by heart and looks at nothing.
//!
//! A process of its own, like the Server that it is compared with; axum and rustls as they come.

use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::site::ADDRESS;

/// The first argument of the process.
pub(crate) const ROLE: &str = "--serve-baseline";

/// The running process.
pub(crate) struct Baseline {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Baseline {
    /// Starts it with a certificate and the size of its answer.
    pub(crate) fn start(certificate: &[PathBuf; 2], bytes: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg(ROLE)
            .args(certificate)
            .arg(bytes.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The process itself: serves until it is ended.
pub(crate) fn serve(arguments: &[String]) {
    let [certificate, key, bytes] = arguments else {
        panic!("{ROLE} CERTIFICATE KEY BYTES");
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bytes = bytes.parse().expect("a size");
    runtime.block_on(answer_for_ever(certificate, key, bytes));
}

async fn answer_for_ever(certificate: &str, key: &str, bytes: usize) {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .expect("a certificate")
        .map(|certificate| certificate.expect("a certificate"))
        .collect();
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let tail = r#""cookie":"j1.same","more":false,"full":false}"#;
    let body = format!("{}{tail}", " ".repeat(bytes.saturating_sub(tail.len())));
    let body = bytes::Bytes::from(body);
    let token = r#"{"access_token":"none","token_type":"Bearer","expires_in":1}"#;
    let json = || [(header::CONTENT_TYPE, "application/json")];
    let router = Router::new()
        .route(
            "/api/oauth_token/oauth",
            post(async move || (json(), token)),
        )
        .route(
            "/api/user_query/v2/users/endpoints",
            get(async move || (json(), body.clone())),
        );
    let listener = TcpListener::bind((ADDRESS, 0)).await.expect("a listener");
    println!("{}", listener.local_addr().expect("an address"));
    std::io::stdout().flush().expect("said");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            if let Ok(stream) = acceptor.accept(stream).await {
                let builder = auto::Builder::new(TokioExecutor::new());
                let served = builder.serve_connection(TokioIo::new(stream), service);
                drop(served.await);
            }
        });
    }
}
