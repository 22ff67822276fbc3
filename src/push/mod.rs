//! Collectors and Servers apart: what a Collector pushes to Servers elsewhere, and how a Server receives it.
//!
//! ```text
//!  Collector                                                        Server
//!  identity/feed ─▶ sender/ (a cursor for each target) ── HTTPS ──▶ ingest/ ─▶ writer ─▶ identity/collector
//!  onboarding/ (code → credential in state_dir/push/) ────────────▶ ingest/ (invitations, registry)
//! ```
//!
//! [`shape`] is the protocol, [`code`] what an operator carries from one to the other; `server` asks a Server, [`target`]
//! says where it is, [`credential`] how a Collector signs on there. Who wins where Collectors disagree is decided in
//! `identity/`, not here.

pub mod code;
pub mod credential;
pub mod ingest;
pub mod onboarding;
pub mod sender;
mod server;
pub mod shape;
pub mod target;
