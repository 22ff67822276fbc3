//! Lab tests: the `jims` binary against real peers.
//!
//! `tests/run` installs the peers, starts two Samba domain controllers, each of a forest of its own, fills them and sets
//! `JIMS_LAB` to their folder; only then is this target built. The peers are Samba, rsyslog, NATS, `logger`, curl, impacket
//! and a peer that impacket proves; everything binds loopback addresses in 127.77.0.0/16, but for members of a cluster whose
//! wires are cut (10.77.0.0/16, in network namespaces), and the tests run one at a time.

#![expect(
    clippy::disallowed_methods,
    reason = "tests measure time and hold ports of their own"
)]
#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod support;

mod cluster;
mod collectors;
mod directory;
mod directory_auth;
mod events;
mod faults;
mod pc_probe;
mod restart;
mod rpc;
mod server;
mod syslog;
mod web_api;
