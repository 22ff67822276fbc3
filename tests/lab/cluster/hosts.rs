//! Hosts on one machine, each with a network of its own and two wires that can be cut.
//!
//! A host is a network namespace. Its front wire leads to where senders and firewalls are, its back wire to where NATS is; the
//! tests themselves sit at the other end of both. A cut wire is one whose other end is pulled out: nobody is told, and what is
//! on its way waits or is lost.
//!
//! A namespace lives as long as its holder, which ends when its input is closed: none outlives the tests, however they end.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{program_at, succeed, wait_for};

/// Where members listen that have a host of their own.
pub(crate) const COLLECTORS: [&str; 2] = ["10.77.0.64", "10.77.0.65"];
pub(crate) const SERVERS: [&str; 3] = ["10.77.0.66", "10.77.0.67", "10.77.0.68"];

/// And NATS.
pub(crate) const NODES: [&str; 3] = ["10.77.1.61", "10.77.1.62", "10.77.1.63"];

/// Where the tests sit, as hosts see it at the front.
pub(crate) const HARNESS: &str = "10.77.0.1";

/// One of a host's wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// To senders and firewalls.
    Front,
    /// To NATS.
    Back,
}

impl Wire {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Front, Self::Back];

    /// The device inside of a host.
    fn device(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
        }
    }

    /// The device at the tests' end, of a host or of the bridge (0). Names of devices have 15 characters at most.
    fn outer(self, host: u8) -> String {
        let letter = &self.device()[..1];
        format!("j{letter}{}.{host}", std::process::id())
    }

    /// The address of a host, with the length of its network.
    fn address(self, host: u8) -> String {
        let network = match self {
            Self::Front => 0,
            Self::Back => 1,
        };
        format!("10.77.{network}.{host}/24")
    }
}

/// `ip` with these words.
fn ip(words: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    command
}

/// What all wires lead to.
pub(crate) struct Network(());

impl Network {
    /// Two bridges, with the tests' own addresses at them.
    pub(crate) fn start() -> Self {
        // Whatever is made is taken away, also when the next step fails.
        let network = Self(());
        for wire in Wire::ALL {
            let bridge = wire.outer(0);
            succeed(&mut ip(&format!("link add {bridge} type bridge")));
            let own = wire.address(1);
            succeed(&mut ip(&format!("address add {own} dev {bridge}")));
            succeed(&mut ip(&format!("link set {bridge} up")));
        }
        network
    }

    /// A host; its number is the last of its addresses.
    pub(crate) fn host(&self, address: &str) -> Host {
        let number = address.rsplit('.').next().expect("a number");
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let host = Host {
            holder,
            number: number.parse().expect("a number"),
        };
        wait_for("a network of its own", || host.is_apart().then_some(()));
        succeed(host.command("ip").args(["link", "set", "lo", "up"]));
        for wire in Wire::ALL {
            host.plug_in(wire);
        }
        host
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for wire in Wire::ALL {
            drop(ip(&format!("link delete {}", wire.outer(0))).output());
        }
    }
}

/// One host.
pub(crate) struct Host {
    holder: Child,
    number: u8,
}

impl Host {
    /// A process that is in its network.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    fn is_apart(&self) -> bool {
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
        let its: Option<PathBuf> = network(&self.pid().to_string()).ok();
        its.is_some() && its != network("self").ok()
    }

    /// A program that will run there.
    pub(crate) fn command(&self, program: &str) -> Command {
        program_at(Some(self.pid()), program)
    }

    fn plug_in(&self, wire: Wire) {
        let (outer, bridge) = (wire.outer(self.number), wire.outer(0));
        let (device, holder) = (wire.device(), self.pid());
        succeed(&mut ip(&format!(
            "link add {outer} type veth peer name {device} netns {holder}"
        )));
        succeed(&mut ip(&format!("link set {outer} master {bridge} up")));
        let address = wire.address(self.number);
        let words = ["address", "add", &address, "dev", device];
        succeed(self.command("ip").args(words));
        succeed(self.command("ip").args(["link", "set", device, "up"]));
    }

    /// Nothing goes over these wires any more.
    pub(crate) fn cut(&self, wires: &[Wire]) {
        self.set(wires, "down");
    }

    /// Everything does again.
    pub(crate) fn mend(&self, wires: &[Wire]) {
        self.set(wires, "up");
    }

    fn set(&self, wires: &[Wire], state: &str) {
        for wire in wires {
            let outer = wire.outer(self.number);
            succeed(&mut ip(&format!("link set {outer} {state}")));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for wire in Wire::ALL {
            drop(ip(&format!("link delete {}", wire.outer(self.number))).output());
        }
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Cut wires carry nothing, mended ones everything; each of a host for itself.
#[test]
fn a_cut_wire_carries_nothing_until_it_is_mended() {
    use std::io::Read as _;
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    let network = Network::start();
    let host = network.host(SERVERS[0]);
    let mut answerer = host.command("python3");
    answerer.args(["-c", ANSWERER]).stdin(Stdio::piped());
    let mut child = answerer.spawn().expect("python3 starts");
    let answers = |wire: Wire| {
        let address = wire.address(host.number).replace("/24", ":7");
        let to: SocketAddr = address.parse().expect("an address");
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(500)).ok()?;
        let mut told = String::new();
        stream.read_to_string(&mut told).ok()?;
        Some(told)
    };
    for wire in Wire::ALL {
        let told = wait_for("an answer", || answers(wire));
        assert_eq!(told, wire.address(1).trim_end_matches("/24"));
    }
    host.cut(&[Wire::Back]);
    assert_eq!(answers(Wire::Back), None);
    assert!(answers(Wire::Front).is_some());
    host.mend(&[Wire::Back]);
    wait_for("an answer", || answers(Wire::Back));
    host.cut(&Wire::ALL);
    assert_eq!(Wire::ALL.map(answers), [None, None]);
    host.mend(&Wire::ALL);
    for wire in Wire::ALL {
        wait_for("an answer", || answers(wire));
    }
    drop(child.stdin.take());
    assert!(child.wait().expect("status").success());
}

/// Tells everybody who connects where that came from, until its input is closed.
const ANSWERER: &str = r"
import os, socket, sys, threading
def end():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=end).start()
listener = socket.create_server(('', 7))
while True:
    connection, (address, _) = listener.accept()
    connection.sendall(address.encode())
    connection.close()
";
