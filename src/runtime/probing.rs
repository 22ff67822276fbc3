//! Asking for a PC probe now: how the control socket and firewalls reach whoever probes, if anybody does.
//!
//! A handle that outlives reloads: probing may be turned on and off behind it. Whether a computer may be asked, and when,
//! is decided by who probes.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::preflight::Step;

/// Questions that may wait to be taken; each is taken at once unless the process is very busy.
const QUEUE: usize = 256;

/// What a probe came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The user of the session is signed on.
    SameUser,
    /// Somebody else is, or somebody where no session was.
    OtherUser,
    /// No user of a domain is.
    Nobody,
    /// The computer is there, and does not tell.
    Refused,
    /// Nobody answers.
    Unreachable,
}

impl Answer {
    /// The word for JSON, screens and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SameUser => "same-user",
            Self::OtherUser => "other-user",
            Self::Nobody => "nobody",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A probe that is over.
#[derive(Clone, Debug)]
pub struct Probed {
    /// What it came to; `None`: users are signed on, and there is no table to say whether they are the right ones.
    pub answer: Option<Answer>,
    /// Who is signed on, as the computer names them; accounts of the computer itself among them.
    pub users: Vec<String>,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// Why nobody was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// There is no `[pc_probe]`, or it names no networks.
    #[error("PC probes are off")]
    Off,
    /// The address is not one that may be asked.
    #[error("the address is outside the networks of [pc_probe]")]
    Outside,
    /// Too many are waiting already, or probing has just ended.
    #[error("too many probes are waiting")]
    Busy,
}

/// A question on its way.
#[derive(Debug)]
pub struct Question {
    /// Who is to be asked.
    pub address: IpAddr,
    /// The computer's full name, if whoever asks knows it.
    pub name: Option<String>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Arc<Probed>, NotAsked>>,
}

/// How to ask; clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct Probing(Arc<Mutex<Option<mpsc::Sender<Question>>>>);

impl Probing {
    /// Probing is on: questions come out here.
    #[must_use]
    pub fn open(&self) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        *self.0.lock() = Some(sender);
        receiver
    }

    /// Probing is off.
    pub fn close(&self) {
        *self.0.lock() = None;
    }

    /// Asks for a probe and waits until it is over; how long is for the caller to bound. The probe goes on when the
    /// caller stops waiting.
    ///
    /// # Errors
    /// [`NotAsked`]
    pub async fn ask(
        &self,
        address: IpAddr,
        name: Option<String>,
    ) -> Result<Arc<Probed>, NotAsked> {
        let sender = self.0.lock().clone().ok_or(NotAsked::Off)?;
        let (answer, waiting) = oneshot::channel();
        let question = Question {
            address,
            name,
            answer,
        };
        sender.try_send(question).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotAsked::Busy,
            mpsc::error::TrySendError::Closed(_) => NotAsked::Off,
        })?;
        waiting.await.unwrap_or(Err(NotAsked::Off))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_nobody_probes_is_told_at_once() {
        let (probing, address) = (Probing::default(), IpAddr::from([10, 0, 0, 1]));
        let ask = |probing: Probing| async move {
            let asked =
                tokio::time::timeout(Duration::from_secs(10), probing.ask(address, None)).await;
            asked.expect("an answer").map(|probed| probed.answer)
        };
        assert_eq!(ask(probing.clone()).await, Err(NotAsked::Off));
        let mut questions = probing.open();
        let asking = ask(probing.clone());
        let answering = async {
            let question = questions.recv().await.expect("a question");
            assert_eq!(question.address, address);
            let probed = Probed {
                answer: Some(Answer::Nobody),
                users: Vec::new(),
                steps: Vec::new(),
            };
            question.answer.send(Ok(Arc::new(probed))).expect("waiting");
        };
        assert_eq!(tokio::join!(asking, answering).0, Ok(Some(Answer::Nobody)));
        drop(questions);
        assert_eq!(ask(probing.clone()).await, Err(NotAsked::Off));
        probing.close();
        assert_eq!(ask(probing).await, Err(NotAsked::Off));
    }
}
