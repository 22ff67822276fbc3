"""Figures of what a benchmark of Rust says by `cargo bench --bench NAME -- --json`."""
import json
import os
import subprocess

from .process import Failed
from .table import Figure, Measure

FIELDS = ("row", "side", "value", "unit", "higher_is_better")


def figures(bench, name, parts=(), env=None, seconds=900):
    """Runs a benchmark that is built already, and gives its figures by row, in the order in which it says them."""
    words = [*(["--quick"] if bench.quick else []), *parts]
    program = bench.programs[name, "bench"]
    try:
        done = subprocess.run([program, "--json", *words], capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired:
        raise Failed(f"the benchmark {name}: not within {seconds} s") from None
    if done.returncode != 0:
        raise Failed(f"the benchmark {name}: status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            _add(found, json.loads(line), " ".join(["cargo bench --bench", name, "-- --json", *words]))
    if not found:
        raise Failed(f"the benchmark {name} measured nothing:\n{done.stdout[-2000:]}")
    return found


def _add(found, said, command):
    row, side, value, unit, higher = (said[field] for field in FIELDS)
    figure = found.setdefault(row, Figure(row, unit, higher, command=command))
    figure.add(side, Measure(value, said.get("cpu_seconds"), said.get("rss_bytes"), said.get("note", "")))
