//! A Server as a Collector calls it: the three requests of [`super::shape`], and what an answer means.
//!
//! What is to be done about an answer is decided by who asked, in onboarding or in the sender.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::credential::Credential;
use super::shape::{
    Accepted, ONBOARD_PATH, Onboard, Onboarded, PUSH_PATH, Reason, Refused, TOKEN_PATH,
};
use super::target::Target;
use crate::config::secret::Secret;
use crate::net::collector_client::{
    CallError, CollectorClient, JsonPost, Proxies, SeenCertificate, ServerAnswer, ServerTrust,
};
use crate::net::resolve::Resolver;

/// Where a Server says that it is there, to anybody.
const HEALTH_PATH: &str = "/healthz";
/// Longest part of an answer that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Why a Server did not do what was asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no answer.
    Call(CallError),
    /// The Server says no, and why.
    Refused(Refused),
    /// Client id and secret, or the token, are not good (401).
    Unauthorized,
    /// Too often (429).
    TooOften,
    /// The Server is there and cannot do it now (5xx).
    Unavailable(u16),
    /// It stands again and again where it did not say.
    Unstable,
    /// A push could not be written: a defect of ours.
    Unwritable,
    /// What answers is no Server of ours: the status, and the beginning of what it said.
    NoServer(u16, String),
}

impl Trouble {
    /// What an answer that is no success means.
    fn of(answer: &ServerAnswer) -> Self {
        if answer.status == 401 {
            return Self::Unauthorized;
        }
        if let Ok(refused) = serde_json::from_slice::<Refused>(&answer.body) {
            return Self::Refused(refused);
        }
        match answer.status {
            429 => Self::TooOften,
            status @ 500..=599 => Self::Unavailable(status),
            status => Self::NoServer(status, shown(&answer.body)),
        }
    }

    /// What went wrong: one sentence without full stop.
    #[must_use]
    pub(super) fn message(&self) -> String {
        match self {
            Self::Call(error) => error.to_string(),
            Self::Refused(refused) => refusal(refused),
            Self::Unauthorized => "the Server does not know this Collector any more".to_owned(),
            Self::TooOften => "the Server was asked too often".to_owned(),
            Self::Unavailable(status) => format!("the Server cannot do it now (status {status})"),
            Self::Unstable => "the Server does not keep the position that it says".to_owned(),
            Self::Unwritable => "a push could not be written".to_owned(),
            Self::NoServer(status, said) if said.is_empty() => {
                format!("what answers there is no jims Server (status {status})")
            }
            Self::NoServer(status, said) => {
                format!("what answers there is no jims Server (status {status}: {said})")
            }
        }
    }

    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub(super) fn remedy(&self) -> String {
        let said = match self {
            Self::Call(error) => return error.remedy(),
            Self::Refused(refused) => remedy(refused),
            Self::Unauthorized => {
                "if the Collector was removed there, invite it again and run `jims onboard` with the new code"
            }
            Self::TooOften => "wait a minute, then try again",
            Self::Unavailable(_) => "look at `jims status` on the Server, then try again",
            Self::Unstable => {
                "look at the Server's log; another process may push with the same credential"
            }
            Self::Unwritable => "this is a defect of jims, please report it",
            Self::NoServer(403 | 407, _) => {
                "a proxy or firewall between may have answered: let this machine through to the Server"
            }
            Self::NoServer(..) => {
                "check the URL: host and port must be those of the Server's [server] listen; an older jims there must be upgraded"
            }
        };
        said.to_owned()
    }
}

fn refusal(refused: &Refused) -> String {
    let why = match refused.error {
        Reason::Protocol => {
            let mut text = "the Server does not speak the protocol of this jims".to_owned();
            if let Some(minimum) = refused.minimum {
                // Writing to a `String` cannot fail.
                let _ = write!(text, ": it takes protocol {minimum} and newer");
            }
            return text;
        }
        Reason::UnknownInvitation => "the Server knows no invitation with this code",
        Reason::ExpiredInvitation => "the invitation has expired",
        Reason::UsedInvitation => "another Collector was onboarded with this code",
        Reason::RevokedInvitation => "the invitation was revoked on the Server",
        Reason::ClientIdTaken => "the Server has another Collector with this client id",
        Reason::Disabled => "this Collector is disabled on the Server",
        Reason::Busy => "the Server is busy or not ready yet",
        Reason::InvalidRequest | Reason::Other => {
            return format!(
                "the Server refuses: {}",
                shown(refused.error_description.as_bytes())
            );
        }
    };
    why.to_owned()
}

fn remedy(refused: &Refused) -> &'static str {
    match refused.error {
        Reason::Protocol => "install the jims of the Server's version here",
        Reason::UnknownInvitation => {
            "check that code and URL are of the same Server; it may have been made anew since"
        }
        Reason::ExpiredInvitation | Reason::RevokedInvitation => {
            "make a new invitation on the Server, and use its code"
        }
        Reason::UsedInvitation => {
            "make a new invitation on the Server for this Collector; if nobody should have used the code, remove the Collector that did"
        }
        Reason::ClientIdTaken => "remove the pending file in state_dir/push, then try again",
        Reason::Disabled => "enable the Collector on the Server",
        Reason::Busy => "try again in a minute; `jims status` on the Server says what it waits for",
        Reason::InvalidRequest | Reason::Other => {
            "compare the versions of jims here and on the Server"
        }
    }
}

/// The beginning of what something said, on one line.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_SHOWN).collect()
}

