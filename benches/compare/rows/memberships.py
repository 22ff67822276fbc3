"""Memberships closed: of everybody, of one user, and below a group that many are under."""
from ..cargo_bench import figures
from ..table import Target

NAMES = ["memberships"]
# By the beginning of the row.
TARGETS = {"groups of all": Target(at_most=2), "one user": Target(at_most=10)}
LONGEST_WAIT = Target(at_most=20)


def run(bench):
    for row, figure in figures(bench, "core", NAMES).items():
        figure.target = next((target for start, target in TARGETS.items() if row.startswith(start)), None)
        if "longest wait" in row:
            figure.target = LONGEST_WAIT
        figure.note("500,000 users at as many addresses, 50,010 groups in four levels, 20 of each user (with --quick a tenth); the real "
                    "writer applies what a poll of the directory says: one group changed; over when a hundred of the users "
                    "concerned have the groups that they should; a thread looks five thousand times a second how long it has to "
                    "wait for the table")
        for measure in figure.sides["jims"][-2:]:
            figure.note(measure.note)
        yield figure
