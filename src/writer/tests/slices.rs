//! A directory's batch that changes the groups of many, in holds that each do some of it.

use std::net::{IpAddr, Ipv4Addr};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::task::SLICE_GROUPS;
use super::super::*;
use crate::identity::core::LogOffTarget;
use crate::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use crate::identity::event::{Bookmark, Claim, Logon, Strength, user_ref};
use crate::identity::name::Name;
use crate::identity::policy::DomainPolicy;
use crate::identity::time::UtcMillis;
use crate::identity::view::Epoch;
use crate::runtime::clock;
use crate::runtime::report::Reports;
use crate::runtime::supervisor::Tasks;

const USERS: usize = 5 * SLICE_GROUPS;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn id(number: usize) -> ObjectId {
    ObjectId((number as u128).to_be_bytes())
}

fn address(number: usize) -> IpAddr {
    let number = u32::try_from(number).expect("few users");
    IpAddr::from(Ipv4Addr::from(0x0a00_0001 + number))
}

fn group(number: usize, members: Vec<ObjectId>) -> DirectoryObject {
    DirectoryObject {
        id: id(USERS + number),
        sid: None,
        name: name(&format!("group{number}")),
        kind: ObjectKind::Group { members },
    }
}

fn user(number: usize) -> DirectoryObject {
    DirectoryObject {
        id: id(number),
        sid: None,
        name: name(&format!("user{number}")),
        kind: ObjectKind::User {
            upn: None,
            enabled: true,
            primary_group: None,
        },
    }
}

fn poll(upserts: Vec<DirectoryObject>) -> Batch {
    Batch::Directory(DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: None,
        step: DirectoryStep::Poll,
        upserts,
        removed: Vec::new(),
        bookmark: Some(Bookmark {
            key: "directory/corp".into(),
            value: b"there".as_slice().into(),
        }),
    })
}

fn logon(number: usize, now: UtcMillis) -> IdentityEvent {
    IdentityEvent {
        producer: "vpn".into(),
        record: "1".into(),
        occurred_at: now,
        received_at: now,
        heard: None,
        address: Some(address(number)),
        claim: Claim::Logon(Logon {
            user: user_ref(&format!("user{number}@corp.example.com"), None, None).expect("a user"),
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        }),
    }
}

/// Everybody at an address, and in a group.
fn company(now: UtcMillis) -> Core {
    let domain = DomainPolicy {
        name: name("corp.example.com"),
        netbios: None,
        aliases: Vec::new(),
    };
    let policy = Policy {
        logoff_time: Duration::from_hours(8),
        domains: vec![domain],
        directories: vec![(name("corp"), name("corp.example.com"))],
        ..Policy::default()
    };
    let mut core = Core::new(Epoch(1), policy);
    let everybody = group(0, (0..USERS).map(id).collect());
    let objects = (0..USERS).map(user).chain([everybody]).collect();
    let Batch::Directory(mut batch) = poll(objects) else {
        panic!("a directory's batch");
    };
    batch.bookmark = None;
    let events = Batch::Events {
        events: (0..USERS).map(|number| logon(number, now)).collect(),
        bookmark: None,
    };
    for batch in [Batch::Directory(batch), events] {
        core.apply(batch, now, &mut Vec::new());
    }
    assert_eq!(core.totals().sessions, USERS);
    core
}

/// All of them get a role.
fn change() -> Batch {
    poll(vec![group(1, vec![id(USERS)])])
}

fn log_off() -> Batch {
    Batch::LogOff(LogOffTarget::Address(address(0)))
}

/// What whoever keeps the table was handed.
#[derive(Default)]
struct Seen {
    /// Steps after which there was no table of one instant.
    between: Vec<u64>,
    /// Steps after which there was one.
    whole: Vec<u64>,
}

