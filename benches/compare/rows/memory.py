"""Memory of a million sessions and their directory, beside Redis with the same as hashes."""
from ..cargo_bench import figures
from ..table import Target

NAMES = ["memory"]


def run(bench):
    for figure in figures(bench, "core", NAMES).values():
        figure.target = Target(ratio_at_most=0.3, at_most=500)
        figure.note("950,000 sessions of 200,000 users and 50,000 of as many devices, 20,010 groups in four levels, 20 of each user "
                    "beside Domain Users, with SIDs, GUIDs and UPNs (with --quick a tenth); resident memory of the whole process "
                    "when it is filled")
        figure.note("jims is the core alone: not the buffers of the service, nor what it keeps while it reads or writes; redis has "
                    "a hash for each user, computer, group and session, and one with a field for each member of a group; "
                    "with indices also what jims has beside: addresses of each user, groups of each member, UPNs, SIDs, and the "
                    "orders of deadlines and of changes")
        yield figure
