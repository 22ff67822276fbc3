"""The Security events a domain controller writes about logons: fields and types as real logs have them.

Names, order and value types were read off public Security logs of a Windows domain controller; a test names the
fields it cares about and the rest takes plausible values.
"""
import random

from binxml import GUID, HEX32, HEX64, SID, STRING, UINT32, DataTemplate

AUDIT_SUCCESS, AUDIT_FAILURE = 0x8020000000000000, 0x8010000000000000
NO_SID, NO_GUID = "S-1-0-0", "00000000-0000-0000-0000-000000000000"
DOMAIN_SID = "S-1-5-21-1004336348-1177238915-682003330"

# event id: (version, task, [(field, type, default)])
DEFINITIONS = {
    4768: (0, 14339, [
        ("TargetUserName", STRING, "alice"), ("TargetDomainName", STRING, "CORP"),
        ("TargetSid", SID, DOMAIN_SID + "-1104"), ("ServiceName", STRING, "krbtgt"),
        ("ServiceSid", SID, DOMAIN_SID + "-502"), ("TicketOptions", HEX32, 0x40810010), ("Status", HEX32, 0),
        ("TicketEncryptionType", HEX32, 0x12), ("PreAuthType", STRING, "2"),
        ("IpAddress", STRING, "::ffff:10.1.0.7"), ("IpPort", STRING, "50268"), ("CertIssuerName", STRING, ""),
        ("CertSerialNumber", STRING, ""), ("CertThumbprint", STRING, "")]),
    4769: (0, 14337, [
        ("TargetUserName", STRING, "alice@CORP.EXAMPLE.COM"), ("TargetDomainName", STRING, "CORP.EXAMPLE.COM"),
        ("ServiceName", STRING, "FILES1$"), ("ServiceSid", SID, DOMAIN_SID + "-1000"),
        ("TicketOptions", HEX32, 0x40810000), ("TicketEncryptionType", HEX32, 0x12),
        ("IpAddress", STRING, "::ffff:10.1.0.7"), ("IpPort", STRING, "50270"), ("Status", HEX32, 0),
        ("LogonGuid", GUID, "3fb7fcca-2be3-5ac1-1916-9c0c075cbc8a"), ("TransmittedServices", STRING, "-")]),
    4770: (0, 14337, [
        ("TargetUserName", STRING, "alice@CORP.EXAMPLE.COM"), ("TargetDomainName", STRING, "CORP.EXAMPLE.COM"),
        ("ServiceName", STRING, "krbtgt"), ("ServiceSid", SID, DOMAIN_SID + "-502"),
        ("TicketOptions", HEX32, 0x10002), ("TicketEncryptionType", HEX32, 0x12),
        ("IpAddress", STRING, "::ffff:10.1.0.7"), ("IpPort", STRING, "50271")]),
    4776: (0, 14336, [
        ("PackageName", STRING, "MICROSOFT_AUTHENTICATION_PACKAGE_V1_0"), ("TargetUserName", STRING, "alice"),
        ("Workstation", STRING, "WS-00001"), ("Status", HEX32, 0)]),
    4624: (2, 12544, [
        ("SubjectUserSid", SID, NO_SID), ("SubjectUserName", STRING, "-"), ("SubjectDomainName", STRING, "-"),
        ("SubjectLogonId", HEX64, 0), ("TargetUserSid", SID, DOMAIN_SID + "-1104"),
        ("TargetUserName", STRING, "alice"), ("TargetDomainName", STRING, "CORP"),
        ("TargetLogonId", HEX64, 0x308FABB0C), ("LogonType", UINT32, 3), ("LogonProcessName", STRING, "Kerberos"),
        ("AuthenticationPackageName", STRING, "Kerberos"), ("WorkstationName", STRING, "-"),
        ("LogonGuid", GUID, NO_GUID), ("TransmittedServices", STRING, "-"), ("LmPackageName", STRING, "-"),
        ("KeyLength", UINT32, 0), ("ProcessId", HEX64, 0), ("ProcessName", STRING, "-"),
        ("IpAddress", STRING, "10.1.0.7"), ("IpPort", STRING, "45201"), ("ImpersonationLevel", STRING, "%%1833"),
        ("RestrictedAdminMode", STRING, "-"), ("TargetOutboundUserName", STRING, "-"),
        ("TargetOutboundDomainName", STRING, "-"), ("VirtualAccount", STRING, "%%1843"),
        ("TargetLinkedLogonId", HEX64, 0), ("ElevatedToken", STRING, "%%1842")]),
    4634: (0, 12545, [
        ("TargetUserSid", SID, DOMAIN_SID + "-1104"), ("TargetUserName", STRING, "alice"),
        ("TargetDomainName", STRING, "CORP"), ("TargetLogonId", HEX64, 0x308FABB0C), ("LogonType", UINT32, 3)]),
    4647: (0, 12545, [
        ("TargetUserSid", SID, DOMAIN_SID + "-1104"), ("TargetUserName", STRING, "alice"),
        ("TargetDomainName", STRING, "CORP"), ("TargetLogonId", HEX64, 0x308FABB0C)]),
    # A neighbour that nobody asked for: filters must keep it out.
    5140: (1, 12808, [
        ("SubjectUserSid", SID, DOMAIN_SID + "-1104"), ("SubjectUserName", STRING, "alice"),
        ("SubjectDomainName", STRING, "CORP"), ("SubjectLogonId", HEX64, 0x308FABB0C), ("ObjectType", STRING, "File"),
        ("IpAddress", STRING, "10.1.0.7"), ("IpPort", STRING, "50268"), ("ShareName", STRING, "\\\\*\\SYSVOL"),
        ("ShareLocalPath", STRING, "\\??\\C:\\Windows\\SYSVOL\\sysvol"), ("AccessMask", HEX32, 1),
        ("AccessList", STRING, "%%4416\r\n\t\t\t\t")]),
}


