//! Pure formats and protocol machines, walled as if a crate of its own.
