//! What exit codes mean, and how failures look.

use std::io;
use std::process::ExitCode;

use super::render::escape;
use crate::control::client::ClientError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Yes, or done.
    Yes,
    /// Asked, and the answer is no.
    No,
    /// It could not be asked or done.
    Error,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::Error => 2,
        })
    }
}

/// Why a command could not be done.
#[derive(Debug)]
pub(super) enum Failure {
    /// For the operator.
    Said {
        /// One sentence.
        message: String,
        /// What to try; may be empty.
        remedy: String,
    },
    /// The answer could not be written.
    Output(io::Error),
}

impl Failure {
    /// A failure with what to try.
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Said {
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// The reader of our output has seen enough, which is a success.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The lines for stderr.
    pub(super) fn render(&self) -> String {
        let (message, remedy) = match self {
            Self::Said { message, remedy } => (message.clone(), remedy.as_str()),
            Self::Output(error) => (format!("cannot write the answer: {error}"), ""),
        };
        let mut text = format!("jims: {}\n", lines(&message));
        if !remedy.is_empty() {
            text.push_str(&format!("try: {}\n", lines(remedy)));
        }
        text
    }
}

/// Escapes each line; problems of a configuration have several.
fn lines(text: &str) -> String {
    let escaped: Vec<String> = text.lines().map(escape).collect();
    escaped.join("\n")
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(error.to_string(), error.remedy())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_to_try_and_cannot_move_the_cursor() {
        let failure = Failure::new("cannot read a\u{1b}[2Jb", "mend it");
        assert_eq!(
            failure.render(),
            "jims: cannot read a\\u{1b}[2Jb\ntry: mend it\n"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(closed.is_closed_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_closed_pipe());
    }
}
