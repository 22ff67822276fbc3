//! Pushing to Servers elsewhere: one task for each follows the feed with a cursor, and the Server keeps the position.
//!
//! | to find | look in |
//! | --- | --- |
//! | what is said of an address, an object, a domain | `render` |
//! | where a Server's position leads, and when everything is told again | `place` |
//! | how the feed is read in slices of the lock, and where a push is cut | `gather` |
//! | when something is pushed, how a failure is waited out | `pushing` |
//! | what an operator sees | `reading` |
//! | starting, changing and stopping, as files come and go | `service` |

mod gather;
mod place;
mod pushing;
mod reading;
mod render;
mod service;

pub use self::reading::{PushReading, State};
pub use self::service::{Broken, Pushes, Surroundings, Wanted};
