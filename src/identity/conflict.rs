//! Who has an address when the evidence disagrees: the table of conflict, as data.
//!
//! Everything a slot knows is a list of [`FactKind`]s in order of when they happened; [`effect`] says what the next one
//! does to whoever is there. Nothing else in the core decides a conflict.
//!
//! Order of facts: `occurred_at`, then [`rank`] (a logoff loses a tie, the stronger evidence wins it), then between
//! producers the one whose name sorts first comes last, then arrival.

/// What a fact says about its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// The subject left (a report of its logoff).
    Left,
    /// Whoever is here left.
    AllLeft,
    /// The subject was seen by evidence that displaces only weak evidence.
    Weak,
    /// The subject was seen without a new logon.
    Seen,
    /// The subject was seen by evidence that displaces all.
    Strong,
    /// The subject's session ended by the clock, at its last evidence.
    Expired,
    /// Whoever is here was ended by us (operator, directory, filter) at that instant.
    Closed,
    /// The subject's machine was seen here, and the subject elsewhere with it (rule 9).
    Carried,
}

/// Who is there when a fact comes, as seen from that fact's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// The subject of the fact.
    Same,
    /// Somebody else, by weak evidence only.
    WeakOther,
    /// Somebody else, by strong evidence.
    StrongOther,
}

/// What a fact does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes.
    Keep,
    /// The subject takes the address.
    Take,
    /// The subject goes on with newer evidence.
    Renew,
    /// Nobody is there any more.
    Empty,
}

/// The table. Rows are facts, columns who is there.
const EFFECTS: [(FactKind, [Effect; 4]); 8] = {
    use Effect::{Empty, Keep, Renew, Take};
    [
        //                  nobody  same   weak   strong
        // A logoff ends the session of whom it names, whoever reported it.
        (FactKind::Left, [Keep, Empty, Keep, Keep]),
        (FactKind::AllLeft, [Keep, Empty, Empty, Empty]),
        // Weak evidence (network logons, ticket renewals, `identity`) may come from a service or a share: it says
        // who is there only where nothing better does.
        (FactKind::Weak, [Take, Renew, Take, Keep]),
        // A renewal makes no session and displaces nobody.
        (FactKind::Seen, [Keep, Renew, Keep, Keep]),
        // Somebody proved to be at this address: whoever was there before is not.
        (FactKind::Strong, [Take, Renew, Take, Take]),
        (FactKind::Expired, [Keep, Empty, Keep, Keep]),
        (FactKind::Closed, [Keep, Empty, Empty, Empty]),
        // As weak evidence, but of the machine alone: it renews nobody, or two addresses of one machine would hand its
        // user to and fro for ever.
        (FactKind::Carried, [Take, Keep, Take, Keep]),
    ]
};

/// What a fact does to who is there.
pub(super) fn effect(kind: FactKind, holder: Holder) -> Effect {
    EFFECTS[kind as usize].1[holder as usize]
}

/// Order of facts of the same instant, the lower first.
pub(super) fn rank(kind: FactKind) -> u8 {
    match kind {
        FactKind::Left | FactKind::AllLeft => 0,
        FactKind::Weak | FactKind::Seen | FactKind::Carried => 1,
        FactKind::Strong => 2,
        FactKind::Expired | FactKind::Closed => 3,
    }
}

/// Whether a fact decides who is there whatever came before it, so that nothing older can matter.
pub(super) fn settles_all(kind: FactKind) -> bool {
    match kind {
        FactKind::Strong | FactKind::AllLeft | FactKind::Closed => true,
        FactKind::Left
        | FactKind::Weak
        | FactKind::Seen
        | FactKind::Expired
        | FactKind::Carried => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_6_the_table_is_in_the_order_of_its_kinds() {
        for (index, (kind, _)) in EFFECTS.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    #[test]
    fn rule_6_strong_displaces_all_weak_only_weak() {
        assert_eq!(effect(FactKind::Strong, Holder::StrongOther), Effect::Take);
        assert_eq!(effect(FactKind::Weak, Holder::StrongOther), Effect::Keep);
        assert_eq!(effect(FactKind::Weak, Holder::WeakOther), Effect::Take);
        assert_eq!(effect(FactKind::Weak, Holder::Same), Effect::Renew);
        assert_eq!(effect(FactKind::Seen, Holder::Nobody), Effect::Keep);
        assert_eq!(effect(FactKind::Carried, Holder::Same), Effect::Keep);
    }
}
