"""What this machine can do at best, beside which the other rows are to be read."""
import re

from ..cargo_bench import figures
from ..process import Failed, command
from ..table import Figure, Measure

# A record of TLS has at most 16 kB; an IP query's answer is one of about a kilobyte.
RECORDS = (16384, 1024)
CIPHER = "aes-256-gcm"
NAMES = ["limits"]


def run(bench):
    yield from figures(bench, "core", NAMES).values()
    for size in RECORDS:
        words = ["openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(size), "-evp", CIPHER]
        figure = Figure(f"limit: {CIPHER} of {size:,} bytes, one core", "GB/s", True, command=" ".join(words))
        for _ in range(bench.rounds):
            figure.add("openssl", Measure(_rate(command(words))))
        figure.note("what each record of TLS costs at least, on both sides of a connection; `wrk`, which takes the answers apart, is on "
                    "the same cores")
        yield figure


def _rate(said):
    """Gigabytes a second, of lines for machines: `+F:NUMBER:CIPHER:BYTES A SECOND`."""
    found = re.search(r"^\+F:[^:]*:[^:]*:([0-9.]+)", said, re.MULTILINE)
    if not found:
        raise Failed(f"openssl speed said {said!r}")
    return float(found.group(1)) / 1e9
