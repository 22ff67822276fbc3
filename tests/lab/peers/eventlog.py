"""One event log in memory: records with rising ids, a clock that a test can move, waiters that want new ones.

One process holds many logs, one for each address it stands for. Records keep their values and are encoded when
they are sent: 100,000 encoded ones would take 250 MB.
"""
import time

from binxml import EventTemplate, plain_document, result_entry
from events import AUDIT_SUCCESS, Generator, Kind

EPOCH_OFFSET = 116_444_736_000_000_000


class Record:
    """One record; `raw` replaces the encoded document when a test wants its own bytes."""

    __slots__ = ("record_id", "filetime", "kind", "values", "keywords", "raw", "form")

    def __init__(self, record_id, filetime, kind, values, keywords=AUDIT_SUCCESS, raw=None, form=None):
        self.record_id, self.filetime, self.kind, self.values = record_id, filetime, kind, values
        self.keywords, self.raw, self.form = keywords, raw, form

    def system(self, tag):
        """A value of <System> by element name, for filters."""
        return {"EventID": self.kind.event_id, "EventRecordID": self.record_id, "Level": 0, "Task": self.kind.task,
                "Version": self.kind.version, "Opcode": 0, "Keywords": self.keywords, "Channel": "Security"}.get(tag)

    def field(self, field):
        """A value of <EventData> by name, for filters."""
        index = self.kind.index.get(field)
        return None if index is None else self.values[index]


class EventLog:
    """The Security log of one computer."""

    def __init__(self, computer, channel="Security", waste=0, first_record=1):
        filler = bytes(range(1, waste % 256 + 1))
        self.computer, self.channel = computer, channel
        self.template = EventTemplate(computer, channel, filler)
        self.kinds, self.filler = {}, filler
        self.records, self.oldest, self.next_id = [], first_record, first_record
        self.skew_ms = 0
        self.cleared = 0
        self.clock_offset_ms = 0
        self.listeners = set()
        self.generator = Generator()
        self.missing = False
        self.max_records = 1_000_000

    def now(self):
        """This computer's clock as FILETIME."""
        return EPOCH_OFFSET + time.time_ns() // 100 + self.clock_offset_ms * 10_000

    def kind(self, event_id):
        kind = self.kinds.get(event_id)
        if kind is None:
            kind = self.kinds[event_id] = Kind(event_id, self.filler)
        return kind

    def append(self, event_id, fields, at_ms=None, record_id=None, keywords=AUDIT_SUCCESS, raw=None, age_ms=0,
               notify=True, form=None):
        """Adds a record; `at_ms` is Unix time, otherwise now (less `age_ms`) by the computer's clock and skew."""
        kind = self.kind(event_id)
        filetime = EPOCH_OFFSET + int(at_ms) * 10_000 if at_ms is not None else \
            self.now() + (self.skew_ms - age_ms) * 10_000
        if record_id is not None:
            if record_id < self.next_id:
                raise ValueError(f"record id {record_id} is not above {self.next_id - 1}")
            self.next_id = record_id
        record = Record(self.next_id, filetime, kind, kind.values(fields), keywords, raw, form)
        if not self.records:
            self.oldest = record.record_id
        self.records.append(record)
        if len(self.records) > self.max_records * 1.1:
            self.wrap(self.max_records)
        self.next_id += 1
        if notify:
            self.notify()
        return record.record_id

    def generate(self, count, notify=True):
        """`count` plausible events, in the generator's predictable order."""
        for _ in range(count):
            event_id, fields = self.generator.next()
            self.append(event_id, fields, notify=False)
        if notify:
            self.notify()

    def notify(self):
        for listener in list(self.listeners):
            listener()

    def wrap(self, keep):
        """Drops all but the newest `keep` records, as a full log does."""
        self.records = self.records[-keep:] if keep else []
        self.oldest = self.records[0].record_id if self.records else self.next_id

    def clear(self):
        """Empties the log and starts its numbers again, as a cleared log does."""
        self.records, self.oldest, self.next_id = [], 1, 1
        self.cleared += 1

    def index_after(self, record_id):
        """Index of the first record above `record_id`; records are in order but may have gaps."""
        low, high = 0, len(self.records)
        while low < high:
            middle = (low + high) // 2
            if self.records[middle].record_id > record_id:
                high = middle
            else:
                low = middle + 1
        return low

    def document(self, record):
        """The record as binary XML."""
        if record.raw is not None:
            return record.raw
        kind = record.kind
        if record.form == "no_template":
            seconds, ticks = divmod(record.filetime - EPOCH_OFFSET, 10_000_000)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ticks:07d}Z"
            return plain_document(self.computer, self.channel, kind.event_id, kind.version, kind.task, stamp,
                                  record.record_id, zip(kind.template.names, record.values))
        return self.template.encode(kind.event_id, kind.version, kind.task, record.keywords, record.filetime,
                                    record.record_id, 596, 2784, kind.template.encode(record.values, record.form))

    def entry(self, record):
        """The record as an entry of a result set."""
        return result_entry(self.document(record), record.record_id)
