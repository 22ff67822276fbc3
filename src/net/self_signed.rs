//! A certificate of our own for a Server that was given none.
//!
//! The key is made once and kept, because firewalls and Collectors may have pinned it; the certificate is renewed
//! before it ends or when the names change. The files are in the form that [`super::tls`] reads.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::tls::{ALPN_NONE, ServerTlsOptions, TlsError, check_files};
use crate::config::CertificateFiles;
use crate::identity::time::UtcMillis;

/// How long a certificate lives: the longest that strict clients take.
const LIFE: Duration = Duration::from_secs(825 * 86_400);
/// How long before its end a certificate is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// Clocks of firewalls may be behind.
const BACKDATED: Duration = Duration::from_secs(2 * 86_400);

/// Who the certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfSigned {
    /// Host names; the first is the common name.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// The certificate in the folder (which is made if need be), made or renewed if there is none, if it ends within 30
/// days, or if it is for other names.
///
/// # Errors
/// The folder cannot be written, or a key in it cannot be used.
pub fn self_signed(
    folder: &Path,
    whom: &SelfSigned,
    now: UtcMillis,
) -> Result<CertificateFiles, TlsError> {
    let files = CertificateFiles {
        certificate: folder.join("self-signed.pem"),
        key: folder.join("self-signed.key"),
    };
    if files.certificate.exists() && files.key.exists() && is_current(&files, whom, now) {
        return Ok(files);
    }
    make(&files, folder, whom, now).map_err(|reason| TlsError::SelfSigned {
        folder: folder.to_owned(),
        reason,
    })?;
    Ok(files)
}

fn is_current(files: &CertificateFiles, whom: &SelfSigned, now: UtcMillis) -> bool {
    let options = ServerTlsOptions {
        files: files.clone(),
        client_ca_file: None,
        alpn: ALPN_NONE,
    };
    check_files(&options).is_ok_and(|facts| {
        facts.names == alternative_names(whom)
            && facts.check_validity(now).is_ok()
            && facts.check_validity(now.after(RENEW_BEFORE)).is_ok()
    })
}

fn make(
    files: &CertificateFiles,
    folder: &Path,
    whom: &SelfSigned,
    now: UtcMillis,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    fs::create_dir_all(folder).map_err(|e| text(&e))?;
    let key = if files.key.exists() {
        let pem = fs::read_to_string(&files.key).map_err(|e| text(&e))?;
        KeyPair::from_pem(&pem).map_err(|e| format!("{}: {e}", files.key.display()))?
    } else {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| text(&e))?;
        let pem = zeroize::Zeroizing::new(key.serialize_pem());
        write_whole(&files.key, pem.as_bytes(), 0o600).map_err(|e| text(&e))?;
        key
    };
    let mut params = CertificateParams::new(alternative_names(whom)).map_err(|e| text(&e))?;
    let (year, month, day) = civil_day(now.before(BACKDATED))?;
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = civil_day(now.after(LIFE).before(BACKDATED))?;
    params.not_after = rcgen::date_time_ymd(year, month, day);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = DistinguishedName::new();
    let common = whom.names.first().map_or("jims", String::as_str);
    params
        .distinguished_name
        .push(DnType::CommonName, common.to_owned());
    let certificate = params.self_signed(&key).map_err(|e| text(&e))?;
    write_whole(&files.certificate, certificate.pem().as_bytes(), 0o644).map_err(|e| text(&e))
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
    fn the_key_is_private_and_outlives_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("tls");
        let files = self_signed(&inside, &whom("a.example"), NOW).unwrap();
        let mode = fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (key, first) = (
            fs::read(&files.key).unwrap(),
            fs::read(&files.certificate).unwrap(),
        );

        self_signed(&inside, &whom("a.example"), NOW).unwrap();
        assert_eq!(fs::read(&files.certificate).unwrap(), first, "still good");

        let near_its_end = NOW.after(LIFE).before(RENEW_BEFORE);
        self_signed(&inside, &whom("a.example"), near_its_end).unwrap();
        let renewed = fs::read(&files.certificate).unwrap();
        assert_ne!(renewed, first);
        assert_eq!(fs::read(&files.key).unwrap(), key);

        self_signed(&inside, &whom("b.example"), near_its_end).unwrap();
        assert_ne!(fs::read(&files.certificate).unwrap(), renewed, "other name");
        assert_eq!(fs::read(&files.key).unwrap(), key);
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
