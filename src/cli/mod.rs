//! The commands: one file each, rendering and exit codes.
