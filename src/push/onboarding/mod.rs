//! `jims onboard`: a code becomes a credential in `state_dir/push/`, once, whatever happens on the way (rule 26).
//!
//! ```text
//! code → name → connect → certificate → clock → keep → exchange → store → verify
//!        └──── nothing of ours is told ────┘      │       └ the same id and secret, however often
//!                                                 └ on the disk before it is sent
//! ```
//!
//! What an observation means is decided in `steps`; here things are tried, in order, each step told as it ends.

mod steps;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use thiserror::Error;

use self::steps::{Plan, Said};
use super::code::Code;
use super::credential::{self, Credential, CredentialError, FOLDER, Stage, ca_file_name, list};
use super::server::Server;
use super::shape::{Introduction, Onboard, PROTOCOL};
use super::target::{Target, is_name};
use crate::config::secret::Secret;
use crate::net::collector_client::{Proxies, ServerTrust, hex};
use crate::net::resolve::Resolver;
use crate::runtime::as_owner::AsOwner;
use crate::runtime::clock;
use crate::runtime::state_dir::{StateDir, StateError};

pub use self::steps::StepName;

/// Longest file of issuers, in bytes.
const MAX_CA_BYTES: u64 = 1 << 20;

/// What is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// The Server.
    pub target: Target,
    /// Name of the credential; by default as [`Target::usual_name`].
    pub name: Option<String>,
    /// The code as typed; not needed where the Collector is onboarded already.
    pub code: Option<Secret>,
    /// Issuers that verify the Server's certificate.
    pub ca_file: Option<PathBuf>,
    /// Who we are.
    pub introduction: Introduction,
    /// Where credentials are kept.
    pub state_dir: PathBuf,
    /// Which way to go.
    pub proxies: Proxies,
    /// Who finds addresses.
    pub resolver: Resolver,
}

/// A step that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was tried.
    pub name: StepName,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took.
    pub took: Duration,
    /// What was seen; one sentence without full stop.
    pub detail: String,
    /// What to do; empty: nothing. A step that is well may still carry advice.
    pub remedy: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The Server took this Collector.
    Onboarded,
    /// It had before, and it still knows it.
    Already,
    /// The Server said no.
    Refused,
    /// It could not be done.
    Failed,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The credential's name.
    pub name: String,
    /// What the Server calls this Collector; empty if it did not say.
    pub collector: String,
    /// Where the credential is, if one was kept.
    pub file: Option<PathBuf>,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// Why an onboarding cannot begin.
#[derive(Debug, Error)]
pub enum WantedError {
    /// Names are parts of file names.
    #[error("{0:?} cannot be the name of a Server's credential")]
    Name(String),
    /// The name is that of another Server's credential.
    #[error("the name {name} is that of another Server, {url}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        url: String,
    },
    /// What is kept cannot be read.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The CA file cannot be read.
    #[error("cannot read the CA file {}: {source}", path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl WantedError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Name(_) => "use letters, digits, `.`, `-` and `_`, at most 64".to_owned(),
            Self::NameTaken { .. } => "choose another with --name".to_owned(),
            Self::Credential(error) => error.remedy(),
            Self::CaFile { .. } => "check path, owner and mode".to_owned(),
        }
    }
}

