//! The local socket: versioned JSON lines between the service and its commands.
