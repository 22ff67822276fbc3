//! The texts that a server parses: bookmarks (MS-EVEN6 2.2.14) and XPath queries (2.2.15).

use std::time::Duration;

/// The bit of `Keywords` that marks a success in the Security log.
const AUDIT_SUCCESS: u64 = 0x0020_0000_0000_0000;

/// A bookmark at a record of a channel.
#[must_use]
pub fn bookmark(channel: &str, record_id: u64) -> String {
    format!(
        "<BookmarkList><Bookmark Channel='{}' RecordId='{record_id}' IsCurrent='true'/></BookmarkList>",
        attribute(channel)
    )
}

/// Records that are wanted: an event id, and logon types where only some matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Event id.
    pub id: u16,
    /// Values of `LogonType`; empty: any.
    pub logon_types: Vec<u64>,
}

/// From where on records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From wherever reading begins.
    Anywhere,
    /// Only what was written within this time.
    Within(Duration),
    /// Only what follows this record.
    Record(u64),
}

/// An XPath query for successes among the wanted records.
///
/// A server takes some twenty comparisons in one expression (Windows: 23), so ids that share their logon types share a
/// condition.
#[must_use]
pub fn query(wanted: &[Wanted], since: Since) -> String {
    let any: Vec<String> = wanted
        .iter()
        .filter(|wanted| wanted.logon_types.is_empty())
        .map(|wanted| format!("EventID={}", wanted.id))
        .collect();
    let time = match since {
        Since::Anywhere => String::new(),
        Since::Within(length) => {
            format!(
                " and TimeCreated[timediff(@SystemTime)<={}]",
                length.as_millis()
            )
        }
        Since::Record(record_id) => format!(" and EventRecordID>{record_id}"),
    };
    let success = format!("band(Keywords,{AUDIT_SUCCESS})");
    let system = |ids: &str| format!("System[{success} and ({ids}){time}]");
    let mut parts = Vec::new();
    if !any.is_empty() {
        parts.push(system(&any.join(" or ")));
    }
    for wanted in wanted
        .iter()
        .filter(|wanted| !wanted.logon_types.is_empty())
    {
        let types: Vec<String> = (wanted.logon_types.iter())
            .map(|logon_type| format!("Data[@Name='LogonType']={logon_type}"))
            .collect();
        let ids = format!("EventID={}", wanted.id);
        parts.push(format!(
            "{} and EventData[{}]",
            system(&ids),
            types.join(" or ")
        ));
    }
    let parts: Vec<String> = match parts.as_slice() {
        [one] => vec![one.clone()],
        many => many.iter().map(|part| format!("({part})")).collect(),
    };
    format!("*[{}]", parts.join(" or "))
}

/// Text inside an attribute in single quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('\'', "&apos;")
        .replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_names_channel_and_record() {
        assert_eq!(
            bookmark("Security", 42),
            "<BookmarkList><Bookmark Channel='Security' RecordId='42' IsCurrent='true'/></BookmarkList>"
        );
        assert!(bookmark("It's", 1).contains("Channel='It&apos;s'"));
    }

    #[test]
    fn a_query_asks_for_successes_of_exactly_the_wanted_records() {
        let wanted = [
            Wanted {
                id: 4768,
                logon_types: Vec::new(),
            },
            Wanted {
                id: 4769,
                logon_types: Vec::new(),
            },
            Wanted {
                id: 4624,
                logon_types: vec![2, 10],
            },
        ];
        assert_eq!(
            query(&wanted, Since::Within(Duration::from_secs(60))),
            "*[(System[band(Keywords,9007199254740992) and (EventID=4768 or EventID=4769) and \
             TimeCreated[timediff(@SystemTime)<=60000]]) or \
             (System[band(Keywords,9007199254740992) and (EventID=4624) and \
             TimeCreated[timediff(@SystemTime)<=60000]] and \
             EventData[Data[@Name='LogonType']=2 or Data[@Name='LogonType']=10])]"
        );
        assert_eq!(
            query(&wanted[..1], Since::Record(7)),
            "*[System[band(Keywords,9007199254740992) and (EventID=4768) and EventRecordID>7]]"
        );
    }
}
