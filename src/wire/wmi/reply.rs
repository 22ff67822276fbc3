//! Results of the calls (MS-WMI 3.1.4), bounded before anything is kept.

use super::{ENUM_CLASS_OBJECT, MAX_OBJECTS, Object, ReplyError, SERVICES, status};
use crate::wire::cursor::DecodeError;
use crate::wire::dcom::{Reference, objref, orpc};

/// `NTLMLogin` (3.1.4.1.4): the namespace, an `IWbemServices`.
///
/// # Errors
/// [`ReplyError`]
pub fn logged_in(stub: &[u8]) -> Result<Reference, ReplyError> {
    orpc::reference("the reply to a login", stub, SERVICES.id)
}

/// `ExecQuery` (3.1.4.3.18): the results to come, an `IEnumWbemClassObject`. A query that returns at once is refused by
/// [`next`] at the earliest.
///
/// # Errors
/// [`ReplyError`]
pub fn query_started(stub: &[u8]) -> Result<Reference, ReplyError> {
    orpc::reference("the reply to a query", stub, ENUM_CLASS_OBJECT.id)
}

/// How far a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As many objects as were asked for; there may be more.
    More,
    /// These were the last ones, if there were any.
    End,
    /// Not all that were asked for came in time, if any; there may be more.
    TimedOut,
}

/// Objects of one reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// In the host's order; any number with any progress.
    pub objects: Vec<Object>,
    /// How far the query is.
    pub progress: Progress,
}

/// `Next` (3.1.4.4.2).
///
/// # Errors
/// [`ReplyError`]; one object that cannot be read spoils the reply, since nobody could say which one is missing. A
/// status that promises less than was asked for is refused too.
pub fn next(stub: &[u8]) -> Result<Batch, ReplyError> {
    const REPLY: &str = "a batch of objects";
    let limit = usize::try_from(MAX_OBJECTS).unwrap_or(usize::MAX);
    let mut reader = orpc::reply(REPLY, stub)?;
    // The capacity is what was asked for; servers may forget it when they fail.
    let capacity = reader.length("apObjects capacity", limit)?;
    let offset = reader.u32("apObjects offset")?;
    if offset != 0 {
        let error = reader
            .cursor()
            .invalid("apObjects offset", 4, offset.into());
        return Err(error.into());
    }
    let count = reader.length("apObjects", capacity)?;
    let mut present = 0;
    for _ in 0..count {
        present += usize::from(reader.pointer("object")?);
    }
    let mut marshaled = Vec::with_capacity(present);
    for _ in 0..present {
        marshaled.push(orpc::interface(&mut reader, "object")?);
    }
    reader.length("puReturned", limit)?;
    let progress = progress(reader.u32("status")?)?;
    let objects = marshaled
        .into_iter()
        .map(|bytes| Object::decode(objref::custom(bytes)?))
        .collect::<Result<Vec<Object>, DecodeError>>()?;
    Ok(Batch { objects, progress })
}

fn progress(status: u32) -> Result<Progress, ReplyError> {
    match status {
        status::WBEM_NO_ERROR => Ok(Progress::More),
        status::WBEM_FALSE | status::WBEM_NO_MORE_DATA => Ok(Progress::End),
        status::WBEM_TIMED_OUT => Ok(Progress::TimedOut),
        other => Err(ReplyError::Refused(other)),
    }
}
