"""The classes of root\\cimv2 that a host has, their instances, and the few shapes of WQL it understands.

Instances follow Windows: which accounts, which sessions and which references to them are there, with the noise of a real
desktop. Anything but the expected queries is an invalid query.
"""
import re

from wmi_objects import Property, Shape

INVALID_QUERY = 0x80041017
LOGICAL = ("CIM_LogicalElement", "CIM_ManagedSystemElement")


def described(*own):
    """The properties every managed element has, then its own."""
    return [Property("Caption", level=0), Property("Description", level=0), Property("InstallDate", "datetime", level=0),
            Property("Status", level=0, default="OK"), *own]


def association(first, second):
    return [Property("Antecedent", "reference", key=True, target=first),
            Property("Dependent", "reference", key=True, target=second)]


CLASSES = {
    "win32_computersystem": ("Win32_ComputerSystem", ("CIM_UnitaryComputerSystem", "CIM_ComputerSystem", "CIM_System",
                                                      *LOGICAL), described(
        Property("Name", key=True), Property("CurrentTimeZone", "sint16"), Property("DNSHostName"), Property("Domain"),
        Property("DomainRole", "uint16"), Property("Manufacturer"), Property("Model"),
        Property("NumberOfLogicalProcessors", "uint32"), Property("PartOfDomain", "boolean"), Property("Roles", "string[]"),
        Property("SystemType"), Property("TotalPhysicalMemory", "uint64"), Property("UserName"))),
    "win32_logonsession": ("Win32_LogonSession", ("Win32_Session", *LOGICAL), described(
        Property("Name", level=0), Property("StartTime", "datetime", level=2), Property("AuthenticationPackage"),
        Property("LogonId", key=True), Property("LogonType", "uint32"))),
    "win32_loggedonuser": ("Win32_LoggedOnUser", ("CIM_Dependency",), association("Win32_Account", "Win32_LogonSession")),
    "win32_sessionprocess": ("Win32_SessionProcess", ("CIM_Dependency",), association("Win32_LogonSession", "Win32_Process")),
}
QUERY = re.compile(r"\s*SELECT\s+(?P<what>\*|\w+(?:\s*,\s*\w+)*)\s+FROM\s+(?P<name>\w+)"
                   r"(?:\s+WHERE\s+(?P<types>LogonType\s*=\s*\d+(?:\s+OR\s+LogonType\s*=\s*\d+)*))?\s*", re.IGNORECASE | re.ASCII)


class InvalidQuery(Exception):
    """WMI does not understand the query."""


class Query:
    """A query that was understood: its class as asked for, and which of its instances."""
    shapes = {}

    def __init__(self, text, projection):
        match = QUERY.fullmatch(text)
        if not match or match["name"].lower() not in CLASSES:
            raise InvalidQuery(text)
        self.key = match["name"].lower()
        name, parents, properties = CLASSES[self.key]
        if match["types"] and self.key != "win32_logonsession":
            raise InvalidQuery(text)
        self.types = {int(number) for number in re.findall(r"\d+", match["types"])} if match["types"] else None
        known = {item.name.lower() for item in properties}
        wanted = known if match["what"] == "*" else {word.strip().lower() for word in match["what"].split(",")}
        if not wanted <= known:
            raise InvalidQuery(text)
        keys = {item.name.lower() for item in properties if item.key}
        kept = {"keys": wanted | keys, "named": wanted, "all": known}[projection]
        # What has a value: in the projection `all` the other properties are there, but null.
        self.valued = {item.name for item in properties if item.name.lower() in wanted | keys}
        cache = (name, tuple(sorted(kept)))
        if cache not in self.shapes:
            self.shapes[cache] = Shape(name, parents, [item for item in properties if item.name.lower() in kept])
        self.shape = self.shapes[cache]

    def instances(self, host):
        """The values of each instance."""
        rows = ROWS[self.key](host)
        if self.types is not None:
            rows = [row for row in rows if row["LogonType"] in self.types]
        return [{name: value for name, value in row.items() if name in self.valued} for row in rows]


def computer_system(host):
    return [{"Caption": host.name, "Description": "AT/AT COMPATIBLE", "Name": host.name, "CurrentTimeZone": -60,
             "DNSHostName": host.computer.split(".")[0], "Domain": host.dns_domain, "DomainRole": 1, "Manufacturer": "Contoso",
             "Model": "Desktop 7\N{TRADE MARK SIGN}", "NumberOfLogicalProcessors": 8, "PartOfDomain": True,
             "Roles": ["LM_Workstation", "LM_Server", "NT"], "SystemType": "x64-based PC",
             "TotalPhysicalMemory": 17 << 30, "UserName": host.console_user}]


def logon_sessions(host):
    return [{"LogonId": str(session["logon_id"]), "LogonType": session["type"], "StartTime": session["start"],
             "AuthenticationPackage": session["package"]} for session in host.logons() if not session.get("dangling")]


def logged_on_users(host):
    return [{"Antecedent": reference("Win32_Account", Domain=session["domain"], Name=session["user"]),
             "Dependent": session_reference(session)} for session in host.logons()]


def session_processes(host):
    return [{"Antecedent": session_reference(session), "Dependent": reference("Win32_Process", Handle=str(handle))}
            for session in host.logons() for handle in session["processes"]]


ROWS = {"win32_computersystem": computer_system, "win32_logonsession": logon_sessions,
        "win32_loggedonuser": logged_on_users, "win32_sessionprocess": session_processes}


def reference(class_name, **keys):
    """The path of an instance, as providers write it: backslashes and quotes in values are escaped."""
    parts = ('{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"')) for key, value in keys.items())
    return f"\\\\.\\root\\cimv2:{class_name}." + ",".join(parts)


def session_reference(session):
    return reference("Win32_LogonSession", LogonId=str(session["logon_id"]))
