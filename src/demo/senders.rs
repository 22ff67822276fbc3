//! The demo's VPN gateway, Wi-Fi controller and DHCP server: real lines over real TCP, each from its own address.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::DemoError;
use super::site::{self, DHCP, VPN, WIFI};
use crate::net::stream;

/// Pause between two things that happen.
const PAUSE: Duration = Duration::from_millis(700);

/// Where a simulated person is.
#[derive(Clone, Debug, Default)]
enum Place {
    #[default]
    Away,
    Vpn(String),
    Office(String),
}

/// Everybody, and the connections of the three senders.
pub(super) struct Senders {
    vpn: TcpStream,
    wifi: TcpStream,
    dhcp: TcpStream,
    places: Vec<(&'static str, Place)>,
    next_host: u32,
}

impl Senders {
    /// Connects the three senders to the syslog listener.
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
            dhcp: from(DHCP).await?,
            places: site::people().map(|name| (name, Place::Away)).collect(),
            next_host: 10,
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
        let (name, place) = std::mem::take(&mut self.places[who]);
        let at_home = rand::rng().random_bool(0.5);
        let next = match place {
            Place::Vpn(address) => {
                self.tunnel("DOWN", "down", name, &address).await?;
                Place::Away
            }
            // The controller tells when somebody leaves; the DHCP lease, and with it the device, stays.
            Place::Office(address) if at_home => {
                self.wireless("Disconnect", name, &address).await?;
                Place::Away
            }
            Place::Office(_) | Place::Away if !at_home => {
                let address = self.address("10.20.0");
                self.lease(name, &address).await?;
                self.wireless("Connect", name, &address).await?;
                Place::Office(address)
            }
            Place::Office(_) | Place::Away => {
                let address = self.address("10.8.0");
                self.tunnel("UP", "up", name, &address).await?;
                Place::Vpn(address)
            }
        };
        self.places[who] = (name, next);
        Ok(())
    }

    fn address(&mut self, network: &str) -> String {
        self.next_host = if self.next_host >= 250 {
            10
        } else {
            self.next_host + 1
        };
        format!("{network}.{}", self.next_host)
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

    async fn wireless(&mut self, status: &str, user: &str, address: &str) -> std::io::Result<()> {
        let seconds = if status == "Disconnect" {
            " 60 seconds"
        } else {
            ""
        };
        let line = format!(
            "<30>radiusd[8]: {status}: [{user}] (did 02-00-00-00-00-02:staff cli 02-00-00-00-00-01 port 1 ip {address}){seconds}\n"
        );
        self.wifi.write_all(line.as_bytes()).await
    }

    async fn lease(&mut self, user: &str, address: &str) -> std::io::Result<()> {
        let line = format!(
            "<30>dhcpd[7]: DHCPACK on {address} to 02:00:00:00:00:01 (NB-{}) via eth0\n",
            user.to_uppercase()
        );
        self.dhcp.write_all(line.as_bytes()).await
    }
}
