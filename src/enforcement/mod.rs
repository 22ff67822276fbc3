//! The Server that firewalls ask: tokens, queries, cookies, shapes.

pub mod cookie;
pub mod filter;
pub mod login;
pub mod point;
pub mod requests;
pub mod shape;
pub mod token;
