"""Look-up and update in the table beside Redis and a bare map, with one writer and two readers."""
import copy

from ..cargo_bench import figures
from ..table import Target

NAMES = ["look-up"]
# At least so many times as fast.
TARGETS = {"redis": 5, "bare sharded map": 0.5}


def run(bench):
    for row, measured in figures(bench, "core", NAMES).items():
        if len(measured.sides) == 1:
            # What no peer has.
            _explain(measured)
            yield measured
            continue
        for peer, ratio in TARGETS.items():
            figure = copy.deepcopy(measured)
            figure.row = f"{row}, beside {peer}"
            figure.sides = {side: rounds for side, rounds in measured.sides.items() if side in ("jims", peer)}
            figure.target = Target(ratio_at_least=ratio)
            _explain(figure, peer)
            yield figure


def _explain(figure, peer=None):
    figure.note("1,000,000 sessions of 200,000 users with 20 groups each (with --quick a tenth); the threads that are not measured go "
                "on at 20,000 a second; an update is a logon of another user at an address, with making the event or the value; "
                "jims: 256 updates in one hold of the lock, with indices, order of deadlines, journal and what the disk "
                "would be handed, but without queue, sockets and disk; a look-up takes the lock and gives user and "
                "evidence, and the names of his groups to whoever goes through them; no event renews what is there")
    if peer == "redis":
        figure.note("redis without persistence over loopback, 256 commands at once on each of three connections, values of about 90 "
                    "bytes without groups; CPU is the server's alone, of jims that of all threads in the process")
    elif peer:
        figure.note("64 shards of RwLock<HashMap>, an address to an Arc of user and times: no groups, no other index, no journal, "
                    "no deadlines")
