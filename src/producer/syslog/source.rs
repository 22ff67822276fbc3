//! Sources: whose lines are heard, and what becomes of a line.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::instant::Replaced;
use super::interpret::{self, Interpreted, Reason, Settings};
use super::tail::Tail;
use super::template::{Rules, TemplateError};
use crate::config;
use crate::identity::address::canonical;
use crate::identity::event::IdentityEvent;
use crate::identity::heard::{Heard, Hearer, LineId};
use crate::identity::time::UtcMillis;
use crate::runtime::report::{Kind, Report};

/// How a line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram, one line.
    Udp,
    /// A stream in clear text.
    Tcp,
    /// A stream over TLS.
    Tls,
}

impl Transport {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A configured source, ready to hear lines.
#[derive(Debug)]
pub struct Source {
    /// How its lines are interpreted.
    pub settings: Settings,
    /// What it reports about itself; survives a reload.
    pub report: Arc<Report>,
    /// Its last lines that made no event; survives a reload.
    pub tail: Arc<Tail>,
    senders: Vec<IpNet>,
    transports: config::Transports,
    client_names: Vec<String>,
    /// Whether it was heard lately.
    heard: AtomicBool,
}

/// What lines of one source gave, until it is settled.
#[derive(Debug, Default)]
pub struct Harvest {
    hearer: Option<Hearer>,
    events: Vec<IdentityEvent>,
    lines: u64,
    reasons: [u64; Reason::COUNT],
    replaced: [u64; 3],
}

impl Harvest {
    /// Nothing yet; events say of which line they are made if somebody else may hear it too.
    #[must_use]
    pub fn of(hearer: Option<Hearer>) -> Self {
        Self {
            hearer,
            ..Self::default()
        }
    }
}

impl Source {
    /// Prepares a source with the report and tail that it had before, if it had.
    ///
    /// # Errors
    /// A template that is unknown or cannot be used.
    pub fn new(
        config: &config::Syslog,
        source: &config::SyslogSource,
        before: Option<&Self>,
    ) -> Result<Self, TemplateError> {
        Ok(Self {
            settings: settings(&config.templates, source)?,
            report: before.map_or_else(
                || Report::new(Kind::Syslog, source.name.as_str()),
                |before| Arc::clone(&before.report),
            ),
            tail: before.map_or_else(Arc::default, |before| Arc::clone(&before.tail)),
            senders: source.senders.clone(),
            transports: source.transports,
            client_names: source.client_names.clone(),
            heard: AtomicBool::new(before.is_some_and(|b| b.heard.load(Ordering::Relaxed))),
        })
    }

    /// Interprets one line.
    pub fn hear(&self, line: &[u8], peer: IpAddr, now: UtcMillis, harvest: &mut Harvest) {
        harvest.lines += 1;
        // Looks at a word at a time as long as nothing is wrong.
        let text =
            str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
        match interpret::interpret(&self.settings, &text, now) {
            Ok(Interpreted {
                mut event,
                replaced,
            }) => {
                event.heard = harvest.hearer.map(|by| {
                    let line = LineId::of(peer, line);
                    Box::new(Heard { line, by })
                });
                harvest.events.push(event);
                if let Some(replaced) = replaced {
                    harvest.replaced[replaced as usize] += 1;
                }
            }
            Err(reason) => {
                harvest.reasons[reason as usize] += 1;
                if reason != Reason::Ignored {
                    self.tail.keep(now, peer, reason, line);
                }
            }
        }
    }

    /// Counts what was heard, and gives the events.
    pub fn settle(&self, harvest: &mut Harvest, now: UtcMillis) -> Vec<IdentityEvent> {
        let harvest = std::mem::take(harvest);
        if harvest.lines > 0 && !self.heard.swap(true, Ordering::Relaxed) {
            self.report.set_active("");
        }
        self.report.count_received(harvest.lines, now);
        self.report.count_interpreted(harvest.events.len() as u64);
        for (reason, count) in Reason::ALL.iter().zip(harvest.reasons) {
            if count > 0 {
                self.report.count_ignored_many(reason.as_str(), count);
            }
        }
        for (replaced, count) in Replaced::ALL.iter().zip(harvest.replaced) {
            if count > 0 {
                self.report.count_noted(replaced.as_str(), count);
            }
        }
        harvest.events
    }

