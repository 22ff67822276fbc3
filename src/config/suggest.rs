//! "Did you mean": the known word nearest to what was written.
//!
//! Pure text; knows no keys.

/// The candidate nearest to `written` without regard to case, if one is near enough to be a slip of the fingers.
pub(super) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    // One slip in three characters; a word of two letters has no near neighbours worth naming.
    let limit = (written.chars().count().min(64) / 3).clamp(1, 4);
    candidates
        .clone()
        .into_iter()
        .map(|candidate| (distance(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
        .or_else(|| {
            let longer = |candidate: &&str| candidate.len() > 3 && written.starts_with(*candidate);
            candidates.clone().into_iter().find(longer)
        })
}

/// A hint that names the nearest candidate, or else all of them if they are few.
pub(super) fn hint(written: &str, candidates: &[&str]) -> String {
    match nearest(written, candidates.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if candidates.is_empty() || candidates.len() > 20 => String::new(),
        None => format!("one of: {}", candidates.join(", ")),
    }
}

/// How many insertions, removals, replacements and swaps of neighbours turn `a` into `b`; words over 64 characters are
/// as far as can be.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let keys = ["senders", "templates", "domain", "domains", "timezone"];
        assert_eq!(nearest("sender", keys), Some("senders"));
        assert_eq!(nearest("tempaltes", keys), Some("templates"));
        assert_eq!(nearest("Time-Zone", keys), Some("timezone"));
        assert_eq!(nearest("domian", keys), Some("domain"));
        assert_eq!(nearest("domain_name", keys), Some("domain"));
        assert_eq!(nearest("password", keys), None);
    }

    #[test]
    fn a_hint_names_one_or_all() {
        assert_eq!(hint("jsn", &["text", "json"]), "did you mean \"json\"?");
        assert_eq!(hint("syslog", &["text", "json"]), "one of: text, json");
    }
}
