"""What a test can do to a WMI host: refusals, silence, delays, cuts, and hostile replies, each at a step of a query.

The steps are bind, activation, login, query, next and release. Faults on PDUs and binds are those of the event log peer
(`faults.py`); here are the ones that know DCOM.
"""
import struct

import faults
import wmi_objects
from wmi_ndr import HUGE

STEPS = ("bind", "activation", "login", "query", "next", "release")
# Acts on the whole stub, on the references and bindings in it, on the results of a query and on one object in them.
STUB_ACTS = ("truncated", "empty", "garbage")
REFERENCE_ACTS = ("count_huge", "length_huge", "objref_garbage", "objref_unknown_kind", "no_bindings", "bindings_garbage",
                  "bad_version")
RESULT_ACTS = ("endless", "endless_empty", "many", "count_huge")
OBJECT_ACTS = ("blob_truncated", "blob_garbage", "blob_length_huge", "blob_heap_out", "blob_deep", "wrong_class",
               "control_characters")
PDU_ACTS = tuple("pdu_" + act for act in faults.PDU_ACTS)
ACTS = tuple(dict.fromkeys(STUB_ACTS + REFERENCE_ACTS + RESULT_ACTS + OBJECT_ACTS + PDU_ACTS + faults.BIND_ACTS))
MANY, DEEP = 10_000, 400
CONTROL_CHARACTERS = "\x01\x1b[31m\r\n\u202e"


class Faults(faults.Faults):
    """The faults of one host."""

    def __init__(self, seed=1):
        super().__init__(seed)
        # How often each act was done.
        self.done = {}
        self.calm()

    def calm(self):
        """Ends all of them."""
        self.refusals, self.mute_steps, self.delays, self.drops, self.hostile = {}, set(), {}, [], []
        self.step = None

    def silent(self, _endpoint):
        return "all" in self.mute_steps

    def outgoing(self, association, data):
        return b"" if association.silent or self.silent(None) else data

    # Refusals

    @property
    def refuses_passwords(self):
        order = self.refusals.get("bind")
        return order is not None and order["how"] != "nak"

    def refusal(self, step):
        """The order (status, how) to refuse this step, if there is one."""
        order = self.refusals.get(step)
        if order is None:
            return None
        if order["times"] is not None:
            order["times"] -= 1
            if order["times"] <= 0:
                del self.refusals[step]
        return order

    def drop(self, step):
        """The order to cut the connection at this step, if there is one."""
        for order in self.drops:
            if order["step"] == step:
                if order["times"] is not None:
                    order["times"] -= 1
                    if order["times"] <= 0:
                        self.drops.remove(order)
                return order
        return None

    def delay(self, step):
        """Seconds that the answer at this step is late."""
        return max(self.delays.get(step, 0), self.delays.get(None, 0)) / 1000

    # Hostile replies

    def act(self, step, acts, prefix=""):
        """The act among `acts` ordered for this step, counted down."""
        for order in self.hostile:
            name = order["what"].removeprefix(prefix) if order["what"].startswith(prefix) else None
            if name in acts and order["step"] in (None, step):
                if order["times"] is not None:
                    order["times"] -= 1
                    if order["times"] <= 0:
                        self.hostile.remove(order)
                self.done[order["what"]] = self.done.get(order["what"], 0) + 1
                return name
        return None

    def bind_act(self):
        nak = self.refusals.get("bind")
        if nak is not None and nak["how"] == "nak":
            self.refusal("bind")
            return "bind_nak"
        return self.act("bind", faults.BIND_ACTS) if self.hostile else None

    def stub(self, call, stub):
        act = self.act(call.step, STUB_ACTS) if self.hostile else None
        if act == "truncated":
            return stub[:self.random.randrange(1, len(stub))]
        if act == "garbage":
            return self.random.randbytes(len(stub))
        return b"" if act == "empty" else stub

    def pdus(self, call, fragments):
        self.step = call.step
        return super().pdus(call, fragments)

    def _act(self, acts, _opnum):
        """The acts on PDUs, for the base class."""
        return self.act(self.step, acts, "pdu_")

    def unit(self, act, shape, values, host):
        """One object of a reply, encoded; broken if there is an act."""
        if act == "control_characters":
            values = {key: value + CONTROL_CHARACTERS if isinstance(value, str) else value for key, value in values.items()}
        block = shape.block(values, host.name, name="Win32_Unexpected" if act == "wrong_class" else None)
        if act == "blob_deep":
            block = deep()
        encoded = wmi_objects.unit(block)
        if act == "blob_truncated":
            return encoded[:self.random.randrange(1, len(encoded))]
        if act == "blob_garbage":
            return self.random.randbytes(len(encoded))
        if act == "blob_length_huge":
            return encoded[:4] + struct.pack("<I", HUGE) + encoded[8:]
        if act == "blob_heap_out":
            # The name of the instance's class: the first reference of the instance part.
            at = encoded.index(shape.class_part) + len(shape.class_part) + 5
            return encoded[:at] + struct.pack("<I", HUGE) + encoded[at + 4:]
        return encoded


def deep():
    """An object in an object in an object."""
    shape = wmi_objects.Shape("Deep", (), [wmi_objects.Property("In", "object")])
    block = shape.block({})
    for _ in range(DEEP):
        block = shape.block({"In": block})
    return block