/// Follows until the writer ends; in the middle of the batch its bookmark has not moved.
async fn follow(mut follower: Follower, reader: Reader) -> Seen {
    let mut seen = Seen::default();
    while let Some(taken) = follower.next().await {
        let is_whole = taken.changes.instant.is_some();
        let steps = if is_whole {
            &mut seen.whole
        } else {
            &mut seen.between
        };
        steps.push(taken.step);
        let core = reader.read();
        let has_moved = core.bookmark("directory/corp").is_some();
        assert!(core.is_whole() || !has_moved);
    }
    seen
}

/// Who was reported since a sequence, in order.
fn reported(core: &Core, since: crate::identity::view::Seq) -> Vec<IpAddr> {
    core.addresses_since(since)
        .map(|(_, address)| address)
        .collect()
}

#[tokio::test]
async fn a_batch_that_changes_many_is_cut_and_others_wait_for_its_end() {
    let now = clock::utc_now();
    let mut at_once = company(now);
    let before = at_once.last_seq();
    for batch in [change(), log_off()] {
        at_once.apply(batch, now, &mut Vec::new());
    }
    let mut core = company(now);
    while core.take_changes(usize::MAX).instant.is_none() {}
    let (writer, parts) = Writer::new(core, Reports::default());
    let follower = parts.following.take().expect("nobody has it");
    let (tasks, stop) = (Tasks::new(), CancellationToken::new());
    let ends = stop.clone();
    let (done, counts) = oneshot::channel();
    parts.intake.try_send(change()).expect("room");
    let last = parts.intake.delivery(log_off(), Some(Done::Counts(done)));
    parts.intake.queue.try_send(last).expect("room");
    tasks.spawn("writer", async move {
        writer.run(ends).await.expect("no panic");
    });
    let ends = async {
        let (applied, step) = counts.await.expect("applied");
        stop.cancel();
        (applied.applied, step)
    };
    let (seen, (ended, step)) = tokio::join!(follow(follower, parts.reader.clone()), ends);
    tasks.ended().await;
    assert_eq!(ended, 1);
    let holds = (USERS / SLICE_GROUPS) as u64;
    assert!(step >= holds, "{step} holds");
    assert!(!seen.between.is_empty());
    // The log-off came when all was done, not in the middle.
    assert!(seen.between.iter().all(|between| *between < step));
    assert!(
        seen.whole.iter().all(|whole| *whole >= holds),
        "{:?}",
        seen.whole
    );
    let core = parts.reader.read();
    assert_eq!(reported(&core, before), reported(&at_once, before));
    assert_eq!(core.last_seq(), at_once.last_seq());
    core.check_invariants();
}

#[tokio::test]
async fn the_order_is_kept_with_the_last_of_a_batch_that_was_cut() {
    let now = clock::utc_now();
    let mut at_once = company(now);
    for batch in [change(), log_off()] {
        at_once.apply(batch, now, &mut Vec::new());
    }
    at_once.keep("place".into(), b"7".as_slice().into());
    let mut core = company(now);
    while core.take_changes(usize::MAX).instant.is_none() {}
    let (writer, parts, _asked) = OrderedWriter::new(core, Reports::default());
    let follower = parts.following.take().expect("nobody has it");
    let (orders, coming) = mpsc::channel(1);
    let steps = [change(), log_off()].map(|batch| Step::Batch(Box::new(batch), None));
    let order = Ordered::Steps {
        now,
        steps: steps.into(),
        keep: vec![("place".into(), b"7".as_slice().into())],
    };
    orders.try_send(order).expect("room");
    drop(orders);
    let (ran, seen) = tokio::join!(writer.run(coming), follow(follower, parts.reader.clone()));
    ran.expect("no panic");
    assert!(!seen.between.is_empty());
    let holds = (USERS / SLICE_GROUPS) as u64;
    assert!(
        seen.whole.iter().all(|whole| *whole >= holds),
        "{:?}",
        seen.whole
    );
    assert_eq!(parts.reader.read().export(), at_once.export());
}
