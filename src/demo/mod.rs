//! A self-contained site that shows `jims` working through its real sockets.
