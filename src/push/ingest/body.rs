//! Bodies of pushes: read within a bound, unpacked within another, parsed where it holds nobody up.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::registry::{MAX_TEXT, cleaned};
use crate::push::shape::{MAX_JSON_BYTES, MAX_PUSH_BYTES, MINIMUM_PROTOCOL, PROTOCOL, Push};
use crate::runtime::supervisor;

/// A body that is packed into fewer bytes is unpacked and parsed at once.
const SMALL: usize = 16 * 1024;
/// How large a small body may be once it is unpacked.
const SMALL_UNPACKED: u64 = 256 * 1024;

/// Why a body is no push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoPush {
    /// It is over a bound.
    TooLarge(String),
    /// It is of a protocol that is not taken.
    Protocol,
    /// It is not what the protocol says; what is wrong.
    Invalid(String),
}

/// Room to unpack and parse large bodies: one at a time, because it takes many times their size.
#[derive(Debug)]
pub(super) struct Parsing(Arc<Semaphore>);

impl Default for Parsing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

#[derive(Deserialize)]
struct Head {
    protocol: u32,
}

/// Reads a body.
pub(super) async fn read(body: Body, most: usize) -> Result<axum::body::Bytes, NoPush> {
    let read = axum::body::to_bytes(body, most).await;
    read.map_err(|_| NoPush::TooLarge(format!("the body is over {most} bytes, or broke off")))
}

impl Parsing {
    /// The push in a body.
    pub(super) async fn push(&self, headers: &HeaderMap, body: Body) -> Result<Push, NoPush> {
        let packed = is_packed(headers)?;
        let bytes = read(body, MAX_PUSH_BYTES).await?;
        if bytes.len() <= SMALL
            && let Ok(json) = unpack(&bytes, packed, SMALL_UNPACKED)
        {
            return parse(&json, |push: &Push| push.protocol);
        }
        let room = Arc::clone(&self.0).acquire_owned().await;
        let parsed = supervisor::blocking(move || {
            // Kept until it is done, whether somebody still waits for it or not.
            let _room = room;
            let json = unpack(&bytes, packed, MAX_JSON_BYTES as u64)?;
            drop(bytes);
            parse(&json, |push: &Push| push.protocol)
        });
        let broken = || NoPush::Invalid("the body cannot be read".into());
        parsed.await.unwrap_or_else(|| Err(broken()))
    }
}

/// Whether the body is packed with gzip (RFC 9110, section 8.4.1).
fn is_packed(headers: &HeaderMap) -> Result<bool, NoPush> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(false);
    };
    let coding = coding.to_str().unwrap_or_default().trim();
    match coding.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" if codings.next().is_none() => Ok(true),
        "identity" if codings.next().is_none() => Ok(false),
        _ => Err(NoPush::Invalid("Content-Encoding must be gzip".into())),
    }
}

fn unpack(bytes: &[u8], packed: bool, most: u64) -> Result<Vec<u8>, NoPush> {
    let mut json = Vec::new();
    if packed {
        let read = MultiGzDecoder::new(bytes)
            .take(most + 1)
            .read_to_end(&mut json);
        read.map_err(|why| NoPush::Invalid(format!("the body is not gzip: {why}")))?;
    } else {
        json.extend_from_slice(bytes);
    }
    if json.len() as u64 > most {
        let most = MAX_JSON_BYTES;
        return Err(NoPush::TooLarge(format!("the JSON is over {most} bytes")));
    }
    Ok(json)
}

/// What is in a JSON document that tells of which protocol it is; one of another protocol need not be understood.
pub(super) fn parse<T: DeserializeOwned>(
    json: &[u8],
    protocol_of: impl Fn(&T) -> u32,
) -> Result<T, NoPush> {
    let is_ours = |protocol| (MINIMUM_PROTOCOL..=PROTOCOL).contains(&protocol);
    match serde_json::from_slice::<T>(json) {
        Ok(said) if !is_ours(protocol_of(&said)) => Err(NoPush::Protocol),
        Ok(said) => Ok(said),
        Err(why) => match serde_json::from_slice::<Head>(json) {
            Ok(head) if !is_ours(head.protocol) => Err(NoPush::Protocol),
            // It may repeat what it read, however long that is and whatever is in it.
            _ => Err(NoPush::Invalid(cleaned(&why.to_string(), MAX_TEXT))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut to = GzEncoder::new(Vec::new(), Compression::best());
        to.write_all(bytes).expect("written");
        to.finish().expect("packed")
    }

    fn headers(coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = coding.parse().expect("a value");
        headers.insert(header::CONTENT_ENCODING, value);
        headers
    }

    async fn push(coding: &str, body: Vec<u8>) -> Result<Push, NoPush> {
        let parsing = Parsing::default();
        parsing.push(&headers(coding), Body::from(body)).await
    }

    fn heartbeat() -> String {
        serde_json::json!({
            "protocol": 1, "collector": { "name": "a", "version": "1" }, "epoch": "e",
            "after": 0, "position": 0, "more": false, "behind": 0, "sent_at": 0, "started": 0,
            "attention": 0, "unknown": [1, 2],
            "totals": { "domains": 0, "users": 0, "devices": 0, "groups": 0, "sessions": 0 }
        })
        .to_string()
    }

    #[tokio::test]
    async fn a_push_is_read_packed_or_not() {
        let (plain, gzip) = (heartbeat().into_bytes(), packed(heartbeat().as_bytes()));
        assert!(push("identity", plain.clone()).await.is_ok());
        assert!(push("gzip", gzip).await.is_ok());
        let refused = push("gzip", plain.clone()).await;
        assert!(matches!(refused, Err(NoPush::Invalid(why)) if why.contains("gzip")));
        assert!(push("br", plain).await.is_err());
    }

    #[tokio::test]
    async fn a_bomb_is_cut_off() {
        let bomb = packed(&vec![b' '; MAX_JSON_BYTES + 1]);
        assert!(bomb.len() < MAX_PUSH_BYTES / 100);
        let refused = push("gzip", bomb).await;
        assert!(matches!(refused, Err(NoPush::TooLarge(_))));
    }

    #[tokio::test]
    async fn another_protocol_is_told_whatever_else_is_there() {
        for other in ["{\"protocol\": 0}", "{\"protocol\": 2, \"changes\": 7}"] {
            let refused = push("identity", other.into()).await;
            assert_eq!(refused, Err(NoPush::Protocol));
        }
        for none in ["", "[", "{}", "{\"protocol\": 1}", "{\"protocol\": \"1\"}"] {
            let refused = push("identity", none.into()).await;
            assert!(matches!(refused, Err(NoPush::Invalid(_))), "{none}");
        }
    }
}
