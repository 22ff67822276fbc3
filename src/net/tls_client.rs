//! TLS clients that show a certificate of their own.

use std::path::Path;

use rustls::ClientConfig;

use super::tls::{self, TlsError, certificates, private_key, read_pem, trusted_roots};

/// As [`super::tls::client_config`], of a client that shows a certificate, given as files of certificate chain and key.
///
/// # Errors
/// A file cannot be used, they do not belong together, or the system has no roots.
pub fn client_config_as(
    ca_file: Option<&Path>,
    (chain_path, key_path): (&Path, &Path),
) -> Result<ClientConfig, TlsError> {
    tls::install_provider();
    let chain = certificates(
        "certificate",
        chain_path,
        &read_pem("certificate", chain_path)?,
    )?;
    let key = private_key(key_path, &read_pem("key", key_path)?)?;
    ClientConfig::builder()
        .with_root_certificates(trusted_roots(ca_file)?)
        .with_client_auth_cert(chain, key)
        .map_err(|refused| TlsError::Refused {
            what: "key",
            path: key_path.to_owned(),
            reason: refused.to_string(),
        })
}
