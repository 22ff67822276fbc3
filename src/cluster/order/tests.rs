//! What counts of a stream: leases, lives, losses, repetitions, pieces, and resuming anywhere.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::cluster::shape::{FenceShape, Part};
use crate::identity::core::LogOffTarget;
use crate::identity::name::Name;
use crate::identity::policy::Policy;
use crate::identity::view::Epoch;

/// When all of it was said.
const AT: u64 = 1_800_000_000_000_000_000;

fn part(what: &str, fence: Option<(&str, u64)>) -> Part {
    let name = Name::new(what).expect("a name");
    let batch = crate::identity::Batch::LogOff(LogOffTarget::User { name, domain: None });
    Part {
        fence: fence.map(|(lease, token)| FenceShape {
            lease: lease.to_owned(),
            token,
        }),
        body: Body::of(&batch).expect("it has a place"),
    }
}

/// Messages of a life that say these parts, cut into pieces of so many bytes.
fn messages(member: &str, life: u64, contents: &[Part], piece: usize) -> Vec<Bytes> {
    let mut number = 0;
    let mut all = Vec::new();
    for content in contents {
        let bytes = Bytes::from(shape::encode(std::slice::from_ref(content)));
        let pieces: Vec<Bytes> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        let of = u32::try_from(pieces.len()).expect("few");
        for (piece, bytes) in (0..).zip(pieces) {
            number += 1;
            let frame = Frame {
                member: member.to_owned(),
                life,
                number,
                piece,
                of,
                bytes,
            };
            all.push(frame.encode().into());
        }
    }
    all
}

fn core() -> Core {
    Core::new(Epoch(1), Policy::default())
}

/// Takes a message, keeps what is to be kept, and tells what counted.
fn take(order: &mut Order, core: &mut Core, seq: u64, message: &Bytes) -> Vec<String> {
    let taken = order.take(seq, AT, message).expect("not newer");
    for (key, value) in taken.keep {
        core.keep(key, value);
    }
    taken.bodies.iter().map(said).collect()
}

fn said(said: &Said) -> String {
    match said {
        Said::Void => "void".to_owned(),
        Said::Renew(epoch) => format!("{epoch:?}"),
        Said::Body(body) => match &**body {
            Body::LogOffUser { name, .. } => name.to_string(),
            other => format!("{other:?}"),
        },
    }
}

#[test]
fn a_holder_that_lost_its_lease_does_not_count() {
    let (mut order, mut core) = (Order::default(), core());
    let old = messages(
        "a",
        1,
        &[part("1", Some(("dc1", 5))), part("3", Some(("dc1", 5)))],
        1 << 20,
    );
    let new = messages("b", 1, &[part("2", Some(("dc1", 8)))], 1 << 20);
    let mut take = |seq, message| take(&mut order, &mut core, seq, message);
    assert_eq!(take(1, &old[0]), ["1"]);
    assert_eq!(take(2, &new[0]), ["2"]);
    assert_eq!(take(3, &old[1]), ["void"]);
    let order = Order::of(&core);
    assert_eq!((order.applied(), order.from()), (3, 3));
    assert_eq!(order.fences, [("dc1".to_owned(), 8)].into());
    assert_eq!(order.life("a"), Life { life: 1, number: 2 });
}

#[test]
fn an_earlier_life_counts_no_more() {
    let (mut order, mut core) = (Order::default(), core());
    let parts = [part("1", None), part("2", None)];
    let (first, second) = (
        messages("a", 1, &parts, 1 << 20),
        messages("a", 2, &parts, 1 << 20),
    );
    let mut take = |seq, message| take(&mut order, &mut core, seq, message);
    assert_eq!(take(1, &first[0]), ["1"]);
    assert_eq!(take(2, &second[1]), [""; 0], "a life begins with 1");
    assert_eq!(take(3, &second[0]), ["1"]);
    assert_eq!(take(4, &first[1]), [""; 0]);
    assert_eq!(take(5, &second[1]), ["2"]);
}

