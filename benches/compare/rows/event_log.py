"""Windows event records: decoded on one core beside the crate evtx, and read from a server beside impacket's client."""
from ..cargo_bench import figures
from ..table import Target

NAMES = ["binxml", "even6"]


def run(bench):
    python = bench.peers.python()
    found = figures(bench, "event_log", env={"JIMS_BENCH_PYTHON": python})
    for row, figure in found.items():
        if row.startswith("EVEN6"):
            figure.target = Target(ratio_at_least=20, at_least=30_000)
            figure.note("one connection to a server of our own on the same cores, a process of its own: NTLM, packet privacy, "
                        "QueryNext; jims unseals, decodes and interprets; impacket unseals and cuts records out of their "
                        "batches, because it cannot read BinXML; signing on is not counted")
            figure.note("no endpoint mapper, no position kept, no table on either side")
        else:
            figure.note("4,000 records of 4768, 4769, 4624 and 4776 again and again; jims decodes what EVEN6 sends, each record with "
                        "its template, and interprets it; evtx reads the same records in a log file, where a chunk has each "
                        "template once (it cannot read the other form), and does not interpret them; checksums are not "
                        "looked at; CPU is of as many records as each side read; memory is of one process for all sides")
        if "interpreted" in row:
            figure.target = Target(ratio_at_least=3, at_least=300_000)
            figure.note("JSON values are the one result of evtx whose fields a program can read without parsing text again")
        yield figure
