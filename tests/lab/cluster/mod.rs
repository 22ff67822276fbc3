//! Several members on one order: the binary in a cluster on real NATS servers.

mod chaos;
mod disturb;
mod feeder;
mod fleet;
mod hosts;
mod late;
mod member;
mod nats;
mod operator;
mod outage;
mod random;
mod sign_on;
mod small;
mod sources;
mod wrong;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use self::fleet::everything;
use self::member::{Member, SYSLOG_PORT};
use crate::support::wait_for;

/// A connection of a sender of syslog.
#[track_caller]
fn syslog_to(member: &Member) -> TcpStream {
    wait_for("syslog to be taken", || {
        TcpStream::connect((member.address, SYSLOG_PORT)).ok()
    })
}

/// Waits until a user is at an address, as a member says; for how long.
#[track_caller]
fn wait_user(member: &Member, address: &str, user: &str) -> Duration {
    let begun = Instant::now();
    wait_for(
        &format!("{user} at {address} on {}", member.address),
        || (member.user_at(address).as_deref() == Some(user)).then_some(()),
    );
    begun.elapsed()
}

/// Waits until Servers have one table and one cookie.
#[track_caller]
fn wait_alike(members: &[&Member]) {
    wait_for("the same cookie everywhere", || {
        let told: Vec<_> = (members.iter())
            .map(|member| everything(member.http()))
            .collect();
        told.windows(2)
            .all(|pair| pair[0].1 == pair[1].1)
            .then_some(())
    });
    assert_alike(members);
}

/// Servers have the same table and the same cookie; nothing may change meanwhile.
#[track_caller]
fn assert_alike(members: &[&Member]) {
    let Some((first, others)) = members.split_first() else {
        return;
    };
    let (table, cookie) = everything(first.http());
    let sessions = first.sessions();
    for other in others {
        let (its_table, its_cookie) = everything(other.http());
        let who = format!("{} and {}", first.address, other.address);
        assert_eq!(its_table, table, "{who}");
        assert_eq!(its_cookie, cookie, "{who}");
        let its_sessions = other.sessions();
        assert_eq!(its_sessions, sessions, "{who}");
    }
}
