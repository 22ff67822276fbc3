"""IP queries over kept-alive TLS while a million sessions are there."""
import json

from ..process import Failed
from ..site import Wrk, address, compare, shared
from ..table import Figure, Target

NAMES = ["ip-query"]
# So many addresses, spread over the table, are asked for in turn.
ASKED = 5_000
# Each of them may ask 100 times a second.
CONNECTIONS = 1_536


def run(bench):
    site = shared(bench)
    step = max(site.sessions // ASKED, 1)
    paths = [f"/api/user_query/v2/ip/{address(number)}" for number in range(0, site.sessions, step)]
    wrk = Wrk(bench, site, paths, CONNECTIONS)
    client = site.client()
    client.request("GET", paths[len(paths) // 2], headers={"Authorization": f"Bearer {site.token()}"})
    answer = client.getresponse()
    body = answer.read()
    client.close()
    if answer.status != 200 or not has_session(body):
        raise Failed(f"an IP query gave {answer.status} {body[:300]!r}")
    figures = (Figure("IP query, requests a second", "/s", True, Target(ratio_at_least=0.8)),
               Figure("IP query, requests of one CPU second of the server", "/CPU s", True))
    compare(bench, figures, site, wrk, body)
    yield from figures


def has_session(body):
    """Whether the answer names a user with his groups."""
    text = json.dumps(json.loads(body))
    return "u0" in text and "Department-of-" in text.replace("department-of-", "Department-of-")
