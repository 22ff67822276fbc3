//! What the demo shows: totals and the firewall's latest changes, redrawn on a terminal, one line a change elsewhere.

use std::io::{self, IsTerminal, Write};

use super::firewall::{Entry, Held};
use crate::identity::view::Totals;

/// Moves to the upper left corner and clears to the end.
const REDRAW: &str = "\x1b[H\x1b[J";

/// The place where the summary is shown.
pub(super) struct Screen {
    terminal: bool,
    commands: String,
    shown: u64,
}

impl Screen {
    /// A screen that keeps these commands in view.
    pub(super) fn new(commands: String) -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            commands,
            shown: 0,
        }
    }

    /// Shows the state of a moment.
    pub(super) fn show(&mut self, totals: &Totals, held: &Held) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        if self.terminal {
            out.write_all(format!("{REDRAW}{}", self.page(totals, held)).as_bytes())?;
            return out.flush();
        }
        if self.shown == 0 {
            writeln!(out, "{}", self.commands)?;
        }
        let fresh = held.changes.saturating_sub(self.shown);
        let fresh = usize::try_from(fresh)
            .unwrap_or(usize::MAX)
            .min(held.recent.len());
        for entry in held.recent.iter().take(fresh).rev() {
            writeln!(out, "{}", line(entry))?;
        }
        self.shown = held.changes.max(1);
        out.flush()
    }

    fn page(&self, totals: &Totals, held: &Held) -> String {
        let mut page = format!(
            "jims demo: a directory from a file, three syslog senders, one firewall\n\n\
             table     {:>4} sessions  {:>4} users  {:>4} devices  {:>4} groups\n\
             firewall  {:>4} entries   {:>4} polls over TLS\n",
            totals.sessions,
            totals.users,
            totals.devices,
            totals.groups,
            held.entries.len(),
            held.polls,
        );
        match &held.trouble {
            Some(trouble) => page += &format!("          {trouble}\n\n"),
            None => page += "\n",
        }
        page += "The firewall's latest changes:\n";
        for entry in &held.recent {
            page += &line(entry);
            page.push('\n');
        }
        page + "\n" + self.commands.trim_end()
    }
}

fn line(entry: &Entry) -> String {
    let device_only = entry.user_name.is_empty() && entry.activity == "login";
    let who = if device_only {
        "(device)"
    } else {
        &entry.user_name
    };
    let text = format!(
        "  {:<6} {:<15} {:<10} {:<12} {}",
        entry.activity,
        entry.ip_address.to_string(),
        who,
        entry.device_name,
        entry.roles.join(", ")
    );
    text.trim_end().chars().take(79).collect()
}
