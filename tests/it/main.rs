//! Integration tests: the library and the binary as users run it.

mod cli;
mod docs;
mod templates;
