//! `jims` tells firewalls who is behind every IP address.
//!
//! Evidence comes in, becomes one kind of event, changes one table; the table's changes go out. Between "bytes arrived"
//! and "bytes leave", everything is a deterministic function of its inputs and the time that is handed in.
//!
//! ```text
//!  directory/ ───────────┐
//!                        │ batches               ┌───────────────────────┐ cursors
//!  producer/event_log ───┤                       │ identity/             │────────▶ enforcement/  firewalls ask
//!  producer/syslog ──────┼──── one bounded ─────▶│ filter→table→journal  │────────▶ push/sender/  Servers elsewhere
//!  push/ingest/ ─────────┤     queue (writer/)   │ deadlines             │────────▶ control/ ───▶ cli/
//!  control/ (log-off) ───┘                       └───────────────────────┘
//!  wire/  pure formats     net/  the only sockets     runtime/  clock, tasks, state files, reports     config/
//!  access/  who may call   app/  puts all of it together            demo/     a site on loopback       tui/ the dashboard
//! ```
//!
//! * One writer ([`writer`]) owns the table; readers borrow it.
//! * One record of change, the journal: an ordered set of keys, each at the sequence of its last change.
//! * Every output is a cursor on the journal. Too far behind, or of another epoch: a full report.
//!
//! # Five laws
//!
//! 1. `identity/` and `wire/` do no I/O, read no clock, spawn nothing, and do not know each other.
//! 2. Meaning is given in one place for each producer: its `interpret.rs`, a pure function.
//! 3. Only `net/` opens sockets, only `runtime/clock.rs` reads clocks, only `runtime/supervisor.rs` spawns, only
//!    `config/secret.rs` reads secrets.
//! 4. Types that cross a process boundary are separate from domain types; `identity/` serialises nothing.
//! 5. Every queue has a bound, every loop a limit, every wait a deadline, every task a name and an owner.
//!
//! `tests/it/tidy.rs` holds the laws, and who may use whom, as data.
//!
//! # Where to look
//!
//! * who wins a conflict: `identity/conflict.rs` · when a session ends: `identity/session.rs`, `identity/deadline.rs`
//! * how no change is missed: `identity/journal.rs` · what a firewall receives: `enforcement/shape.rs`, `entries.rs`
//! * which Windows records mean a logon: `producer/event_log/interpret.rs` · how a log is followed: `source.rs` beside it
//! * how a sign-on works: `net/security/` · what an RPC association does: `wire/dcerpc/association/`
//! * how firewalls are told that do not ask: `enforcement/web_api/` · our own HTTPS requests: `net/https_client.rs`
//! * Collectors and Servers apart: `push/`, its protocol `push/shape.rs`, our requests to Servers `net/collector_client.rs`
//! * who may ask or push over HTTPS, and for how long a token is good: `access/`
//! * what Collectors and Servers say to each other: `push/shape.rs` · who wins between Collectors: `identity/told.rs`
//! * which copy of a line counts that several Collectors heard: `identity/heard.rs`
//! * what a syslog line means: `producer/syslog/templates/`, `interpret.rs` · a directory entry: `directory/interpret.rs`
//! * why a default: `config/defaults.rs` · what stops in which order: `app/serve.rs`, `runtime/shutdown.rs`
//! * which key does what on the dashboard: `tui/keymap.rs` · what can happen to it: `tui/message.rs`
//! * why an address is as it is: `identity/explain.rs`, in words `control/explain.rs` · lists of a million: `identity/browse/`
//! * what the dashboard shows: `tui/view/` · JSON of the commands: `packaging/schema/`
//! * who was there at an earlier time, and the format on disk: `history/`
//! * what a crash leaves, and the table's format on disk: `snapshot/` · until when an answer waits for it: `writer/kept.rs`
//! * how to replay a field bug: `tests/fixtures/scenarios/`
//!
//! # The rules
//!
//! Semantics that are decided once; comments and tests name them by number.
//!
//! | rule | |
//! | --- | --- |
//! | 1 | Mapped addresses become IPv4 at every edge. Loopback (127.0.0.1, `::1`), unspecified, link-local, multicast and broadcast addresses never hold a session. |
//! | 2 | A user is (DNS domain, logon name) without case; NetBIOS names, UPN suffixes, realms and aliases lead to the DNS domain. A device is (domain, first label). |
//! | 3 | One constructor makes names and refuses what could forge a line. Raw lines are shown escaped. |
//! | 4 | Times are UTC milliseconds handed in. A clock that steps back holds; one that jumps ahead does not log everybody off at once. |
//! | 5 | `occurred_at` is fixed once, by the producer, never later than arrival; whole seconds count as their end. |
//! | 6 | Strong evidence displaces all, weak only weak; later wins; ties are decided by data. |
//! | 7 | A logoff ends the session of its user at its address; without an address, only sessions that its own producer holds. |
//! | 8 | A logon, and a firewall's query that names user and address, restart the logoff time; a directory change never does. |
//! | 9 | Only a machine's own Kerberos evidence may carry a user along, and only with `follow_device`. |
//! | 11 | A shared address never gives a user to a firewall. |
//! | 12 | A producer speaks only for its scope. |
//! | 13 | Roles are groups of the user's own domain; others are written `domain\group`; asserted ones count only if named. |
//! | 14 | A user whom the directory lost or disabled ends; one it never had stays, without roles. Mass removals must be read twice. |
//! | 15 | Ready: the snapshot is read, and every directory is served from it, read once, or has failed for 30 s. Until then 503. |
//! | 16 | A follower gets every key changed since its cursor once, in its latest state. 0, another epoch, or below the floor: everything. |
//! | 17 | A user gone from a device's address: `logout`, then the device. A device never follows a user without a `logout` between. |
//! | 18 | Whom a filter takes out is logged out; another filter starts a pass from 0 that says so. |
//! | 19 | A group filter chooses names, never sessions. An empty include means everything. Excluded evidence neither renews nor displaces. |
//! | 20 | Nobody there: 200 with an empty list. |
//! | 21 | Outcomes are one bounded, lossy stream beside the journal. Sessions that end are handed out once each, to a history that says what it lost. |
//! | 22 | A clean stop keeps the epoch; every other start draws a new one. A snapshot that cannot be used is set aside. |
//! | 23 | A changed secret revokes its tokens. |
//! | 24 | Reload: refused whole, or applied as a difference; a removed directory takes its users along. Certificates and secrets are looked at every 30 s. |
//! | 25 | The core asserts its own logic only; after a panic in it the process ends. |
//! | 26 | An invitation is good for one Collector, which trusts the Server by its roots or by the key in the code. Only hashes are kept; the same registration is answered alike. |
//! | 27 | What Collectors say is folded with everything else by rule 6. A connected Collector's sessions end by its word alone; of a silent one when the logoff time has passed since. A new epoch is mark and sweep; a domain's directory comes from one Collector. |
//! | 28 | `totals` count who has a session now; `directory` counts what was read. |
//! | 30 | Who can open the control socket is an operator. A secret that others can read is refused. |
//! | 31 | A stranger gets 403 without a body; failed logins are limited by address and client id together. |
//! | 33 | Strangers are listed, bounded, with the line to paste. |

#![forbid(unsafe_code)]

pub mod access;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod demo;
pub mod directory;
pub mod enforcement;
pub mod history;
pub mod identity;
pub mod net;
pub mod producer;
pub mod push;
pub mod runtime;
pub mod snapshot;
pub mod text;
pub mod tui;
pub mod wire;
pub mod writer;
