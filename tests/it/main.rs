//! Integration tests: the library and the binary as users run it.

mod binxml;
mod cli;
mod cli_control;
mod config;
mod directory;
mod directory_server;
mod docs;
mod event_log;
#[path = "../common/evtx.rs"]
mod evtx_log;
mod evtx_reencode;
mod fake_srx;
#[path = "../common/records.rs"]
mod records;
mod server;
mod server_site;
mod server_table;
mod service;
mod syslog;
mod templates;
mod tidy;
mod web_api;
