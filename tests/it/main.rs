//! Integration tests: the library and the binary as users run it.

mod cli;
mod cli_control;
mod config;
mod directory;
mod directory_server;
mod docs;
mod server;
mod server_site;
mod server_table;
mod service;
mod syslog;
mod templates;
mod tidy;
