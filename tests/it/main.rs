//! Integration tests: the library and the binary as users run it.

mod abuse;
mod abuse_site;
mod binxml;
mod cli;
mod cli_control;
mod cli_lists;
mod cli_onboard;
mod completions;
mod config;
mod crash;
mod dashboard;
mod directory;
mod directory_server;
mod docs;
mod event_log;
#[path = "../common/evtx.rs"]
mod evtx_log;
mod evtx_reencode;
mod explain;
mod fake_hub;
mod fake_srx;
mod firewall_push;
mod firewall_table;
mod follow_cookie;
mod follow_world;
mod history;
mod ingest;
mod ingest_bodies;
mod ingest_directories;
mod ingest_restart;
mod onboarding;
mod packaging;
mod push_documents;
mod push_sender;
#[path = "../sim/random.rs"]
mod random;
#[path = "../common/records.rs"]
mod records;
mod schema;
mod server;
mod server_rules;
mod server_site;
mod server_table;
mod service;
mod syslog;
mod templates;
mod tidy;
mod validator;
mod web_api;
