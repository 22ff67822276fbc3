//! Asks the running service, for the commands that need it.

use std::future::Future;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::config_file;
use super::exit::Failure;
use super::render::escape_json;
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Answer, Request};

/// Asks one question on the socket that the configuration names.
pub(super) fn ask(config: Option<&Path>, request: &Request) -> Result<Answer, Failure> {
    let socket = config_file::socket(config)?;
    let answer = block_on(async {
        let mut client = Client::connect(&socket).await?;
        client.ask(request).await
    })?;
    Ok(answer?)
}

/// Whether a service answers on the socket that the configuration names.
pub(super) fn is_answered(config: Option<&Path>) -> Result<bool, Failure> {
    let socket = config_file::socket(config)?;
    Ok(block_on(Client::connect(&socket))?.is_ok())
}

/// Runs a future to its end, for a command that is not the service.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}"), ""))?;
    Ok(runtime.block_on(future))
}

/// The failure for an answer that fits no question of ours.
pub(super) fn unexpected() -> Failure {
    ClientError::Unexpected.into()
}

/// Prints an answer as JSON, indented, for scripts and people alike.
pub(super) fn print_json<T: Serialize>(value: &T, out: &mut impl Write) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)?;
    writeln!(out, "{}", escape_json(&text))?;
    Ok(())
}
