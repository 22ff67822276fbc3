//! Answers pages of sessions and names: reads what is wanted, goes through the table in steps, makes the rows.
//!
//! Between two steps the table is let go of, however long the list is. The work is one thread's own: as a task among
//! others it would queue behind them at every step.

use std::collections::BTreeSet;
use std::net::IpAddr;

use compact_str::CompactString;

use super::browse::{
    self as listed, Browse, From, MAX_FILTER_BYTES, MAX_ROWS, NameKind, NameRow, NamesPage,
    SessionRow, SessionsPage, Sort,
};
use super::protocol::{Refusal, timestamp};
use super::query;
use crate::identity::Core;
use crate::identity::browse::{
    self, Found, Listed, NameScan, NameView, Order, Page, Place, SessionScan, Start, Word,
};
use crate::runtime::clock;
use crate::writer::Reader;

/// Places of the table that one hold of it looks at: under a millisecond. Under load each hold waits for the writer, so
/// few large ones end sooner than many small ones.
const STEP: usize = 8192;

/// Rows if nobody says how many.
const USUAL_ROWS: usize = 50;

/// Between the parts of a place; no name holds it.
const SEPARATOR: char = '\t';

/// A page of sessions; `down` are producers that do not work now. Takes a while: for a thread of its own.
pub(super) fn sessions(
    reader: &Reader,
    wanted: &Browse,
    down: BTreeSet<String>,
) -> Result<SessionsPage, Refusal> {
    let began = clock::monotonic_now();
    let (words, page) = understood(wanted)?;
    let mut scan = SessionScan::new(words, &page, down.clone());
    while scan.step(&reader.read(), STEP) {}
    let core = reader.read();
    let found = scan.finish(&core);
    Ok(shown(found, |_, address| row(&core, address, &down), began))
}

/// A page of users, devices or groups. Takes a while: for a thread of its own.
pub(super) fn names(
    reader: &Reader,
    kind: NameKind,
    wanted: &Browse,
) -> Result<NamesPage, Refusal> {
    let began = clock::monotonic_now();
    let (words, page) = understood(wanted)?;
    let kind = match kind {
        NameKind::Users => browse::NameKind::Users,
        NameKind::Devices => browse::NameKind::Devices,
        NameKind::Groups => browse::NameKind::Groups,
    };
    let mut scan = NameScan::new(kind, words, &page);
    while scan.step(&reader.read(), STEP) {}
    let view = |place: &Place, listed: Listed| listed.view(&reader.read(), place).map(name_row);
    Ok(shown(scan.finish(), view, began))
}

fn shown<T, Row>(
    found: Found<T>,
    row: impl Fn(&Place, T) -> Option<Row>,
    began: std::time::Instant,
) -> listed::Page<Row> {
    let place = |end: Option<&(Place, T)>| end.map_or_else(String::new, |end| write_place(&end.0));
    let (first, last) = (place(found.rows.first()), place(found.rows.last()));
    let rows = found.rows.into_iter();
    listed::Page {
        rows: rows
            .filter_map(|(place, found)| row(&place, found))
            .collect(),
        total: found.total,
        before: found.before,
        first,
        last,
        took_ms: millis_since(began),
    }
}

fn millis_since(began: std::time::Instant) -> u64 {
    let took = clock::monotonic_now().saturating_duration_since(began);
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

fn row(core: &Core, address: IpAddr, down: &BTreeSet<String>) -> Option<SessionRow> {
    let view = core.address(address)?;
    let (user, device) = (view.user.as_ref(), view.device.as_ref());
    let evidence = user.map(|user| &user.evidence);
    let evidence = evidence.or(device.map(|device| &device.evidence))?;
    let since = user
        .map(|user| user.since)
        .or(device.map(|device| device.since))?;
    let deadline = user.map(|user| user.deadline);
    let deadline = deadline.or(device.map(|device| device.deadline))?;
    let domain = user.map(|user| user.user.domain);
    Some(SessionRow {
        address,
        user: user.map(|user| user.user.name.to_owned()),
        domain: domain
            .or(device.map(|device| device.device.domain))?
            .to_owned(),
        device: device.map(|device| device.device.name.to_owned()),
        since: timestamp(since),
        producer: evidence.producer.to_string(),
        seen: timestamp(evidence.occurred_at),
        deadline: timestamp(deadline),
        state: query::state(core, &view, evidence, down).to_owned(),
    })
}

fn name_row(view: NameView) -> NameRow {
    NameRow {
        name: view.name.into(),
        domain: view.domain.into(),
        standing: query::standing(view.standing).to_owned(),
        addresses: view.addresses,
        sessions: view.sessions,
        groups: view.groups,
    }
}

fn understood(wanted: &Browse) -> Result<(Vec<Word>, Page), Refusal> {
    if wanted.filter.len() > MAX_FILTER_BYTES {
        return Err(Refusal {
            message: format!("the filter is longer than {MAX_FILTER_BYTES} bytes"),
            remedy: "look for fewer words".into(),
        });
    }
    let rows = match wanted.rows {
        0 => USUAL_ROWS,
        rows => rows.min(MAX_ROWS).min(browse::MAX_ROWS),
    };
    let page = Page {
        order: match wanted.sort {
            Sort::Usual => Order::Usual,
            Sort::Address => Order::Address,
            Sort::User => Order::User,
            Sort::Device => Order::Device,
            Sort::Since => Order::Since,
            Sort::Deadline => Order::Deadline,
            Sort::Sessions => Order::Sessions,
        },
        reverse: wanted.reverse,
        start: match &wanted.from {
            From::Start => Start::First,
            From::End => Start::Last,
            From::After(place) => Start::After(read_place(place)?),
            From::Before(place) => Start::Before(read_place(place)?),
            From::At(place) => Start::At(read_place(place)?),
        },
        rows,
    };
    Ok((Word::all(&wanted.filter), page))
}

fn write_place(place: &Place) -> String {
    let address = place.address.map(|address| address.to_string());
    [
        place.number.to_string().as_str(),
        &place.text,
        &place.domain,
        address.as_deref().unwrap_or_default(),
    ]
    .join(&SEPARATOR.to_string())
}

fn read_place(text: &str) -> Result<Place, Refusal> {
    let read = || {
        let mut parts = text.split(SEPARATOR);
        let mut next = || parts.next();
        let (number, name, domain, address) = (next()?, next()?, next()?, next()?);
        let address = match address {
            "" => None,
            address => Some(address.parse().ok()?),
        };
        Some(Place {
            number: number.parse().ok()?,
            text: CompactString::new(name),
            domain: CompactString::new(domain),
            address,
        })
    };
    read().ok_or_else(|| Refusal {
        message: "that is no place of a page".into(),
        remedy: "use `first` or `last` of a page as it is".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_went() {
        let places = [
            Place::default(),
            Place {
                number: -7,
                text: "ada lovelace".into(),
                domain: "corp.example.com".into(),
                address: "2001:db8::1".parse().ok(),
            },
        ];
        for place in places {
            assert_eq!(read_place(&write_place(&place)), Ok(place));
        }
        for wrong in ["", "x\t\t\t", "1\ta", "1\t\t\t10.0.0"] {
            assert!(read_place(wrong).is_err(), "{wrong:?}");
        }
    }
}
