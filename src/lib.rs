//! `jims` tells firewalls who is behind every IP address.

#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod directory;
pub mod enforcement;
pub mod identity;
pub mod net;
pub mod producer;
pub mod runtime;
pub mod wire;
pub mod writer;