    /// Says that the source is quiet if it was not heard for so long; silence is no outage.
    pub fn look(&self, now: UtcMillis, quiet_after: Duration) {
        let last = UtcMillis(self.report.last_received.load(Ordering::Relaxed));
        if now.since(last) >= quiet_after && self.heard.swap(false, Ordering::Relaxed) {
            self.report.set_quiet(format!(
                "nothing heard for {} minutes",
                quiet_after.as_secs() / 60
            ));
        }
    }

    /// Whether an address may be this source's, whatever its certificate will say.
    #[must_use]
    pub fn may_be(&self, peer: IpAddr, transport: Transport) -> bool {
        let peer = canonical(peer);
        self.uses(transport) && self.senders.iter().any(|network| network.contains(&peer))
    }

    fn uses(&self, transport: Transport) -> bool {
        match transport {
            Transport::Udp => self.transports.udp,
            Transport::Tcp => self.transports.tcp,
            Transport::Tls => self.transports.tls,
        }
    }

    fn admits(&self, transport: Transport, names: &[String]) -> bool {
        let unnamed = transport != Transport::Tls || self.client_names.is_empty();
        self.uses(transport) && (unnamed || self.named(names))
    }

    fn named(&self, names: &[String]) -> bool {
        let known = |name: &String| {
            self.client_names
                .iter()
                .any(|n| n.eq_ignore_ascii_case(name))
        };
        names.iter().any(known)
    }
}

/// How a source's lines are to be interpreted.
///
/// # Errors
/// A template that is unknown or cannot be used.
pub fn settings(
    templates: &[config::SyslogTemplate],
    source: &config::SyslogSource,
) -> Result<Settings, TemplateError> {
    Ok(Settings {
        producer: Arc::from(source.name.as_str()),
        domain: source.domain.clone(),
        time: source.time,
        zone: zone(&source.timezone),
        rules: Rules::for_source(templates, source)?,
        conflict: source.conflict,
    })
}

/// The machine's zone unless one is named; the configuration has checked the name.
fn zone(name: &str) -> TimeZone {
    if name.is_empty() {
        return TimeZone::system();
    }
    TimeZone::get(name).unwrap_or_else(|error| {
        tracing::warn!(timezone = name, %error, "unknown time zone, taking the machine's");
        TimeZone::system()
    })
}

/// All sources of a configuration.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Arc<Source>>,
    /// Longest prefix first; of equal ones those that ask for a client name first.
    senders: Vec<(IpNet, Arc<Source>)>,
}

impl Sources {
    /// Prepares all sources; one that was there before keeps its counts.
    ///
    /// # Errors
    /// A template that is unknown or cannot be used.
    pub fn new(config: &config::Syslog, before: &Self) -> Result<Self, TemplateError> {
        let (mut all, mut senders) = (Vec::new(), Vec::new());
        for source in &config.sources {
            let previous = before.by_name(&source.name);
            let prepared = Arc::new(Source::new(config, source, previous.map(Arc::as_ref))?);
            senders.extend(
                source
                    .senders
                    .iter()
                    .map(|network| (network.trunc(), Arc::clone(&prepared))),
            );
            all.push(prepared);
        }
        senders.sort_by_key(|(network, source)| {
            let length = network.prefix_len() + if network.addr().is_ipv4() { 96 } else { 0 };
            (std::cmp::Reverse(length), source.client_names.is_empty())
        });
        Ok(Self { all, senders })
    }

    /// The source whose lines these are, by longest match; `names` are those of a TLS client's certificate.
    #[must_use]
    pub fn of(&self, peer: IpAddr, transport: Transport, names: &[String]) -> Option<&Arc<Source>> {
        let peer = canonical(peer);
        self.senders
            .iter()
            .find(|(network, source)| network.contains(&peer) && source.admits(transport, names))
            .map(|(_, source)| source)
    }

    /// Whether an address may send this way at all, whatever its certificate will say.
    #[must_use]
    pub fn knows(&self, peer: IpAddr, transport: Transport) -> bool {
        self.all.iter().any(|source| source.may_be(peer, transport))
    }

    /// A source by its name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Source>> {
        self.all.iter().find(|source| source.report.name == name)
    }

    /// All sources, as configured.
    #[must_use]
    pub fn all(&self) -> &[Arc<Source>] {
        &self.all
    }
}
