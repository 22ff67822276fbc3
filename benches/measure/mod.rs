//! What benchmarks that take part in `benches/run` have in common: their options, the lines they print for it
//! (`benches/compare/__init__.py`), and what a process has used.

#![allow(dead_code, reason = "every user of this file takes what it needs")]

use std::fs;
use std::time::Duration;

use serde_json::json;

/// Clock ticks a second of `/proc`.
const TICK: Duration = Duration::from_millis(10);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// One JSON object for each side and round.
    pub(crate) json: bool,
    /// Fewer rounds, smaller sizes.
    pub(crate) quick: bool,
    /// Which parts; none: all.
    pub(crate) parts: Vec<String>,
}

impl Options {
    /// Those of this process; a part that is not one of `known` ends it.
    pub(crate) fn read(known: &[&str]) -> Self {
        let mut options = Self::default();
        for word in std::env::args().skip(1) {
            match word.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                // Cargo's own.
                "--bench" => {}
                part if known.contains(&part) => options.parts.push(word),
                other => panic!("{other} is none of --json, --quick, {}", known.join(", ")),
            }
        }
        options
    }

    /// Whether a part is asked for.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|one| one == part)
    }
}

/// A row: what is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) higher_is_better: bool,
}

impl Row {
    /// One of which more is better.
    pub(crate) const fn more(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            higher_is_better: true,
        }
    }

    /// One of which less is better.
    pub(crate) const fn less(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            higher_is_better: false,
        }
    }
}

/// What a side took for a measure, as far as it can be told apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu: Option<Duration>,
    pub(crate) rss_bytes: Option<u64>,
}

/// Says one measure: of `benches/run`, or of somebody who reads.
#[expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]
pub(crate) fn say(options: &Options, row: Row, side: &str, value: f64, used: Used, note: &str) {
    if options.json {
        let line = json!({
            "row": row.name, "side": side, "value": value, "unit": row.unit,
            "higher_is_better": row.higher_is_better,
            "cpu_seconds": used.cpu.map(|cpu| cpu.as_secs_f64()),
            "rss_bytes": used.rss_bytes, "note": note,
        });
        println!("{line}");
    } else {
        let cpu = used.cpu.map_or_else(String::new, |cpu| {
            format!(", {:.2} s of CPU", cpu.as_secs_f64())
        });
        let rss = used.rss_bytes.map_or_else(String::new, |bytes| {
            format!(", {:.0} MB", bytes as f64 / 1e6)
        });
        println!(
            "{}: {side}: {value:.3} {}{cpu}{rss}; {note}",
            row.name, row.unit
        );
    }
}

/// What all threads of this process have used.
pub(crate) fn processor_time() -> Duration {
    processor_time_of(std::process::id())
}

/// What all threads of a process have used, to a hundredth of a second.
pub(crate) fn processor_time_of(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    // proc_pid_stat(5): user time is field 14, system time 15; the first after the name is 3.
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks = ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>();
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// Memory of a process that is resident now.
pub(crate) fn resident_of(pid: u32) -> Option<u64> {
    status_of(pid, "VmRSS:")
}

/// The most memory of a process that was resident.
pub(crate) fn peak_of(pid: u32) -> Option<u64> {
    status_of(pid, "VmHWM:")
}

/// Lets the most of this process begin anew from what is resident now.
pub(crate) fn forget_peak() {
    // proc_pid_clear_refs(5). Where it is not allowed the most of before goes on to count.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

fn status_of(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What else runs: the system's load of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
