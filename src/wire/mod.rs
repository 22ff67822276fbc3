//! Pure formats and protocol machines, walled as if a crate of its own.
//!
//! Bytes in, values out: no sockets, no clocks, no tasks, and nothing of what an identity is. Nothing here panics on
//! input, and everything is bounded before it is allocated.

#![warn(clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

pub mod binxml;
pub mod cursor;
pub mod dcerpc;
pub mod dcom;
pub mod epm;
pub mod even6;
pub mod kerberos;
pub mod ldap;
pub mod ndr;
pub mod security;
pub mod syslog;
pub mod windows;
pub mod wmi;
