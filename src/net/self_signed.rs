//! A certificate of our own for a Server that was given none, and the CA that issues it.
//!
//! Firewalls take a CA certificate to check a server by, not the server's own, so there are two: the CA's is the one to
//! install on the other side. Both keys are made once and kept, because they may have been installed or pinned;
//! certificates are renewed before they end or when the names change. The files are in the form that [`super::tls`]
//! reads.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::tls::{ALPN_NONE, ClientCertificates, ServerTlsOptions, TlsError, check_files};
use crate::config::CertificateFiles;
use crate::identity::time::UtcMillis;

/// How long a certificate lives: the longest that strict clients take.
const LIFE: Duration = Duration::from_secs(825 * 86_400);
/// How long the CA lives: to install it again is work on every firewall.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How long before its end a certificate is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// Clocks of firewalls may be behind.
const BACKDATED: Duration = Duration::from_secs(2 * 86_400);

/// How the CA's name begins.
const CA_NAME: &str = "jims CA";

/// Who the certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfSigned {
    /// Host names; the first is the common name.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// The certificate of the CA in the folder: what the other side has to trust.
#[must_use]
pub fn ca_certificate(folder: &Path) -> PathBuf {
    folder.join("self-signed.pem")
}

/// The certificate in the folder (which is made if need be) with that of its CA behind it; made or renewed if there is
/// none, if one of them ends within 30 days, or if it is for other names.
///
/// # Errors
/// The folder cannot be written, or a key in it cannot be used.
pub fn self_signed(
    folder: &Path,
    whom: &SelfSigned,
    now: UtcMillis,
) -> Result<CertificateFiles, TlsError> {
    let ca = CertificateFiles {
        certificate: ca_certificate(folder),
        key: folder.join("self-signed.key"),
    };
    let server = CertificateFiles {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
    };
    let done = || {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        let ca_pem = current_ca(&ca, whom, now)?;
        if !is_current(&server, |names| names == alternative_names(whom), now)
            || !is_issued_by(&server, &ca_pem)
        {
            issue(&server, &ca, &ca_pem, whom, now)?;
        }
        Ok(())
    };
    done().map_err(|reason| TlsError::SelfSigned {
        folder: folder.to_owned(),
        reason,
    })?;
    Ok(server)
}

fn is_current(
    files: &CertificateFiles,
    is_for: impl Fn(&[String]) -> bool,
    now: UtcMillis,
) -> bool {
    let options = ServerTlsOptions {
        files: files.clone(),
        clients: ClientCertificates::None,
        alpn: ALPN_NONE,
    };
    check_files(&options).is_ok_and(|facts| {
        is_for(&facts.names)
            && facts.check_validity(now).is_ok()
            && facts.check_validity(now.after(RENEW_BEFORE)).is_ok()
    })
}

fn is_issued_by(server: &CertificateFiles, ca_pem: &str) -> bool {
    let chain = fs::read_to_string(&server.certificate);
    chain.is_ok_and(|chain| chain.ends_with(ca_pem))
}

/// The CA's certificate in PEM form, made or renewed.
fn current_ca(
    files: &CertificateFiles,
    whom: &SelfSigned,
    now: UtcMillis,
) -> Result<String, String> {
    let pair_exists = files.certificate.exists() && files.key.exists();
    // Whatever the host was called when it was made: to install another is work.
    let is_ca = |names: &[String]| names.iter().any(|name| name.starts_with(CA_NAME));
    if pair_exists && is_current(files, is_ca, now) {
        return fs::read_to_string(&files.certificate).map_err(|e| e.to_string());
    }
    let key = key(&files.key)?;
    let params = ca_params(whom, now)?;
    let pem = params.self_signed(&key).map_err(|e| e.to_string())?.pem();
    write_whole(&files.certificate, pem.as_bytes(), 0o644).map_err(|e| e.to_string())?;
    Ok(pem)
}

fn ca_params(whom: &SelfSigned, now: UtcMillis) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(Vec::new()).map_err(|e| e.to_string())?;
    live(&mut params, now, CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, ca_name(whom));
    Ok(params)
}

fn issue(
    files: &CertificateFiles,
    ca: &CertificateFiles,
    ca_pem: &str,
    whom: &SelfSigned,
    now: UtcMillis,
) -> Result<(), String> {
    let issuer = Issuer::from_ca_cert_pem(ca_pem, key(&ca.key)?).map_err(|e| e.to_string())?;
    let key = key(&files.key)?;
    let mut params = CertificateParams::new(alternative_names(whom)).map_err(|e| e.to_string())?;
    live(&mut params, now, LIFE)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = DistinguishedName::new();
    let common = common_name(whom).to_owned();
    params.distinguished_name.push(DnType::CommonName, common);
    let certificate = params.signed_by(&key, &issuer).map_err(|e| e.to_string())?;
    let chain = certificate.pem() + ca_pem;
    write_whole(&files.certificate, chain.as_bytes(), 0o644).map_err(|e| e.to_string())
}

