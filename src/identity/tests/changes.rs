//! What is handed to whoever keeps the table on the disk.

use super::*;
use crate::identity::changes::Change;

#[test]
fn a_logon_of_somebody_known_changes_his_address_alone() {
    let mut w = World::new();
    w.send(strong("alice", 0, "10.1.2.50"));
    while w.core.take_changes(100).instant.is_none() {}
    w.now += 2000;
    w.send(strong("alice", 2, "10.1.2.51"));
    let changes = w.core.take_changes(100).list;
    let addresses = |change: &Change| matches!(change, Change::Address(..));
    let others: Vec<_> = changes.iter().filter(|is| !addresses(is)).collect();
    assert!(
        others.iter().all(|is| matches!(is, Change::Mark(..))),
        "{others:?}"
    );
    assert_eq!(changes.len() - others.len(), 1);
}