/// A token.
#[derive(Debug)]
pub(super) struct Token {
    /// What is shown.
    pub(super) text: Secret,
    /// How long it is good.
    pub(super) lifetime: Duration,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Taken (200).
    Taken(Accepted),
    /// Not taken, because the Server stands elsewhere (409).
    Elsewhere(Accepted),
}

/// Calls one Server; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: CollectorClient,
    target: Target,
}

#[derive(Serialize)]
struct AskToken<'a> {
    grant_type: &'static str,
    client_id: &'a str,
    client_secret: &'a str,
}

#[derive(Deserialize)]
struct GivenToken {
    access_token: String,
    expires_in: u64,
}

impl Server {
    /// Reads whom to trust; connects at the first call.
    ///
    /// # Errors
    /// The CA file or the proxy cannot be used.
    pub(super) fn new(
        target: &Target,
        trust: &ServerTrust,
        proxies: Proxies,
        resolver: Resolver,
    ) -> Result<Self, CallError> {
        Ok(Self {
            client: CollectorClient::new(trust, proxies, resolver)?,
            target: target.clone(),
        })
    }

    /// The certificate that was taken at the last connection.
    #[must_use]
    pub(super) fn seen(&self) -> Option<SeenCertificate> {
        self.client.seen()
    }

    /// Asks whether it is there; tells nothing of us.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn health(&self) -> Result<ServerAnswer, CallError> {
        self.client.get(&self.target.at(HEALTH_PATH)).await
    }

    /// Shows an invitation.
    ///
    /// # Errors
    /// [`Trouble`]
    pub(super) async fn onboard(&self, onboard: &Onboard) -> Result<Onboarded, Trouble> {
        let answer = self.post(ONBOARD_PATH, None, json(onboard), false).await?;
        success(&answer)
    }

    /// Gets a token.
    ///
    /// # Errors
    /// [`Trouble`]
    pub(super) async fn token(&self, credential: &Credential) -> Result<Token, Trouble> {
        let ask = AskToken {
            grant_type: "client_credentials",
            client_id: &credential.client_id,
            client_secret: credential.client_secret.expose_secret(),
        };
        let answer = self.post(TOKEN_PATH, None, json(&ask), false).await?;
        let mut given: GivenToken = success(&answer)?;
        let text = Secret::from(given.access_token.as_str());
        given.access_token.zeroize();
        Ok(Token {
            text,
            lifetime: Duration::from_secs(given.expires_in),
        })
    }

    /// Pushes JSON that is compressed already.
    ///
    /// # Errors
    /// [`Trouble`]
    pub(super) async fn push(&self, token: &Secret, gzipped: Bytes) -> Result<Pushed, Trouble> {
        let answer = self.post(PUSH_PATH, Some(token), gzipped, true).await?;
        let accepted = serde_json::from_slice::<Accepted>(&answer.body);
        match (answer.status, accepted) {
            (200, Ok(accepted)) => Ok(Pushed::Taken(accepted)),
            (409, Ok(accepted)) => Ok(Pushed::Elsewhere(accepted)),
            _ => Err(Trouble::of(&answer)),
        }
    }

    async fn post(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: Bytes,
        gzip: bool,
    ) -> Result<ServerAnswer, Trouble> {
        let url = self.target.at(path);
        let post = JsonPost {
            url: &url,
            token,
            body,
            gzip,
        };
        self.client.post(post).await.map_err(Trouble::Call)
    }
}

fn success<T: for<'a> Deserialize<'a>>(answer: &ServerAnswer) -> Result<T, Trouble> {
    if answer.status != 200 {
        return Err(Trouble::of(answer));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|_| Trouble::NoServer(answer.status, shown(&answer.body)))
}

/// Shapes of ours are always JSON: no maps with odd keys, no numbers beyond it.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ServerAnswer {
        ServerAnswer {
            status,
            http2: true,
            date: None,
            body: body.into(),
        }
    }

    fn refused(reason: &str) -> Trouble {
        let body =
            format!(r#"{{"error":"{reason}","error_description":"words of it","minimum":3}}"#);
        Trouble::of(&answer(403, &body))
    }

    #[test]
    fn every_refusal_is_a_sentence_with_a_remedy() {
        let reasons = [
            ("protocol", "takes protocol 3"),
            ("unknown_invitation", "no invitation"),
            ("expired_invitation", "expired"),
            ("used_invitation", "another Collector"),
            ("revoked_invitation", "revoked"),
            ("client_id_taken", "client id"),
            ("disabled", "disabled"),
            ("invalid_request", "words of it"),
            ("busy", "busy"),
            ("of_the_future", "words of it"),
        ];
        for (reason, words) in reasons {
            let trouble = refused(reason);
            assert!(trouble.message().contains(words), "{}", trouble.message());
            assert!(!trouble.remedy().is_empty());
        }
    }

    #[test]
    fn who_is_no_server_is_told_from_one_that_refuses() {
        let of = |status, body| Trouble::of(&answer(status, body));
        assert!(matches!(of(401, ""), Trouble::Unauthorized));
        assert!(matches!(
            of(401, r#"{"error":"invalid_client"}"#),
            Trouble::Unauthorized
        ));
        assert!(matches!(of(429, ""), Trouble::TooOften));
        assert!(matches!(of(503, "busy"), Trouble::Unavailable(503)));
        let page = of(404, "<html>\n  not found");
        assert_eq!(
            page.message(),
            "what answers there is no jims Server (status 404: <html> not found)"
        );
        assert!(matches!(
            success::<Onboarded>(&answer(200, "hello")),
            Err(Trouble::NoServer(200, _))
        ));
    }
}