/// Two Servers' CAs must differ in name for a firewall to hold both. A common name has at most 64 characters (RFC 5280,
/// appendix A).
fn ca_name(whom: &SelfSigned) -> String {
    let name = format!("{CA_NAME} on {}", common_name(whom));
    name.chars().take(64).collect()
}

fn common_name(whom: &SelfSigned) -> &str {
    whom.names.first().map_or("jims", String::as_str)
}

fn live(params: &mut CertificateParams, now: UtcMillis, life: Duration) -> Result<(), String> {
    let (year, month, day) = civil_day(now.before(BACKDATED))?;
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = civil_day(now.after(life).before(BACKDATED))?;
    params.not_after = rcgen::date_time_ymd(year, month, day);
    Ok(())
}

/// The private key in the file, made if there is none.
fn key(path: &Path) -> Result<KeyPair, String> {
    if path.exists() {
        let pem = fs::read_to_string(path).map_err(|e| e.to_string())?;
        let pem = zeroize::Zeroizing::new(pem);
        return KeyPair::from_pem(&pem).map_err(|e| format!("{}: {e}", path.display()));
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
    let pem = zeroize::Zeroizing::new(key.serialize_pem());
    write_whole(path, pem.as_bytes(), 0o600).map_err(|e| e.to_string())?;
    Ok(key)
}

fn alternative_names(whom: &SelfSigned) -> Vec<String> {
    let addresses = whom.addresses.iter().map(|a| a.to_canonical().to_string());
    let mut list: Vec<String> = Vec::new();
    for name in whom.names.iter().cloned().chain(addresses) {
        if !list.contains(&name) {
            list.push(name);
        }
    }
    list
}

/// Year, month and day of an instant, which is all that the certificate library's own time is made of here.
fn civil_day(instant: UtcMillis) -> Result<(i32, u8, u8), String> {
    let stamp = jiff::Timestamp::from_millisecond(instant.0).map_err(|e| e.to_string())?;
    let date = jiff::tz::Offset::UTC.to_datetime(stamp).date();
    let part = |number: i8| u8::try_from(number).map_err(|e| e.to_string());
    Ok((date.year().into(), part(date.month())?, part(date.day())?))
}

/// Writes beside the file, flushes, and renames, so that no reader meets half a file.
fn write_whole(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn whom(name: &str) -> SelfSigned {
        SelfSigned {
            names: vec![name.to_owned()],
            addresses: vec!["2001:db8::7".parse().unwrap()],
        }
    }

    #[test]
    fn keys_are_private_and_outlive_their_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("tls");
        let files = self_signed(&inside, &whom("a.example"), NOW).unwrap();
        let ca_key = inside.join("self-signed.key");
        for key in [&files.key, &ca_key] {
            let mode = fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let keys = || (fs::read(&files.key).unwrap(), fs::read(&ca_key).unwrap());
        let pinned = || {
            let options = ServerTlsOptions {
                files: files.clone(),
                clients: ClientCertificates::None,
                alpn: ALPN_NONE,
            };
            check_files(&options).unwrap().key_sha256
        };
        let first_pin = pinned();
        let (first_keys, first) = (keys(), fs::read(&files.certificate).unwrap());
        let ca = fs::read(ca_certificate(&inside)).unwrap();

        self_signed(&inside, &whom("a.example"), NOW).unwrap();
        assert_eq!(fs::read(&files.certificate).unwrap(), first, "still good");

        let near_its_end = NOW.after(LIFE).before(RENEW_BEFORE);
        self_signed(&inside, &whom("a.example"), near_its_end).unwrap();
        let renewed = fs::read(&files.certificate).unwrap();
        assert_ne!(renewed, first);

        self_signed(&inside, &whom("b.example"), near_its_end).unwrap();
        assert_ne!(fs::read(&files.certificate).unwrap(), renewed, "other name");
        assert_eq!(
            fs::read(ca_certificate(&inside)).unwrap(),
            ca,
            "nothing to install again"
        );

        let after = NOW.after(CA_LIFE).before(RENEW_BEFORE);
        self_signed(&inside, &whom("b.example"), after).unwrap();
        let renewed_ca = fs::read(ca_certificate(&inside)).unwrap();
        assert_ne!(renewed_ca, ca);
        assert!(fs::read(&files.certificate).unwrap().ends_with(&renewed_ca));
        assert_eq!(keys(), first_keys);
        assert_eq!(pinned(), first_pin);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = self_signed(&file.path().join("tls"), &whom("a.example"), NOW).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("could not make a self-signed certificate in"),
            "{error}"
        );
        assert!(!error.remedy().is_empty());
    }
}
