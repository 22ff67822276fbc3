//! The live dashboard: a client of the control socket, also inside `jims run`.
//!
//! ```text
//!  terminal ──▶ input ──┐                              ┌──▶ view ──▶ terminal
//!                       ├─▶ message ─▶ update ─▶ model ─┘
//!  service ◀──▶ link ───┘                 └─▶ effect ──▶ link, terminal
//! ```
//!
//! `keymap` is the table of keys, `message` the closed list of what can happen and what can be wanted, `model` all
//! that is known, `update` how the first changes the last, `view` how it looks. These are pure; only `link`,
//! `input`, `terminal` and [`run()`] touch the world. The room knows the service by its protocol alone.

#[cfg(test)]
mod fixtures;
mod flow;
mod input;
mod keymap;
mod layout;
mod link;
mod message;
mod model;
mod pace;
mod paged;
#[cfg(test)]
mod reliance;
mod rows;
mod run;
mod tail;
mod terminal;
#[cfg(test)]
mod tests;
mod theme;
mod update;
mod view;

pub use self::run::{DashboardError, Ending, Options, run, run_apart};
