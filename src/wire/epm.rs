//! The endpoint mapper: which TCP port an interface listens on (C706 appendices L and O, MS-RPCE 2.2.1.2.5).
//!
//! Only `ept_map` and towers of RPC over TCP. Addresses in the towers are of no use: servers behind several interfaces
//! write 0.0.0.0 there, so that the host that was asked is the one to call.

use std::net::Ipv4Addr;

use thiserror::Error;

use super::cursor::{Cursor, DecodeError};
use super::dcerpc::{Guid, NDR20, SyntaxId, status};

/// The endpoint mapper's interface (C706 appendix O).
pub const INTERFACE: SyntaxId = SyntaxId::new(0xe1af_8308_5d1f_11c9_91a4_0800_2b14_a0fa, 3, 0);
/// Where it listens.
pub const PORT: u16 = 135;
/// Number of `ept_map` (C706 appendix O).
pub const EPT_MAP: u16 = 3;
/// Most bytes of a reply that are worth taking.
pub const MAX_REPLY_BYTES: usize = 64 << 10;

/// Towers asked for at once.
const MAX_TOWERS: u32 = 16;
/// Floors of a tower that are looked at.
const MAX_FLOORS: u16 = 16;
/// Returned when there is no such interface (MS-RPCE 2.2.1.2.5).
const NOT_REGISTERED: u32 = 0x16c9_a0d6;

/// Protocol identifiers of floors (C706 appendix I).
mod protocol {
    pub(super) const TCP: u8 = 0x07;
    pub(super) const IP: u8 = 0x09;
    pub(super) const CONNECTION_ORIENTED: u8 = 0x0b;
    pub(super) const UUID: u8 = 0x0d;
}

/// Why the endpoint mapper gave no port.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EpmError {
    /// The reply is malformed.
    #[error("the endpoint mapper's reply: {0}")]
    Malformed(#[from] DecodeError),
    /// The interface is not offered over TCP there.
    #[error("the interface is not registered with the endpoint mapper")]
    NotRegistered,
    /// The endpoint mapper failed.
    #[error("the endpoint mapper failed: {}", status::words(*.0))]
    Status(u32),
}

/// Where an interface listens (C706 appendix L).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tower {
    /// The interface.
    pub interface: SyntaxId,
    /// How its data is encoded.
    pub transfer: SyntaxId,
    /// The TCP port; 0 in a question.
    pub port: u16,
    /// The address; unspecified in a question, and often in an answer.
    pub address: Ipv4Addr,
}

impl Tower {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = 5_u16.to_le_bytes().to_vec();
        for syntax in [self.interface, self.transfer] {
            let mut left = vec![protocol::UUID];
            left.extend_from_slice(&syntax.id.to_bytes_le());
            left.extend_from_slice(&syntax.major.to_le_bytes());
            floor(&mut out, &left, &syntax.minor.to_le_bytes());
        }
        floor(&mut out, &[protocol::CONNECTION_ORIENTED], &[0, 0]);
        // Ports and addresses are in network order.
        floor(&mut out, &[protocol::TCP], &self.port.to_be_bytes());
        floor(&mut out, &[protocol::IP], &self.address.octets());
        out
    }

    /// Reads it; `None` if it is no tower of RPC over TCP.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut fields = Cursor::new("tower", bytes);
        let floors = fields.u16("floor count")?;
        if floors > MAX_FLOORS {
            return Err(fields.invalid("floor count", 2, floors.into()));
        }
        let mut syntaxes = Vec::new();
        let (mut port, mut address) = (None, Ipv4Addr::UNSPECIFIED);
        for _ in 0..floors {
            let length = fields.u16("left length")?;
            let left = fields.bytes("left side", length.into())?;
            let length = fields.u16("right length")?;
            let right = fields.bytes("right side", length.into())?;
            match (left, right) {
                ([protocol::UUID, syntax @ ..], [a, b]) if syntax.len() == 18 => {
                    let mut parts = Cursor::new("floor", syntax);
                    syntaxes.push(SyntaxId {
                        id: Guid::from_bytes_le(parts.array("interface")?),
                        major: parts.u16("version")?,
                        minor: u16::from_le_bytes([*a, *b]),
                    });
                }
                ([protocol::TCP], [a, b]) => port = Some(u16::from_be_bytes([*a, *b])),
                ([protocol::IP], [a, b, c, d]) => address = Ipv4Addr::new(*a, *b, *c, *d),
                _ => {}
            }
        }
        let ([interface, transfer, ..], Some(port)) = (&syntaxes[..], port) else {
            return Ok(None);
        };
        Ok(Some(Self {
            interface: *interface,
            transfer: *transfer,
            port,
            address,
        }))
    }
}

