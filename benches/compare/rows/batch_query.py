"""Batch queries of 1,000 entries, plain and with gzip asked for."""
import json
import urllib.parse

from ..process import Failed
from ..site import Wrk, compare, shared
from ..table import Figure, Target

NAMES = ["batch-query", "batch-query-gzip"]
ENTRIES = 1_000
# Cookies that are asked for in turn: so many places of the journal.
PLACES = 40
CONNECTIONS = 32


def run(bench):
    site = shared(bench)
    token = site.token()
    paths, sizes, body = _walk(site, token)
    for gzip in (False, True):
        packed = _packed(site, token, paths[-1]) if gzip else None
        wrk = Wrk(bench, site, paths, CONNECTIONS, {"Accept-Encoding": "gzip"} if gzip else None)
        name = "batch query of 1,000 entries" + (", gzip asked for" if gzip else "")
        figures = (Figure(f"{name}, requests a second", "/s", True, Target(ratio_at_least=0.5)),
                   Figure(f"{name}, requests of one CPU second of the server", "/CPU s", True))
        compare(bench, figures, site, wrk, body, gzip)
        for figure in figures:
            figure.note(f"{len(paths)} cookies in turn, answers of {min(sizes):,} to {max(sizes):,} bytes")
            if gzip:
                figure.note(f"nginx compresses at level 1; jims answers {packed}")
                if not packed.startswith("gzip"):
                    figure.unlike = "jims does not compress"
        yield from figures


def _ask(site, token, path, more=None):
    client = site.client()
    client.request("GET", path, headers={"Authorization": f"Bearer {token}", **(more or {})})
    answer = client.getresponse()
    body = answer.read()
    client.close()
    if answer.status != 200:
        raise Failed(f"a batch query gave {answer.status} {body[:300]!r}")
    return answer, body


def _walk(site, token):
    """The first pages of a whole pass: their paths, sizes, and one of them of middle size."""
    base = "/api/user_query/v2/users/endpoints?"
    query = {"begintime": 0}
    paths, bodies = [], []
    for _ in range(PLACES):
        path = base + urllib.parse.urlencode({**query, "entry_count": ENTRIES})
        _, body = _ask(site, token, path)
        said = json.loads(body)
        if body.count(b'"activity"') != ENTRIES and len(paths) < PLACES - 1:
            raise Failed(f"a batch query gave {body.count(b'activity')} entries: {body[:300]!r} … {body[-300:]!r}")
        paths.append(path)
        bodies.append(body)
        query = {"cookie": said["cookie"]}
    sizes = sorted(map(len, bodies))
    middle = next(body for body in bodies if len(body) == sizes[len(sizes) // 2])
    return paths, sizes, middle


def _packed(site, token, path):
    """How jims answers if gzip is asked for."""
    answer, body = _ask(site, token, path, {"Accept-Encoding": "gzip"})
    coding = answer.headers.get("Content-Encoding", "without compression")
    return f"{coding} in {len(body):,} bytes"