class Kind:
    """One event id with its definition and its template."""

    def __init__(self, event_id, waste=b""):
        self.event_id = event_id
        self.version, self.task, fields = DEFINITIONS[event_id]
        self.template = DataTemplate(event_id, [(field, value_type) for field, value_type, _ in fields], waste)
        self.index = {field: number for number, (field, _, _) in enumerate(fields)}
        self.defaults = [default for _, _, default in fields]

    def values(self, given):
        """The values in template order; an unknown field name is an error of the test."""
        values = list(self.defaults)
        for field, value in given.items():
            if field not in self.index:
                raise ValueError(f"event {self.event_id} has no field {field}; it has {sorted(self.index)}")
            values[self.index[field]] = value
        return tuple(values)


class Generator:
    """Plausible logons in bulk: users and addresses in order, so that a test can predict them.

    The n-th event (from 0) is about user `u%06d` of n modulo `users`, at 10.x.y.z of the same number.
    """

    def __init__(self, users=1000, ids=(4768, 4769, 4624), seed=1):
        self.users, self.ids, self.count = users, list(ids), 0
        self.random = random.Random(seed)

    def next(self):
        """(event id, fields) of the next event."""
        number = self.count % self.users
        event_id = self.ids[self.count // self.users % len(self.ids)] if self.users > 1 else \
            self.ids[self.count % len(self.ids)]
        self.count += 1
        user = f"u{number:06d}"
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        sid = f"{DOMAIN_SID}-{1104 + number}"
        port = str(49152 + self.random.randrange(16384))
        if event_id == 4768:
            return event_id, {"TargetUserName": user, "TargetSid": sid, "IpAddress": "::ffff:" + address, "IpPort": port}
        if event_id in (4769, 4770):
            return event_id, {"TargetUserName": user + "@CORP.EXAMPLE.COM", "IpAddress": "::ffff:" + address, "IpPort": port}
        if event_id == 4624:
            return event_id, {"TargetUserName": user, "TargetUserSid": sid, "IpAddress": address, "IpPort": port}
        if event_id == 4776:
            return event_id, {"TargetUserName": user, "Workstation": f"WS-{number:05d}"}
        if event_id in (4634, 4647):
            return event_id, {"TargetUserName": user, "TargetUserSid": sid}
        return event_id, {"SubjectUserName": user, "SubjectUserSid": sid, "IpAddress": address, "IpPort": port}