/// The arguments of `ept_map` that ask where an interface listens on TCP.
#[must_use]
pub fn request(interface: SyntaxId) -> Vec<u8> {
    let tower = Tower {
        interface,
        transfer: NDR20,
        port: 0,
        address: Ipv4Addr::UNSPECIFIED,
    };
    let tower = tower.encode();
    let length = u32::try_from(tower.len()).unwrap_or_default().to_le_bytes();
    let mut out = Vec::with_capacity(160);
    // No object: a pointer to the nil one, as other clients send it.
    out.extend_from_slice(&1_u32.to_le_bytes());
    out.extend_from_slice(Guid::nil().as_bytes());
    out.extend_from_slice(&2_u32.to_le_bytes());
    // The count of the conformant array, then the structure's own.
    out.extend_from_slice(&length);
    out.extend_from_slice(&length);
    out.extend_from_slice(&tower);
    out.resize(out.len().next_multiple_of(4), 0);
    // No lookup handle yet.
    out.extend_from_slice(&[0; 20]);
    out.extend_from_slice(&MAX_TOWERS.to_le_bytes());
    out
}

/// The towers in the results of `ept_map`.
///
/// # Errors
/// [`EpmError`]: none, the mapper failed, or malformed.
pub fn towers(results: &[u8]) -> Result<Vec<Tower>, EpmError> {
    let mut fields = Cursor::new("ept_map", results);
    fields.bytes("entry_handle", 20)?;
    let count = fields.u32("num_towers")?;
    fields.u32("max_count")?;
    fields.u32("offset")?;
    let actual = fields.u32("actual_count")?;
    if actual > MAX_TOWERS || count > MAX_TOWERS {
        return Err(fields.invalid("actual_count", 4, actual.into()).into());
    }
    let mut present = 0;
    for _ in 0..actual {
        if fields.u32("ITowers")? != 0 {
            present += 1;
        }
    }
    let mut towers = Vec::new();
    for _ in 0..present {
        fields.u32("max_count")?;
        let length = fields.u32("tower_length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        towers.extend(Tower::decode(fields.bytes("tower", length)?)?);
        fields.align(4)?;
    }
    match fields.u32("status")? {
        0 if towers.is_empty() => Err(EpmError::NotRegistered),
        0 => Ok(towers),
        NOT_REGISTERED => Err(EpmError::NotRegistered),
        other => Err(EpmError::Status(other)),
    }
}

/// The TCP port in the results of `ept_map`, asked for `interface`.
///
/// # Errors
/// [`EpmError`]: none, the mapper failed, or malformed.
pub fn port(results: &[u8], interface: SyntaxId) -> Result<u16, EpmError> {
    towers(results)?
        .iter()
        .find(|tower| tower.interface.id == interface.id && tower.port != 0)
        .map(|tower| tower.port)
        .ok_or(EpmError::NotRegistered)
}

fn floor(out: &mut Vec<u8>, left: &[u8], right: &[u8]) {
    for side in [left, right] {
        let length = u16::try_from(side.len()).unwrap_or_default();
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(side);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::dcerpc::tests::hex;

    const EVENT_LOG: SyntaxId = SyntaxId::new(0xf6be_aff7_1e19_4fbb_9f8f_b89e_2018_337c, 1, 0);

    /// Asked by impacket 0.13 (`epm.hept_map`) of Samba 4.17: the request, and what Samba answered.
    const REQUEST: &str = "0100000000000000000000000000000000000000020000004b0000004b000000050013000df7afbef6191ebb4f\
        9f8fb89e2018337c01000200000013000d045d888aeb1cc9119fe808002b10486002000200000001000b0200000001000702000000010009\
        040000000000ab000000000000000000000000000000000000000004000000";
    const FOUND: &str = "000000000000000000000000000000000000000001000000040000000000000001000000030000004b0000004b00\
        0000050013000df7afbef6191ebb4f9f8fb89e2018337c01000200000013000d045d888aeb1cc9119fe808002b10486002000200000001\
        000b020000000100070200c0010100090400000000000000000000";
    const NOT_FOUND: &str =
        "000000000000000000000000000000000000000000000000040000000000000000000000d6a0c916";

    #[test]
    fn the_request_is_the_one_that_another_client_sends() {
        let mut expected = hex(REQUEST);
        let ours = request(EVENT_LOG);
        assert_eq!(ours.len(), expected.len());
        // It leaves rubbish in the padding after the tower, and asks for four towers.
        expected[107] = 0;
        let end = expected.len() - 4;
        assert_eq!(ours[..end], expected[..end]);
        assert_eq!(ours[end..], MAX_TOWERS.to_le_bytes());
    }

    #[test]
    fn the_port_of_a_real_answer_is_found_and_its_address_is_empty() {
        let found = towers(&hex(FOUND)).unwrap();
        assert_eq!(
            found,
            [Tower {
                interface: EVENT_LOG,
                transfer: NDR20,
                port: 49153,
                address: Ipv4Addr::UNSPECIFIED,
            }]
        );
        assert_eq!(port(&hex(FOUND), EVENT_LOG), Ok(49153));
        assert_eq!(port(&hex(FOUND), INTERFACE), Err(EpmError::NotRegistered));
    }

    #[test]
    fn an_interface_that_is_not_there_is_said_to_be_so() {
        assert_eq!(
            port(&hex(NOT_FOUND), EVENT_LOG),
            Err(EpmError::NotRegistered)
        );
        let mut failed = hex(NOT_FOUND);
        failed[36..].copy_from_slice(&5_u32.to_le_bytes());
        assert_eq!(port(&failed, EVENT_LOG), Err(EpmError::Status(5)));
    }

    #[test]
    fn an_answer_cut_anywhere_is_refused() {
        for text in [FOUND, NOT_FOUND] {
            let whole = hex(text);
            for length in 0..whole.len() {
                assert!(matches!(
                    towers(&whole[..length]),
                    Err(EpmError::Malformed(_))
                ));
            }
        }
    }

    #[test]
    fn towers_of_other_transports_are_passed_over() {
        let pipe = {
            let mut out = 1_u16.to_le_bytes().to_vec();
            floor(&mut out, &[0x0f], b"\\pipe\\eventlog\0");
            out
        };
        assert_eq!(Tower::decode(&pipe), Ok(None));
    }

    proptest! {
        #[test]
        fn towers_survive_the_round_trip(id: u128, major: u16, minor: u16, port: u16, address: u32) {
            let tower = Tower {
                interface: SyntaxId::new(id, major, minor),
                transfer: NDR20,
                port,
                address: Ipv4Addr::from(address),
            };
            prop_assert_eq!(Tower::decode(&tower.encode()), Ok(Some(tower)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            head in proptest::collection::vec(any::<u8>(), 0..64),
            at in 0_usize..160,
        ) {
            let mut bytes = hex(FOUND);
            let at = at.min(bytes.len());
            let end = (at + head.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&head[..end - at]);
            let _ = towers(&bytes);
            let _ = towers(&head);
            let _ = Tower::decode(&head);
        }
    }
}
