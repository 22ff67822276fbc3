"""What an event and a query cost in a large table, times their cost in a small one."""
from ..cargo_bench import figures
from ..table import Target

NAMES = ["growth"]


def run(bench):
    for figure in figures(bench, "core", NAMES).values():
        figure.target = Target(at_most=1.3)
        figure.note("in the core alone, without sockets and formats, on one thread and in its processor time: the small table fits into "
                    "the processor's caches, the large one does not; an event is a logon of another user at an address, a query "
                    "gives user, evidence and the names of 20 groups; five addresses a user; with --quick the large table has 100,000; "
                    "the bare map (64 shards of RwLock<HashMap>) shows what any table pays for memory that no cache holds")
        for side, rounds in figure.sides.items():
            figure.note(f"{side}: {rounds[-1].note}")
        yield figure
