//! The demo's VPN gateway, Wi-Fi controller, switch and DHCP server: real lines over real TCP, each from its own address.
//!
//! People arrive by VPN or in the office, move between Wi-Fi and a desk's dock, and leave; two people share a desk, so one
//! displaces the other now and then; a service account is noisy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::DemoError;
use super::site::{self, DHCP, SWITCH, VPN, WIFI};
use crate::net::stream;

/// Pause between two things that happen.
const PAUSE: Duration = Duration::from_millis(700);

/// Where a simulated person is.
#[derive(Clone, Debug, Default)]
enum Place {
    #[default]
    Away,
    Vpn(String),
    Wifi(String),
    Dock(String),
}

/// Where somebody in the office is connected.
#[derive(Clone, Copy, Debug)]
enum Link {
    Wifi,
    Dock,
}

/// So many things happen between two signs of life of the service account.
const NOISE_EVERY: u32 = 6;

/// The account that signs on where people work, and that a filter leaves out.
const SERVICE_ACCOUNT: &str = "svc-scanner";

/// Everybody, and the connections of the senders.
pub(super) struct Senders {
    vpn: TcpStream,
    wifi: TcpStream,
    switch: TcpStream,
    dhcp: TcpStream,
    places: Vec<(&'static str, Place)>,
    steps: u32,
}

impl Senders {
    /// Connects the senders to the syslog listener.
    pub(super) async fn connect(port: u16) -> Result<Self, DemoError> {
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let from = async |address: &str| {
            let address: IpAddr = address
                .parse()
                .map_err(|_| DemoError::Setup(format!("the address {address}")))?;
            stream::connect_from(address, target)
                .await
                .map_err(DemoError::Io)
        };
        Ok(Self {
            vpn: from(VPN).await?,
            wifi: from(WIFI).await?,
            switch: from(SWITCH).await?,
            dhcp: from(DHCP).await?,
            places: site::people().map(|name| (name, Place::Away)).collect(),
            steps: 0,
        })
    }

    /// Lets somebody arrive, move or leave, again and again.
    pub(super) async fn run(mut self) -> std::io::Result<()> {
        loop {
            self.step().await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn step(&mut self) -> std::io::Result<()> {
        let Some(who) = (0..self.places.len()).choose(&mut rand::rng()) else {
            return Ok(());
        };
        self.steps += 1;
        if self.steps.is_multiple_of(NOISE_EVERY) {
            self.make_noise().await?;
        }
        let name = self.places[who].0;
        let place = std::mem::take(&mut self.places[who].1);
        let stays = rand::rng().random_bool(0.5);
        let next = match place {
            Place::Vpn(address) => {
                self.tunnel("DOWN", "down", name, &address).await?;
                Place::Away
            }
            // Whoever docks is on the cable first; then the Wi-Fi loses him.
            Place::Wifi(address) if stays => {
                let docked = self.arrive(Link::Dock, who).await?;
                self.access(Link::Wifi, "Disconnect", name, &address)
                    .await?;
                Place::Dock(docked)
            }
            Place::Dock(address) if stays => {
                let moved = self.arrive(Link::Wifi, who).await?;
                self.access(Link::Dock, "Disconnect", name, &address)
                    .await?;
                Place::Wifi(moved)
            }
            // The controller tells when somebody leaves; the DHCP lease, and with it the device, stays.
            Place::Wifi(address) => {
                self.access(Link::Wifi, "Disconnect", name, &address)
                    .await?;
                Place::Away
            }
            Place::Dock(address) => {
                self.access(Link::Dock, "Disconnect", name, &address)
                    .await?;
                Place::Away
            }
            Place::Away if stays => Place::Wifi(self.arrive(Link::Wifi, who).await?),
            Place::Away => {
                let address = address("10.8.0", who);
                self.tunnel("UP", "up", name, &address).await?;
                Place::Vpn(address)
            }
        };
        self.places[who].1 = next;
        Ok(())
    }

    /// Somebody connects in the office: a lease for his notebook, then his logon; where.
    async fn arrive(&mut self, link: Link, who: usize) -> std::io::Result<String> {
        let address = match link {
            Link::Wifi => address("10.20.0", who),
            // A desk for two.
            Link::Dock => address("10.30.0", who / 2),
        };
        let name = self.places[who].0;
        self.lease(name, &address).await?;
        self.access(link, "Connect", name, &address).await?;
        Ok(address)
    }

    /// The service account signs on where somebody works.
    async fn make_noise(&mut self) -> std::io::Result<()> {
        let docked = self.places.iter().filter_map(|(_, place)| match place {
            Place::Dock(address) => Some(address.clone()),
            Place::Away | Place::Vpn(_) | Place::Wifi(_) => None,
        });
        let somewhere = docked.choose(&mut rand::rng());
        if let Some(address) = somewhere {
            self.access(Link::Dock, "Connect", SERVICE_ACCOUNT, &address)
                .await?;
        }
        Ok(())
    }

    async fn tunnel(
        &mut self,
        message: &str,
        state: &str,
        user: &str,
        address: &str,
    ) -> std::io::Result<()> {
        let reason = if state == "down" {
            ", Reason: IPSec SAs cleared as corresponding IKE SA deleted"
        } else {
            ""
        };
        let line = format!(
            "<134>iked[9]: IKE_VPN_{message}_ALARM_USER: VPN RA from 198.51.100.7 is {state}. Local-ip: 192.0.2.1, \
             gateway name: RA, vpn name: RA, tunnel-id: 500051, local tunnel-if: st0.0, remote tunnel-ip: Not-Available, \
             Local IKE-ID: 192.0.2.1, Remote IKE-ID: ra, AAA username: {user}, VR id: 0, Traffic-selector: TS1, \
             Traffic-selector local ID: ipv4(0,0-65535,0.0.0.0-255.255.255.255), \
             Traffic-selector remote ID: ipv4(0,0-65535,{address}-{address}), SA Type: Static{reason}\n"
        );
        self.vpn.write_all(line.as_bytes()).await
    }

    async fn access(
        &mut self,
        link: Link,
        status: &str,
        user: &str,
        address: &str,
    ) -> std::io::Result<()> {
        let seconds = if status == "Disconnect" {
            " 60 seconds"
        } else {
            ""
        };
        let line = format!(
            "<30>radiusd[8]: {status}: [{user}] (did 02-00-00-00-00-02:staff cli 02-00-00-00-00-01 port 1 ip {address}){seconds}\n"
        );
        let sender = match link {
            Link::Wifi => &mut self.wifi,
            Link::Dock => &mut self.switch,
        };
        sender.write_all(line.as_bytes()).await
    }

    async fn lease(&mut self, user: &str, address: &str) -> std::io::Result<()> {
        let line = format!(
            "<30>dhcpd[7]: DHCPACK on {address} to 02:00:00:00:00:01 (NB-{}) via eth0\n",
            user.to_uppercase()
        );
        self.dhcp.write_all(line.as_bytes()).await
    }
}

/// The address that a network gives to somebody, always the same.
fn address(network: &str, who: usize) -> String {
    format!("{network}.{}", 10 + who)
}
