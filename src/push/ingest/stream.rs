//! Where one Collector's stream stands: epoch, position, and the marks of a pass from the beginning.
//!
//! Pure. The position is what the table's bookmark says; beside it stands what decides which of the Collector's words the
//! table takes ([`Grounds`]). When words that were not taken would be taken now, the Collector has to start over. During a
//! pass the table holds no position: a Server that restarts asks for another pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use super::interpret::{DirectoryKey, DirectoryPart};
use crate::identity::collector::AddressReport;
use crate::identity::directory::ObjectId;
use crate::identity::name::Name;
use crate::push::shape::{MAX_EPOCH, Position, Push};

/// What decides which of a Collector's words are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grounds {
    /// Over filter, scope and names of domains.
    pub(super) policy: u64,
    /// Domains whose directory data come from somebody else (rule 27), as hashes.
    pub(super) denied: BTreeSet<u64>,
}

impl Grounds {
    /// Whether something that was not taken on these grounds is taken on the new ones.
    fn would_take_more(&self, new: &Self) -> bool {
        self.policy != new.policy || !self.denied.is_subset(&new.denied)
    }
}

/// The stream of one Collector.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// What the table holds, and on which grounds.
    stands: Option<(Position, Grounds)>,
    pass: Option<Pass>,
}

/// A pass from the beginning, and what was named in it.
#[derive(Debug)]
pub(super) struct Pass {
    stands: Position,
    grounds: Grounds,
    /// Addresses that were told.
    pub(super) addresses: HashSet<IpAddr>,
    /// Directories whose full read has begun, each with its objects that were told and then went.
    pub(super) directories: BTreeMap<DirectoryKey, Reading>,
    /// Directories that were told, also those that are not taken.
    pub(super) named: BTreeSet<DirectoryKey>,
}

/// A full read of a directory.
#[derive(Debug)]
pub(super) struct Reading {
    /// The domain as it is written.
    pub(super) domain: Name,
    /// Objects that were told and then went.
    pub(super) gone: BTreeSet<ObjectId>,
}

/// How a push fits to where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It begins a pass.
    Begins,
    /// It goes on where the stream stands.
    GoesOn,
    /// It does not fit: 409.
    Not,
}

impl Stream {
    /// As the table's bookmark says.
    pub(super) fn from_bookmark(value: Option<&[u8]>) -> Self {
        let text = value.and_then(|value| std::str::from_utf8(value).ok());
        Self {
            stands: text.and_then(read),
            pass: None,
        }
    }

    /// The table's bookmark; empty where a pass is wanted.
    pub(super) fn bookmark(&self) -> Vec<u8> {
        let written = self.stands.as_ref().map(write);
        written.unwrap_or_default().into_bytes()
    }

    /// Where it stands, for the Collector.
    pub(super) fn accepted(&self) -> Option<Position> {
        let pass = self.pass.as_ref().map(|pass| &pass.stands);
        let stands = self.stands.as_ref().map(|(position, _)| position);
        pass.or(stands).cloned()
    }

    /// Whether the stream has to start over on these grounds.
    pub(super) fn is_out_of_date(&self, now: &Grounds) -> bool {
        let pass = self.pass.as_ref().map(|pass| &pass.grounds);
        let grounds = pass.or(self.stands.as_ref().map(|(_, grounds)| grounds));
        grounds.is_some_and(|grounds| grounds.would_take_more(now))
    }

    /// Forgets where it stands: a pass is wanted.
    pub(super) fn start_over(&mut self) {
        *self = Self::default();
    }

    /// How the push fits.
    pub(super) fn fit(&self, push: &Push) -> Fit {
        if push.begins {
            return Fit::Begins;
        }
        let fits = self
            .accepted()
            .is_some_and(|stands| stands.epoch == push.epoch && stands.position == push.after);
        if fits { Fit::GoesOn } else { Fit::Not }
    }

    /// Begins a pass.
    pub(super) fn begin(&mut self, epoch: &str, grounds: Grounds) {
        self.stands = None;
        self.pass = Some(Pass {
            stands: Position {
                epoch: epoch.to_owned(),
                position: 0,
            },
            grounds,
            addresses: HashSet::new(),
            directories: BTreeMap::new(),
            named: BTreeSet::new(),
        });
    }

    /// The pass that is under way.
    pub(super) fn pass(&mut self) -> Option<&mut Pass> {
        self.pass.as_mut()
    }

    /// Moves on, once all of the push is in the table.
    pub(super) fn moved(&mut self, position: u64, grounds: Grounds) {
        if let Some(pass) = &mut self.pass {
            pass.stands.position = position;
            pass.grounds = grounds;
        } else if let Some((stands, of)) = &mut self.stands {
            stands.position = position;
            *of = grounds;
        }
    }

