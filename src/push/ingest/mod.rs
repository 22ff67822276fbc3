//! The Server's end: it invites Collectors, onboards them, and receives what they push.
//!
//! | to find | look in |
//! | --- | --- |
//! | who was invited and onboarded, and by which rules | `registry`, `scope`, `file` |

pub mod file;
pub mod registry;
pub mod scope;
