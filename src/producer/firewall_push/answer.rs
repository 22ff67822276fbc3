//! What a sender is told of each of its entries, in JSON or XML.
//!
//! The names here are ours: Junos itself answers with a status alone.

use std::net::IpAddr;

use quick_xml::escape::escape;
use serde::Serialize;

use crate::identity::outcome::Verdict;

/// What became of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Answer {
    /// How many entries it had.
    entries: usize,
    /// Entries that began, renewed or ended a session.
    applied: usize,
    /// Entries that changed nothing.
    ignored: usize,
    /// Entries that were not understood.
    refused: usize,
    /// Those that were not applied.
    not_applied: Vec<NotApplied>,
}

/// An entry that was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct NotApplied {
    /// Its place in the document, from 1 on.
    entry: usize,
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// `ignored` or `refused`.
    outcome: &'static str,
    /// The word for why.
    reason: &'static str,
}

impl Answer {
    /// Adds what the table says of an entry.
    pub(super) fn judged(&mut self, entry: usize, address: Option<IpAddr>, verdict: &Verdict) {
        self.entries += 1;
        let Verdict::Ignored(reason) = verdict else {
            self.applied += 1;
            return;
        };
        self.ignored += 1;
        self.not_applied.push(NotApplied {
            entry,
            address,
            outcome: "ignored",
            reason: reason.as_str(),
        });
    }

    /// Adds an entry that was not understood.
    pub(super) fn refused(&mut self, entry: usize, reason: &'static str) {
        self.entries += 1;
        self.refused += 1;
        self.not_applied.push(NotApplied {
            entry,
            address: None,
            outcome: "refused",
            reason,
        });
    }

    /// Whether nothing in it was understood.
    pub(super) fn is_refused(&self) -> bool {
        self.refused > 0 && self.refused == self.entries
    }

    /// The same with its entries in the order of the document.
    pub(super) fn sorted(mut self) -> Self {
        self.not_applied.sort_by_key(|entry| entry.entry);
        self
    }

    /// The answer in JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("writing words and numbers to memory cannot fail")
    }

    /// The same in XML.
    pub(super) fn to_xml(&self) -> Vec<u8> {
        let entry = |entry: &NotApplied| {
            let address = entry.address.map(|ip| format!("<IP>{ip}</IP>"));
            format!(
                "    <userfw-entry><entry>{}</entry>{}<outcome>{}</outcome><reason>{}</reason></userfw-entry>\n",
                entry.entry,
                address.unwrap_or_default(),
                entry.outcome,
                escape(entry.reason)
            )
        };
        let not_applied: String = self.not_applied.iter().map(entry).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<userfw-result>\n  <entries>{}</entries>\n  <applied>{}</applied>\n  <ignored>{}</ignored>\n  <refused>{}</refused>\n  <not-applied>\n{not_applied}  </not-applied>\n</userfw-result>\n",
            self.entries, self.applied, self.ignored, self.refused
        )
        .into_bytes()
    }
}
