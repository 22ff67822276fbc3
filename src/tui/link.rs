//! The connections to the service: one for what the dashboard asks, one for the tail, one for each thing an operator
//! wants done. Lost ones are made again with growing pauses.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::message::{Deed, Message, Question, Refused};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Answer, Request, Tail};
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::supervisor::Tasks;

/// The first pause before another attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Questions that wait for the connection.
const QUESTIONS: usize = 16;

/// How often lines of the tail are handed on.
const TAIL_EVERY: Duration = Duration::from_millis(250);

/// The most lines that are read in that time. Who reads no more has the service leave lines out, and say how many: that
/// is cheap for both.
const TAIL_LINES: usize = 500;

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        Self {
            message: error.to_string(),
            remedy: error.remedy().to_owned(),
        }
    }
}

/// The way to the service.
pub(super) struct Link {
    socket: PathBuf,
    tasks: Tasks,
    messages: mpsc::Sender<Message>,
    questions: mpsc::Sender<Question>,
    listen: watch::Sender<bool>,
}

impl Link {
    /// Connects, and goes on connecting, as long as this lives.
    pub(super) fn open(socket: PathBuf, tasks: &Tasks, messages: mpsc::Sender<Message>) -> Self {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (listen, listening) = watch::channel(false);
        tasks.spawn(
            "dashboard questions",
            ask(socket.clone(), asked, messages.clone()),
        );
        tasks.spawn(
            "dashboard tail",
            follow(socket.clone(), listening, messages.clone()),
        );
        Self {
            socket,
            tasks: tasks.clone(),
            messages,
            questions,
            listen,
        }
    }

    /// Asks; the answer comes as a message. `None`, or the question if too many are open.
    pub(super) fn ask(&self, question: Question) -> Option<Question> {
        let full = self.questions.try_send(question).err()?;
        Some(full.into_inner())
    }

    /// Has something done; the answer comes as a message.
    pub(super) fn act(&self, deed: Deed) {
        let (socket, messages) = (self.socket.clone(), self.messages.clone());
        self.tasks.spawn("dashboard deed", async move {
            let asked = tokio::select! {
                asked = once(&socket, deed.request()) => asked,
                () = messages.closed() => return,
            };
            let answer = asked.map(Box::new).map_err(Refused::from);
            let _over = messages.send(Message::Acted { deed, answer }).await;
        });
    }

    /// Whether the tail is wanted.
    pub(super) fn listen(&self, wanted: bool) {
        self.listen.send_replace(wanted);
    }
}

async fn once(socket: &std::path::Path, request: Request) -> Result<Answer, ClientError> {
    Client::connect(socket).await?.ask(&request).await
}

/// Answers questions until nobody asks any more.
async fn ask(
    socket: PathBuf,
    mut questions: mpsc::Receiver<Question>,
    messages: mpsc::Sender<Message>,
) {
    let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let error = match Client::connect(&socket).await {
            Ok(client) => {
                pauses.reset();
                // What was asked of the connection before is asked again by who wants it.
                while questions.try_recv().is_ok() {}
                if messages.send(Message::Regained).await.is_err() {
                    return;
                }
                match converse(client, &mut questions, &messages).await {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => error,
        };
        if messages.send(Message::Lost(error.into())).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pauses.next_pause()) => {}
            () = messages.closed() => return,
        }
    }
}

/// Asks on one connection until it fails; `None` if nobody asks any more.
async fn converse(
    mut client: Client,
    questions: &mut mpsc::Receiver<Question>,
    messages: &mpsc::Sender<Message>,
) -> Option<ClientError> {
    loop {
        let question = questions.recv().await?;
        let request = question.request();
        let asked = tokio::select! {
            asked = client.ask(&request) => asked,
            () = messages.closed() => return None,
        };
        let answer = match asked {
            Ok(answer) => Ok(Box::new(answer)),
            Err(ClientError::Refused(refusal)) => Err(Refused {
                message: refusal.message,
                remedy: refusal.remedy,
            }),
            Err(error) => return Some(error),
        };
        let message = Message::Answered { question, answer };
        messages.send(message).await.ok()?;
    }
}

/// Hands the tail on while it is wanted.
async fn follow(
    socket: PathBuf,
    mut wanted: watch::Receiver<bool>,
    messages: mpsc::Sender<Message>,
) {
    let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    while wanted.wait_for(|wanted| *wanted).await.is_ok() {
        let told = tokio::select! {
            told = listen(&socket, &messages, &mut pauses) => told,
            changed = wanted.wait_for(|wanted| !wanted) => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        };
        // The connection for questions says that the service is gone; here it is only tried again.
        if let Err(error) = told {
            tracing::debug!(%error, "the tail ended");
        }
        tokio::select! {
            () = tokio::time::sleep(pauses.next_pause()) => {}
            () = messages.closed() => return,
        }
    }
}

async fn listen(
    socket: &std::path::Path,
    messages: &mpsc::Sender<Message>,
    pauses: &mut Backoff,
) -> Result<(), ClientError> {
    let mut client = Client::connect(socket).await?;
    client.start_tail().await?;
    pauses.reset();
    let mut lines: Vec<Tail> = Vec::new();
    let mut until = clock::monotonic_now();
    loop {
        let next = client.next_of_tail();
        // Kept while lines are handed on: half a line that was read would be lost with it.
        tokio::pin!(next);
        let answer = loop {
            tokio::select! {
                answer = &mut next, if lines.len() < TAIL_LINES => break answer?,
                () = tokio::time::sleep_until(until.into()), if !lines.is_empty() => {
                    let batch = std::mem::take(&mut lines);
                    if messages.send(Message::Tail(batch)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        };
        if lines.is_empty() {
            until = clock::monotonic_now() + TAIL_EVERY;
        }
        lines.push(line(answer)?);
    }
}

fn line(answer: Answer) -> Result<Tail, ClientError> {
    match answer {
        Answer::Tail(tail) => Ok(tail),
        _ => Err(ClientError::Unexpected),
    }
}