    /// Stands where a pass ended, once the table was swept.
    pub(super) fn completed(&mut self, pass: &Pass, position: u64, grounds: Grounds) {
        let stands = Position {
            epoch: pass.stands.epoch.clone(),
            position,
        };
        self.stands = Some((stands, grounds));
    }

    /// What the bookmark will be after the push, before it is moved.
    pub(super) fn bookmark_at(&self, position: u64, grounds: &Grounds) -> Option<Vec<u8>> {
        let (mut stands, _) = self.stands.clone()?;
        stands.position = position;
        Some(write(&(stands, grounds.clone())).into_bytes())
    }

    /// Goes on with a pass that could not be completed.
    pub(super) fn resume(&mut self, pass: Pass) {
        self.stands = None;
        self.pass = Some(pass);
    }

    /// Takes the pass that is under way out, to be completed.
    pub(super) fn take_pass(&mut self) -> Option<Pass> {
        self.pass.take()
    }

    /// Whether a pass is under way.
    pub(super) fn is_passing(&self) -> bool {
        self.pass.is_some()
    }
}

impl Pass {
    /// Marks what is told, and takes out of a part what can only be said when the full read has ended. `true`: the
    /// directory's full read begins with it.
    pub(super) fn mark_directory(&mut self, key: &DirectoryKey, part: &mut DirectoryPart) -> bool {
        let begins = !self.directories.contains_key(key);
        let reading = self.directories.entry(key.clone());
        let reading = reading.or_insert_with(|| Reading {
            domain: part.domain.clone(),
            gone: BTreeSet::new(),
        });
        reading.gone.extend(part.removed.drain(..));
        for object in &part.upserts {
            reading.gone.remove(&object.id);
        }
        begins
    }

    /// Marks addresses.
    pub(super) fn mark(&mut self, reports: &[AddressReport]) {
        self.addresses
            .extend(reports.iter().map(|told| told.address));
    }
}

/// What is wrong with the numbers of a push, as far as it tells itself.
///
/// # Errors
/// What is wrong, with its place.
pub(super) fn check(push: &Push) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=MAX_EPOCH).contains(&push.epoch.len()) || !push.epoch.chars().all(is_fine) {
        return Err(format!(
            "epoch: 1 to {MAX_EPOCH} of the characters A-Z a-z 0-9 . _ -"
        ));
    }
    if push.position < push.after {
        return Err("position: lies before `after`".into());
    }
    if push.begins && push.after != 0 {
        return Err("after: a pass begins at 0".into());
    }
    Ok(())
}

fn write((position, grounds): &(Position, Grounds)) -> String {
    let mut text = format!(
        "{} {} {:016x}",
        position.epoch, position.position, grounds.policy
    );
    for denied in &grounds.denied {
        text.push_str(&format!(" {denied:016x}"));
    }
    text
}

