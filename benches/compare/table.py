"""Measures, figures and targets; how they are printed and written."""
import dataclasses
import json
import statistics

OURS = "jims"


@dataclasses.dataclass
class Measure:
    """One side in one round."""
    value: float
    cpu_seconds: float | None = None
    rss_bytes: int | None = None
    note: str = ""


@dataclasses.dataclass
class Target:
    """What must be true. Ratios are ours over the best peer's."""
    ratio_at_least: float | None = None
    ratio_at_most: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self):
        texts = []
        if self.ratio_at_least is not None:
            texts.append(f"≥ {self.ratio_at_least:g}×")
        if self.ratio_at_most is not None:
            texts.append(f"≤ {self.ratio_at_most:g}×")
        if self.at_least is not None:
            texts.append(f"≥ {number(self.at_least)}")
        if self.at_most is not None:
            texts.append(f"≤ {number(self.at_most)}")
        return ", ".join(texts)

    def reached(self, value, ratio):
        """Whether it is; a ratio that there is not cannot be."""
        checks = [
            (self.at_least, value, lambda have, want: have >= want),
            (self.at_most, value, lambda have, want: have <= want),
            (self.ratio_at_least, ratio, lambda have, want: have >= want),
            (self.ratio_at_most, ratio, lambda have, want: have <= want),
        ]
        return all(have is not None and good(have, want) for want, have, good in checks if want is not None)


@dataclasses.dataclass
class Figure:
    """One line of the table."""
    row: str
    unit: str
    higher_is_better: bool
    target: Target | None = None
    sides: dict = dataclasses.field(default_factory=dict)
    command: str = ""
    notes: list = dataclasses.field(default_factory=list)
    # Why the sides did not do the same work: no ratio counts then, and the target is missed.
    unlike: str = ""

    def add(self, side, measure):
        self.sides.setdefault(side, []).append(measure)

    def note(self, text):
        if text and text not in self.notes:
            self.notes.append(text)

    def median(self, side, of="value"):
        values = [getattr(measure, of) for measure in self.sides[side]]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None

    def best_peer(self):
        """The peer that is hardest to beat."""
        peers = [side for side in self.sides if side != OURS]
        if not peers:
            return None
        return (max if self.higher_is_better else min)(peers, key=self.median)

    def ratio(self):
        peer = self.best_peer()
        if peer is None or OURS not in self.sides or not self.median(peer):
            return None
        return self.median(OURS) / self.median(peer)

    def verdict(self):
        if self.target is None:
            return ""
        if self.unlike:
            return f"missed: {self.unlike}"
        return "reached" if self.target.reached(self.median(OURS), self.ratio()) else "missed"

    def as_json(self):
        return {
            "row": self.row, "unit": self.unit, "higher_is_better": self.higher_is_better,
            "target": str(self.target) if self.target else None, "verdict": self.verdict() or None,
            "ratio": self.ratio(), "best_peer": self.best_peer(), "command": self.command, "notes": self.notes,
            "sides": {
                side: {
                    "median": self.median(side), "cpu_seconds": self.median(side, "cpu_seconds"),
                    "rss_bytes": self.median(side, "rss_bytes"),
                    "rounds": [dataclasses.asdict(measure) for measure in measures],
                } for side, measures in self.sides.items()
            },
        }


def number(value):
    """A number as people read it."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _row(figure, side, first):
    ours = side == OURS
    rss, cpu = figure.median(side, "rss_bytes"), figure.median(side, "cpu_seconds")
    values = [measure.value for measure in figure.sides[side]]
    spread = f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""
    ratio = figure.ratio()
    return [
        figure.row if first else "", side, f"{number(figure.median(side))} {figure.unit}", spread,
        "" if cpu is None else f"{cpu:.2f}", "" if rss is None else f"{rss / 1e6:.0f}",
        f"{ratio:.2f}×" if ours and ratio is not None else "",
        str(figure.target) if ours and figure.target else "", figure.verdict() if ours else "",
    ]


HEAD = ["work", "side", "median", "rounds", "CPU s", "peak MB", "ratio", "target", ""]


def rows(figures):
    """The table's cells, head first."""
    lines = [HEAD]
    for figure in figures:
        sides = sorted(figure.sides, key=lambda side: side != OURS)
        lines += [_row(figure, side, index == 0) for index, side in enumerate(sides)]
    return lines


def plain(figures):
    """For a terminal."""
    lines = rows(figures)
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
    return "\n".join(texts)


def markdown(figures, about, failures):
    """The whole page."""
    text = ["# What `benches/run` measured", "",
            "Written by `benches/run`; not to be edited. Both sides in turn on loopback, on the same cores as what sends to",
            "them. A value is the median of its rounds; *rounds* is the lowest and the highest. CPU and memory are of the",
            "measured side alone, for one round; *ratio* is jims over the best peer.", ""]
    text += [f"* {name}: {value}" for name, value in about.items()]
    text.append("")
    lines = rows(figures)
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    text.append("| " + " | ".join(escaped[0]) + " |")
    text.append("|" + " --- |" * len(HEAD))
    text += ["| " + " | ".join(line) + " |" for line in escaped[1:]]
    text += ["", "## How each figure was made", ""]
    for figure in figures:
        text.append(f"* **{figure.row}**: `{figure.command}`" + ("." if figure.notes else ""))
        text += [f"  * {note}" for note in figure.notes]
    if failures:
        text += ["", "## Not measured", ""]
        text += [f"* **{name}**: {' '.join(why.split())}" for name, why in failures.items()]
    return "\n".join(text) + "\n"


def as_json(figures, about, failures):
    return json.dumps({"about": about, "figures": [figure.as_json() for figure in figures], "failures": failures},
                      indent=1, ensure_ascii=False) + "\n"
