//! The operator's door into a running `jims`: a local socket that speaks versioned JSON lines.
//!
//! [`protocol`] is what crosses the socket, [`server`] answers it inside `jims run`, [`client`] asks. The table is only
//! read here; what changes it goes through the writer's queue like everything else.

mod browse;
pub mod client;
pub mod cluster;
pub mod collectors;
pub mod condition;
mod explain;
mod explained;
pub mod found;
mod ignored;
pub mod junos;
pub mod kept;
mod lines;
mod list;
pub mod past;
mod points;
pub mod protocol;
pub mod pushes;
mod query;
pub mod server;
mod status;
mod unknown;

pub use self::ignored::Unheeded;
pub use self::server::{ControlServer, Desk, Site};
pub use self::status::push_trouble;
