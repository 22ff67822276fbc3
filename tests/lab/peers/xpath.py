"""The part of XPath that event queries use (MS-EVEN6 2.2.15), and structured queries (2.2.16).

A query becomes a predicate over records. What a Windows service refuses (bad syntax, too many comparisons) is
refused here too, so that a test notices a query that only a lenient peer would take.
"""
import datetime
import re
import xml.etree.ElementTree as ElementTree

# Windows refuses filters with more comparisons than about this many ("the query is too complex").
MAX_COMPARISONS = 22
TOKEN = re.compile(r"""\s*(?:(?P<string>'[^']*'|"[^"]*")|(?P<number>-?\d+)|(?P<op><=|>=|!=|=|<|>|\[|\]|\(|\)|@|\*|/|,)"""
                   r"""|(?P<word>[A-Za-z_][\w.-]*))""")


class InvalidQuery(ValueError):
    """ERROR_EVT_INVALID_QUERY."""


class TooComplex(ValueError):
    """ERROR_EVT_FILTER_TOO_COMPLEX."""


def _filetime(text):
    stamp = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int((stamp - datetime.datetime(1601, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds() * 10_000_000)


def compare(operator, a, b):
    """Numbers as numbers, anything else as text without regard to case; nothing compares with a missing value."""
    if a is None or b is None:
        return False
    try:
        a, b = int(str(a), 0), int(str(b), 0)
    except ValueError:
        a, b = str(a).lower(), str(b).lower()
    return {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


class Parser:
    """Recursive descent; every method returns a function (record, now) -> value."""

    def __init__(self, text):
        self.tokens, self.at, self.comparisons = [], 0, 0
        position = 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if not match:
                raise InvalidQuery(f"at {position}: {text[position:position + 20]!r}")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup)))
            position = match.end()

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else (None, None)

    def take(self, value=None):
        kind, text = self.peek()
        if kind is None or (value is not None and text != value):
            raise InvalidQuery(f"expected {value!r}, found {text!r}")
        self.at += 1
        return text

    def query(self):
        """`*`, `Event`, or one of them with one filter in brackets, e.g. `*[System[EventID=4768]]`."""
        if self.peek()[1] not in ("*", "Event"):
            raise InvalidQuery(f"a query begins with * or Event, not {self.peek()[1]!r}")
        self.take()
        test = lambda record, now: True
        if self.peek()[1] == "[":
            test = self.bracket(None)
        if self.peek()[0] is not None:
            raise InvalidQuery(f"left over: {self.peek()[1]!r}")
        if self.comparisons > MAX_COMPARISONS:
            raise TooComplex(f"{self.comparisons} comparisons")
        return test

    def bracket(self, section):
        self.take("[")
        test = self.either(section)
        self.take("]")
        return test

    def either(self, section):
        tests = [self.both(section)]
        while self.peek()[1] == "or":
            self.take()
            tests.append(self.both(section))
        return tests[0] if len(tests) == 1 else lambda record, now: any(test(record, now) for test in tests)

    def both(self, section):
        tests = [self.comparison(section)]
        while self.peek()[1] == "and":
            self.take()
            tests.append(self.comparison(section))
        return tests[0] if len(tests) == 1 else lambda record, now: all(test(record, now) for test in tests)

    def comparison(self, section):
        if self.peek()[1] == "not" and self.peek(1)[1] == "(":
            self.take()
            test = self.comparison(section)
            return lambda record, now: not test(record, now)
        if self.peek()[1] == "(":
            self.take("(")
            test = self.either(section)
            self.take(")")
            return test
        called = self.peek(1)[1] == "("
        left = self.operand(section)
        kind, operator = self.peek()
        if kind != "op" or operator not in ("=", "!=", "<", "<=", ">", ">="):
            # A node is true when it exists, a function's number when it is not 0.
            return lambda record, now: bool(left(record, now)) if called else left(record, now) not in (None, False)
        self.take()
        right = self.operand(section)
        self.comparisons += 1

        def test(record, now):
            a, b = left(record, now), right(record, now)
            if isinstance(a, tuple):
                return any(compare(operator, one, b) for one in a)
            return compare(operator, a, b)
        return test

    def operand(self, section):
        kind, text = self.peek()
        if kind == "string":
            self.take()
            return lambda record, now: text[1:-1]
        if kind == "number":
            self.take()
            return lambda record, now: int(text)
        if text == "@":
            self.take()
            return self.attribute(section, self.take())
        if kind != "word":
            raise InvalidQuery(f"unexpected {text!r}")
        self.take()
        if self.peek()[1] == "(":
            return self.function(section, text)
        if section is None:
            if text not in ("System", "EventData", "UserData"):
                raise InvalidQuery(f"unknown section {text!r}")
            if self.peek()[1] == "/":
                self.take()
                return self.operand(text)
            return self.bracket(text) if self.peek()[1] == "[" else lambda record, now: True
        if section == "EventData" and text == "Data":
            return self.data()
        inside = self.bracket(text) if self.peek()[1] == "[" else None
        if inside is not None:
            return inside
        return lambda record, now: record.system(text)

    def data(self):
        """Data[@Name='X'], compared from outside or asked for; Data='v' for any value."""
        if self.peek()[1] != "[":
            return lambda record, now: tuple(record.values)
        self.take("[")
        self.take("@")
        if self.take() != "Name":
            raise InvalidQuery("only @Name selects Data")
        self.take("=")
        field = self.take()[1:-1]
        self.take("]")
        return lambda record, now: record.field(field)

    def attribute(self, section, name):
        if name == "Name" and section == "Provider":
            return lambda record, now: "Microsoft-Windows-Security-Auditing"
        if name == "SystemTime":
            # Compared as times, not as texts.
            if self.peek()[1] in ("=", "<", "<=", ">", ">=") and self.peek(1)[0] == "string":
                kind, text = self.peek(1)
                try:
                    self.tokens[self.at + 1] = ("number", str(_filetime(text[1:-1])))
                except ValueError as error:
                    raise InvalidQuery(str(error)) from error
            return lambda record, now: record.filetime
        return lambda record, now: record.system(name)

    def function(self, section, text):
        self.take("(")
        arguments = [] if self.peek()[1] == ")" else [self.operand(section)]
        while self.peek()[1] == ",":
            self.take()
            arguments.append(self.operand(section))
        self.take(")")
        if text == "band" and len(arguments) == 2:
            return lambda record, now: int(arguments[0](record, now) or 0) & int(arguments[1](record, now))
        if text == "timediff" and len(arguments) == 1:
            return lambda record, now: (now - arguments[0](record, now)) // 10_000
        raise InvalidQuery(f"unknown function {text!r}")


def compile_query(text, channel):
    """(channels named by the query, predicate(record, now)); a plain XPath takes `channel`."""
    stripped = text.strip()
    if not stripped.startswith("<"):
        return [channel], Parser(stripped).query()
    try:
        root = ElementTree.fromstring(stripped)
    except ElementTree.ParseError as error:
        raise InvalidQuery(str(error)) from error
    if root.tag != "QueryList":
        raise InvalidQuery(f"root element {root.tag}")
    channels, selects, suppresses = [], [], []
    for query in root.findall("Query"):
        for child in query:
            path = child.get("Path") or query.get("Path") or channel
            if child.tag not in ("Select", "Suppress") or not path:
                raise InvalidQuery(f"element {child.tag}")
            channels.append(path)
            (selects if child.tag == "Select" else suppresses).append(Parser((child.text or "").strip()).query())
    if not selects:
        raise InvalidQuery("no Select")
    return channels, lambda record, now: any(test(record, now) for test in selects) and \
        not any(test(record, now) for test in suppresses)
