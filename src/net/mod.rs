//! The only sockets: listeners, TLS, HTTP, the local socket.