#[test]
fn a_life_is_doubted_once_and_that_begins_another_epoch() {
    let (mut order, mut core) = (Order::default(), core());
    let (key, beginning) = Order::beginning(7);
    core.keep(key, beginning);
    order.clone_from(&Order::of(&core));
    let doubt = |life| Part {
        fence: None,
        body: Body::Doubt {
            member: "b".into(),
            life,
        },
    };
    let said = messages("a", 1, &[doubt(3), doubt(3), doubt(2), doubt(4)], 1 << 20);
    let mut epochs = Vec::new();
    for (seq, message) in (1..).zip(&said) {
        let taken = order.take(seq, AT, message).expect("not newer");
        for (key, value) in taken.keep {
            core.keep(key, value);
        }
        epochs.extend(taken.bodies);
    }
    let [
        Said::Renew(first),
        Said::Void,
        Said::Void,
        Said::Renew(second),
    ] = &epochs[..]
    else {
        panic!("{epochs:?}");
    };
    assert_ne!(first, second);
    let order = Order::of(&core);
    assert_eq!((order.doubted("b"), order.doubted("a")), (4, 0));
    assert_eq!((order.stream(), order.applied()), (7, 4));
}

#[test]
fn what_is_no_message_moves_only_the_position() {
    let (mut order, mut core) = (Order::default(), core());
    let none = Bytes::from_static(b"hello");
    assert_eq!(take(&mut order, &mut core, 1, &none), [""; 0]);
    assert_eq!(Order::of(&core).applied(), 1);
    let newer = Bytes::from_static(b"JIMS\xff");
    assert!(order.take(2, AT, &newer).is_err());
    assert_eq!(order.applied(), 1);
    assert!(order.is_as_applied(1, AT));
    assert!(!order.is_as_applied(1, AT + 1));
    assert!(order.is_as_applied(2, AT + 1), "nothing is known of it");
    assert_eq!(order.from(), 1, "the last is compared");
}

/// Two members that publish through a stream that loses and repeats messages, as a publisher does: all again from the first
/// that did not count. When all losses have happened, nothing is lost any more: a loss that comes again with the period of
/// what is sent would keep the same message away for ever.
fn publish(losses: &[(bool, bool)], piece: usize) -> Vec<Bytes> {
    let say = |member: &str| -> Vec<Part> {
        let numbers = 0..6;
        numbers
            .map(|n| part(&format!("{member}{n}-{}", "x".repeat(40)), None))
            .collect()
    };
    let mut left: Vec<VecDeque<Bytes>> = ["a", "b"]
        .map(|member| messages(member, 1, &say(member), piece).into())
        .into();
    let (mut stream, mut order, mut heard) = (Vec::new(), Order::default(), [0u64; 2]);
    let mut losses = losses.iter().copied();
    while left.iter().any(|left| !left.is_empty()) {
        for member in 0..2 {
            // A window of three messages, some of them lost, some of them twice.
            for message in left[member].clone().into_iter().take(3) {
                let (is_lost, is_twice) = losses.next().unwrap_or_default();
                let times = usize::from(!is_lost) + usize::from(is_twice && !is_lost);
                for _ in 0..times {
                    stream.push(message.clone());
                    let seq = stream.len() as u64;
                    let taken = order.take(seq, AT, &message).expect("not newer");
                    let author = taken.author.expect("a message of a member");
                    if author.refused.is_none() {
                        heard[member] = author.number;
                    }
                }
            }
            while let Some(first) = left[member].front()
                && Frame::decode(first).expect("a message").number <= heard[member]
            {
                left[member].pop_front();
            }
        }
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn everything_counts_once_and_in_order_whatever_is_lost_and_wherever_one_resumes(
        losses in prop::collection::vec((prop::bool::weighted(0.3), prop::bool::weighted(0.2)), 7..200),
        piece in 8usize..80,
        resumes in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let stream = publish(&losses, piece);
        let (mut order, mut core) = (Order::default(), core());
        let mut all = Vec::new();
        let mut resumes = resumes.iter().cycle();
        let mut seq = 1;
        while let Some(message) = stream.get(seq - 1) {
            all.extend(take(&mut order, &mut core, seq as u64, message));
            seq += 1;
            if *resumes.next().expect("a cycle") {
                // As a member that restarts: it begins where the pieces of what is not complete begin.
                order = Order::of(&core);
                prop_assert_eq!(order.applied(), seq as u64 - 1);
                for again in order.from()..seq as u64 {
                    let message = &stream[again as usize - 1];
                    prop_assert_eq!(order.take(again, AT, message), Ok(Taken::default()));
                }
            }
        }
        for member in ["a", "b"] {
            let of_member: Vec<&String> = all.iter().filter(|said| said.starts_with(member)).collect();
            let wanted: Vec<String> = (0..6).map(|n| format!("{member}{n}-{}", "x".repeat(40))).collect();
            prop_assert_eq!(of_member, wanted.iter().collect::<Vec<_>>());
        }
    }
}
