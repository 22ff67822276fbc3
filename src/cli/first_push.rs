//! The last step of an onboarding: the running service tells the Server everything for the first time.
//!
//! That is the service's work and goes on without us; here it is watched over the control socket, for as long as it gets
//! on.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::{ask, config_file};
use crate::control::client::Client;
use crate::control::protocol::{
    Answer, Kinds, ProbedStep, PushState, PushStatus, Request, timestamp,
};
use crate::runtime::clock;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What does not get on for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// A refusal may be of before, until the service has tried again.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// Has a running service look at its credentials, and waits until it has told the Server everything; `told` hears how far
/// it is. `None`: no service runs here, or it calls the Server otherwise.
pub(super) fn watch(
    config: Option<&Path>,
    target: &str,
    mut told: impl FnMut(&PushStatus),
) -> Option<ProbedStep> {
    let socket = config_file::socket(config).ok()?;
    let watched = ask::block_on(async {
        let mut client = Client::connect(&socket).await.ok()?;
        let asked_at = timestamp(clock::utc_now());
        client.ask(&Request::Onboarded).await.ok()?;
        follow(&mut client, (target, asked_at), &mut told).await
    });
    watched.ok()?
}

async fn follow(
    client: &mut Client,
    (target, asked_at): (&str, Timestamp),
    told: &mut impl FnMut(&PushStatus),
) -> Option<ProbedStep> {
    let begun = clock::monotonic_now();
    let (mut before, mut got_on) = (None, begun);
    loop {
        let Answer::Status(status) = client.ask(&Request::Status).await.ok()? else {
            return None;
        };
        let push = status.pushes.into_iter().find(|push| push.name == target)?;
        let now = clock::monotonic_now();
        let here = (push.state, push.behind, changes(&push.pushed));
        if before.replace(here) != Some(here) {
            got_on = now;
        }
        if let Some(step) = judged(&push, asked_at, now.saturating_duration_since(got_on)) {
            let took = now.saturating_duration_since(begun);
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            return Some(ProbedStep { ms, ..step });
        }
        told(&push);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What came of it, if it has been as it is for so long; `None` while it is worth waiting. What the Server took before it
/// was asked for proves nothing.
fn judged(push: &PushStatus, asked_at: Timestamp, unchanged: Duration) -> Option<ProbedStep> {
    let is_stuck = unchanged >= PATIENCE;
    let step = |ok, detail: String, remedy: &str| ProbedStep {
        name: "push".into(),
        ok,
        ms: 0,
        detail,
        remedy: remedy.into(),
    };
    match (push.state, &push.fault) {
        (PushState::Following, _) if push.last_push >= Some(asked_at) => {
            let changes = changes(&push.pushed);
            Some(step(
                true,
                format!("the Server is told everything: {changes} changes"),
                "",
            ))
        }
        (PushState::Refused, Some(fault)) if unchanged >= REFUSED_FOR => {
            Some(step(false, fault.message.clone(), &fault.remedy))
        }
        (_, Some(fault)) if is_stuck => Some(step(false, fault.message.clone(), &fault.remedy)),
        _ if is_stuck => Some(step(
            true,
            format!("still under way: {}", progress(push)),
            "`jims status` shows how far it is",
        )),
        _ => None,
    }
}

/// How far it is.
fn progress(push: &PushStatus) -> String {
    match push.of {
        Some(all) => format!("{} of {all} told", all.saturating_sub(push.behind)),
        None => push.state.as_str().to_owned(),
    }
}

fn changes(of: &Kinds) -> u64 {
    of.domains + of.users + of.devices + of.groups + of.sessions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::FaultStatus;

    fn push(state: PushState, fault: Option<&str>) -> PushStatus {
        PushStatus {
            state,
            behind: 30,
            of: Some(100),
            last_push: Some(timestamp(clock::utc_now())),
            pushed: Kinds {
                users: 20,
                sessions: 50,
                ..Kinds::default()
            },
            fault: fault.map(|message| FaultStatus {
                message: message.into(),
                remedy: "look there".into(),
                since: timestamp(clock::utc_now()),
            }),
            ..PushStatus::default()
        }
    }

    #[test]
    fn it_is_waited_for_until_it_is_told_or_does_not_get_on() {
        let asked_at = timestamp(clock::utc_now());
        let old = PushStatus {
            last_push: None,
            ..push(PushState::Following, None)
        };
        assert_eq!(judged(&old, asked_at, Duration::ZERO), None);
        let judge = |state, fault, unchanged| {
            let step = judged(&push(state, fault), asked_at, unchanged);
            step.map(|step| (step.ok, step.detail, step.remedy))
        };
        let told = Some((
            true,
            "the Server is told everything: 70 changes".to_owned(),
            String::new(),
        ));
        assert_eq!(judge(PushState::Following, None, Duration::ZERO), told);
        assert_eq!(judge(PushState::Connecting, None, Duration::ZERO), None);
        assert_eq!(judge(PushState::Failing, Some("lost"), REFUSED_FOR), None);
        let failed = |message: &str| Some((false, message.to_owned(), "look there".to_owned()));
        assert_eq!(
            judge(PushState::Failing, Some("lost"), PATIENCE),
            failed("lost")
        );
        assert_eq!(
            judge(PushState::Refused, Some("disabled"), REFUSED_FOR),
            failed("disabled")
        );
        assert_eq!(
            judge(PushState::Refused, Some("of before"), Duration::ZERO),
            None
        );
        let (ok, detail, _) = judge(PushState::Resynchronising, None, PATIENCE).expect("a step");
        assert_eq!(
            (ok, detail.as_str()),
            (true, "still under way: 70 of 100 told")
        );
    }
}