fn read(text: &str) -> Option<(Position, Grounds)> {
    let hash = |word: &str| u64::from_str_radix(word, 16).ok();
    let mut words = text.split(' ');
    let position = Position {
        epoch: words.next().filter(|epoch| !epoch.is_empty())?.to_owned(),
        position: words.next()?.parse().ok()?,
    };
    let policy = words.next().and_then(hash)?;
    let denied = words.map(hash).collect::<Option<_>>()?;
    Some((position, Grounds { policy, denied }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn push(more: &Value) -> Push {
        let mut push = json!({
            "protocol": 1, "collector": { "name": "a", "version": "1" }, "epoch": "e1",
            "after": 0, "position": 0, "more": false, "behind": 0, "sent_at": 0, "started": 0,
            "attention": 0,
            "totals": { "domains": 0, "users": 0, "devices": 0, "groups": 0, "sessions": 0 }
        });
        for (key, value) in more.as_object().expect("an object") {
            push[key] = value.clone();
        }
        serde_json::from_value(push).expect("a push")
    }

    fn grounds(policy: u64, denied: &[u64]) -> Grounds {
        let denied = denied.iter().copied().collect();
        Grounds { policy, denied }
    }

    fn complete(position: u64, on: &Grounds) -> Stream {
        let mut stream = Stream::default();
        stream.begin("e1", on.clone());
        let pass = stream.take_pass().expect("a pass");
        stream.completed(&pass, position, on.clone());
        stream
    }

    #[test]
    fn what_does_not_follow_is_answered_with_where_the_stream_stands() {
        let stream = complete(7, &grounds(1, &[]));
        assert_eq!(
            stream.fit(&push(&json!({ "after": 7, "position": 9 }))),
            Fit::GoesOn
        );
        for other in [
            json!({ "after": 6, "position": 9 }),
            json!({ "after": 8, "position": 9 }),
            json!({ "after": 7, "position": 9, "epoch": "e2" }),
        ] {
            assert_eq!(stream.fit(&push(&other)), Fit::Not);
        }
        let stands = stream.accepted().expect("a position");
        assert_eq!((stands.epoch.as_str(), stands.position), ("e1", 7));
        assert_eq!(Stream::default().fit(&push(&json!({}))), Fit::Not);
        assert_eq!(
            Stream::default().fit(&push(&json!({ "begins": true }))),
            Fit::Begins
        );
    }

    #[test]
    fn a_pass_keeps_its_place_in_memory_only() {
        let mut stream = complete(7, &grounds(1, &[]));
        stream.begin("e2", grounds(1, &[]));
        stream.moved(40, grounds(1, &[]));
        assert!(stream.is_passing());
        assert_eq!(stream.accepted().map(|stands| stands.position), Some(40));
        assert!(stream.bookmark().is_empty());
        let pass = stream.take_pass().expect("a pass");
        stream.completed(&pass, 40, grounds(1, &[]));
        let again = Stream::from_bookmark(Some(&stream.bookmark()));
        let stands = again.accepted().expect("a position");
        assert_eq!((stands.epoch.as_str(), stands.position), ("e2", 40));
    }

    #[test]
    fn a_bookmark_is_read_as_it_is_written_and_anything_else_is_none() {
        let on = grounds(0xabc, &[3, u64::MAX]);
        let stream = complete(7, &on);
        let again = Stream::from_bookmark(Some(&stream.bookmark()));
        assert_eq!(again.stands, stream.stands);
        let moved = stream.bookmark_at(9, &on).expect("it stands");
        let moved = Stream::from_bookmark(Some(&moved));
        assert_eq!(moved.accepted().map(|stands| stands.position), Some(9));
        for other in [
            &b""[..],
            b"e1",
            b"e1 7",
            b"e1 x 0",
            b" 7 0",
            b"e1 7 0 zz",
            &[0xff],
        ] {
            assert_eq!(Stream::from_bookmark(Some(other)).accepted(), None);
        }
        assert_eq!(Stream::from_bookmark(None).accepted(), None);
    }

    #[test]
    fn rule_27_who_is_heard_of_more_than_before_has_to_start_over() {
        let stream = complete(7, &grounds(1, &[10, 11]));
        assert!(!stream.is_out_of_date(&grounds(1, &[10, 11])));
        assert!(
            !stream.is_out_of_date(&grounds(1, &[10, 11, 12])),
            "of less"
        );
        assert!(
            stream.is_out_of_date(&grounds(1, &[10])),
            "it took a domain over"
        );
        assert!(
            stream.is_out_of_date(&grounds(2, &[10, 11])),
            "another filter"
        );
        assert!(!Stream::default().is_out_of_date(&grounds(1, &[])));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        assert!(check(&push(&json!({}))).is_ok());
        for (wrong, place) in [
            (json!({ "epoch": "" }), "epoch: "),
            (json!({ "epoch": "a b" }), "epoch: "),
            (json!({ "epoch": "a".repeat(65) }), "epoch: "),
            (json!({ "after": 2, "position": 1 }), "position: "),
            (
                json!({ "begins": true, "after": 2, "position": 3 }),
                "after: ",
            ),
        ] {
            let said = check(&push(&wrong)).expect_err("it is refused");
            assert!(said.starts_with(place), "{said}");
        }
    }

    #[test]
    fn an_object_that_was_told_and_went_within_a_pass_goes_after_it() {
        let mut stream = Stream::default();
        stream.begin("e1", Grounds::default());
        let key = DirectoryKey {
            directory: "corp".into(),
            domain: crate::identity::name::NameKey::fold("corp.example.com"),
        };
        let mut part = DirectoryPart {
            domain: crate::identity::name::Name::new("corp.example.com").expect("name"),
            facts: None,
            upserts: Vec::new(),
            removed: vec![ObjectId([1; 16])],
        };
        let pass = stream.pass().expect("a pass");
        assert!(pass.mark_directory(&key, &mut part), "it begins");
        assert!(!pass.mark_directory(&key, &mut part));
        assert!(part.removed.is_empty());
        let gone = &pass.directories[&key].gone;
        assert_eq!(gone.iter().collect::<Vec<_>>(), [&ObjectId([1; 16])]);
    }
}
