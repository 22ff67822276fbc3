//! The `jims` binary: see the library's first page for the map.

fn main() {}