/// What is kept of the Server that is wanted, if anything.
///
/// # Errors
/// Its credential is damaged, or the name is another Server's.
pub fn kept(
    state_dir: &Path,
    target: &Target,
    name: Option<&str>,
) -> Result<Option<Credential>, WantedError> {
    let usual = target.usual_name();
    let name = name.unwrap_or(&usual);
    if !is_name(name) {
        return Err(WantedError::Name(name.to_owned()));
    }
    let mut found = None;
    for (path, read) in list(state_dir)? {
        let is_named = path
            .file_name()
            .is_some_and(|file| file == credential::file_name(name).as_str());
        match read {
            Ok(read) if read.target == *target => found = Some(read),
            Ok(read) if is_named => {
                return Err(WantedError::NameTaken {
                    name: read.name,
                    url: read.target.url().to_owned(),
                });
            }
            Ok(_) => {}
            // The others are not asked for here.
            Err(error) if is_named => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Onboards; `told` hears each step as it ends.
///
/// # Errors
/// It cannot begin; nothing was sent or written.
pub async fn onboard(
    wanted: &Wanted,
    told: &mut (dyn FnMut(&Step) + Send),
) -> Result<Outcome, WantedError> {
    let kept = kept(&wanted.state_dir, &wanted.target, wanted.name.as_deref())?;
    let issuers = (wanted.ca_file.as_deref()).map(read_ca).transpose()?;
    let name = match (&kept, &wanted.name) {
        (Some(kept), _) => kept.name.clone(),
        (None, Some(name)) => name.clone(),
        (None, None) => wanted.target.usual_name(),
    };
    let mut driver = Driver {
        wanted,
        issuers,
        file: None,
        collector: String::new(),
        steps: Vec::new(),
        begun: clock::monotonic_now(),
        told,
        refused: false,
    };
    let ending = driver.run(kept, &name).await;
    let (refused, file) = (driver.refused, driver.file);
    Ok(Outcome {
        ending: ending.unwrap_or(if refused {
            Ending::Refused
        } else {
            Ending::Failed
        }),
        name,
        collector: driver.collector,
        file,
        steps: driver.steps,
    })
}

fn read_ca(path: &Path) -> Result<Vec<u8>, WantedError> {
    use std::io::Read as _;
    let read = || {
        let mut pem = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_CA_BYTES).read_to_end(&mut pem)?;
        Ok(pem)
    };
    read().map_err(|source| WantedError::CaFile {
        path: path.to_owned(),
        source,
    })
}

struct Driver<'a> {
    wanted: &'a Wanted,
    issuers: Option<Vec<u8>>,
    file: Option<PathBuf>,
    collector: String,
    steps: Vec<Step>,
    begun: Instant,
    told: &'a mut (dyn FnMut(&Step) + Send),
    refused: bool,
}

/// A step failed; it was told.
struct Ended;

impl Driver<'_> {
    async fn run(&mut self, kept: Option<Credential>, name: &str) -> Result<Ending, Ended> {
        let code = self.wanted.code.as_ref().map(ExposeSecret::expose_secret);
        let planned = steps::plan(code, kept);
        let plan = match planned {
            Ok((plan, said)) => {
                self.tell(said)?;
                plan
            }
            Err(said) => return self.tell(*said).map(|()| Ending::Failed),
        };
        let (code, credential) = match plan {
            Plan::Begin(code) => (code.clone(), fresh(name, &self.wanted.target, &code)),
            Plan::GoOn(code, kept) => {
                let key_sha256 = code.key;
                (
                    code,
                    Credential {
                        key_sha256,
                        ..*kept
                    },
                )
            }
            Plan::Verify(kept, code) => match self.check(&kept, code.is_some()).await? {
                true => return Ok(Ending::Already),
                // The Server knows it no more, and there is a code to begin anew with.
                false => {
                    let code = code.ok_or(Ended)?;
                    let begun = fresh(name, &self.wanted.target, &code);
                    (code, begun)
                }
            },
        };
        self.exchange(&code, credential).await?;
        Ok(Ending::Onboarded)
    }

    /// Whether the Server still knows a credential.
    async fn check(&mut self, kept: &Credential, may_begin_anew: bool) -> Result<bool, Ended> {
        self.collector.clone_from(&kept.collector);
        let folder = self.wanted.state_dir.join(FOLDER);
        self.file = Some(folder.join(credential::file_name(&kept.name)));
        let mut trust = kept.server_trust();
        if self.wanted.ca_file.is_some() {
            trust.ca_file.clone_from(&self.wanted.ca_file);
        }
        let server = self.connect(&trust, &kept.key_sha256).await?;
        match server.token(kept).await {
            Ok(_) => {
                let detail = format!(
                    "onboarded already as {}; the Server gives it a token",
                    kept.collector
                );
                self.tell(Said::pass(StepName::Verify, detail))?;
                Ok(true)
            }
            Err(super::server::Trouble::Unauthorized) if may_begin_anew => {
                let detail =
                    "the Server knows the credential no more: it begins anew with the code";
                self.tell(Said::pass(StepName::Verify, detail))?;
                Ok(false)
            }
            Err(trouble) => {
                self.tell(Said::trouble(StepName::Verify, &trouble))?;
                Ok(true)
            }
        }
    }

    /// Sends a credential with the code, once what is sent is on the disk.
    async fn exchange(&mut self, code: &Code, mut credential: Credential) -> Result<(), Ended> {
        let trust = ServerTrust {
            ca_file: self.wanted.ca_file.clone().or(credential.ca_file.clone()),
            key_sha256: Some(code.key),
        };
        let server = self.connect(&trust, &code.key).await?;
        credential.trust = server.seen().and_then(|seen| seen.verdict.ok());
        self.keep(&mut credential, StepName::Keep)?;
        let onboard = Onboard {
            protocol: PROTOCOL,
            invitation: hex(&code.secret),
            client_id: credential.client_id.clone(),
            client_secret: credential.client_secret.expose_secret().to_owned(),
            collector: self.wanted.introduction.clone(),
            sent_at: clock::utc_now().0,
        };
        let onboarded = match server.onboard(&onboard).await {
            Ok(onboarded) => onboarded,
            Err(trouble) => return self.tell(steps::refused(&trouble, clock::utc_now())),
        };
        let detail = format!(
            "{} (jims {}) calls this Collector {}",
            onboarded.server, onboarded.version, onboarded.collector
        );
        self.tell(Said::pass(StepName::Exchange, detail))?;
        self.collector.clone_from(&onboarded.collector);
        credential.collector = onboarded.collector;
        credential.server = onboarded.server;
        credential.stage = Stage::Onboarded;
        credential.onboarded_at = Some(clock::utc_now());
        self.keep(&mut credential, StepName::Store)?;
        match server.token(&credential).await {
            Ok(_) => self.tell(Said::pass(StepName::Verify, "the Server gives it a token")),
            Err(trouble) => self.tell(Said::trouble(StepName::Verify, &trouble)),
        }
    }

    /// Name, TCP, TLS, certificate and clock; nothing of ours is told.
    async fn connect(&mut self, trust: &ServerTrust, key: &[u8; 32]) -> Result<Server, Ended> {
        let wanted = self.wanted;
        let target = &wanted.target;
        let way = match wanted.proxies.for_url(target.url()) {
            Some(proxy) => {
                let detail = format!("not looked up here: the way is through the proxy {proxy}");
                self.tell(Said::pass(StepName::Name, detail))?;
                format!(
                    "{}:{} through the proxy {proxy}",
                    target.host(),
                    target.port()
                )
            }
            None => self.resolve().await?,
        };
        let (proxies, resolver) = (wanted.proxies.clone(), wanted.resolver.clone());
        let server = match Server::new(target, trust, proxies, resolver) {
            Ok(server) => server,
            Err(error) => {
                let said = Said::fail(StepName::Connect, error.to_string(), error.remedy());
                self.tell(said)?;
                return Err(Ended);
            }
        };
        let answer = server.health().await;
        let now = clock::utc_now();
        for said in steps::connected(&answer, server.seen().as_ref(), key, &way, now) {
            self.tell(said)?;
        }
        Ok(server)
    }

    async fn resolve(&mut self) -> Result<String, Ended> {
        let target = &self.wanted.target;
        match self.wanted.resolver.addresses(target.host()).await {
            Ok(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                let detail = format!("{} is {}", target.host(), found.join(", "));
                self.tell(Said::pass(StepName::Name, detail))?;
                Ok(format!("{}:{}", target.host(), target.port()))
            }
            Err(error) => {
                let said = Said::fail(StepName::Name, error.to_string(), error.remedy());
                self.tell(said)?;
                Err(Ended)
            }
        }
    }

    fn keep(&mut self, credential: &mut Credential, step: StepName) -> Result<(), Ended> {
        match self.write(credential) {
            Ok(path) => {
                let detail = format!("{} written", path.display());
                self.file = Some(path);
                self.tell(Said::pass(step, detail))
            }
            Err(error) => self.tell(Said::fail(step, error.to_string(), error.remedy())),
        }
    }

    fn write(&self, credential: &mut Credential) -> Result<PathBuf, CredentialError> {
        let state_dir = &self.wanted.state_dir;
        let _as_owner = AsOwner::of(state_dir).map_err(|source| StateError::Folder {
            path: state_dir.clone(),
            source,
        })?;
        let folder = StateDir::open(&state_dir.join(FOLDER))?;
        if let Some(pem) = &self.issuers {
            let file = ca_file_name(&credential.name);
            folder.replace(&file, pem)?;
            credential.ca_file = Some(folder.path().join(file));
        }
        credential.write(&folder)
    }

    /// Notes a step; an error ends the onboarding.
    fn tell(&mut self, said: Said) -> Result<(), Ended> {
        let now = clock::monotonic_now();
        let step = Step {
            name: said.step,
            ok: said.ok,
            took: now.saturating_duration_since(self.begun),
            detail: said.detail,
            remedy: said.remedy,
        };
        self.begun = now;
        (self.told)(&step);
        self.steps.push(step);
        self.refused |= said.refused;
        if said.ok { Ok(()) } else { Err(Ended) }
    }
}

/// A credential of our own making: 128 bits name it, 256 are its secret.
fn fresh(name: &str, target: &Target, code: &Code) -> Credential {
    let (id, secret): ([u8; 16], [u8; 32]) = (rand::random(), rand::random());
    Credential {
        name: name.to_owned(),
        target: target.clone(),
        collector: String::new(),
        server: String::new(),
        client_id: format!("collector-{}", hex(&id)),
        client_secret: Secret::from(hex(&secret)),
        key_sha256: code.key,
        trust: None,
        ca_file: None,
        stage: Stage::Pending,
        onboarded_at: None,
    }
}
