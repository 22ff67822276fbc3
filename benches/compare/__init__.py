"""What `benches/run` is made of: jims beside what somebody would use instead, on loopback, both sides in turn.

A row is a module of `rows` with NAMES (what may be asked for) and `run(bench)`, which yields figures as it goes. A figure
is one line of the table: for each side several measures, one a round, of which the median counts.

| to find | look in |
| --- | --- |
| processes, their CPU seconds and memory | process.py |
| which peers, how they are installed, their versions | peers.py |
| medians, ratios, targets, Markdown, JSON | table.py |
| the syslog lines, and the rules of all three sides | lines.py, syslog_peers.py |
| what a benchmark of Rust says | cargo_bench.py |
| jims with a table full of sessions, nginx, wrk | site.py, from_many.c |

A benchmark of Rust takes part by `cargo bench --bench NAME -- --json`: among its output are lines that are one JSON object
each, one for each side and round of something measured,

    {"row": "BinXML decoded", "side": "jims", "value": 412000.0, "unit": "events/s", "higher_is_better": true,
     "cpu_seconds": 0.97, "rss_bytes": 31457280, "note": ""}

`side` is "jims" or the peer's name; `cpu_seconds` and `rss_bytes` are what that side took for this measure, or null where
that cannot be told apart; several objects of the same row and side are rounds. The target of a row is in
its module of `rows`. A benchmark that cannot measure something ends with a status other than 0, and says why.
"""
