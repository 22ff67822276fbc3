"""The syslog lines that all sides get, and what each side is told to take out of them.

Eight rules of gateways, portals and DHCP servers; RFC 5424 and RFC 3164 in turn; each line names one user (or device) and
one address. Every line matches a rule, so that what came of it can be counted: jims counts an event, the peers write
`USER ADDRESS` to a file, whose length is known in advance.
"""
import datetime

DOMAIN = "corp.example.com"

# Program, text with {user} and {address}, how often among 16 lines, jims's event.
KINDS = [
    ("radiusd", "Connect: [{user}] (did 00-11-22-33-44-55 campus cli 66-77-88-99-aa-bb port 12 ip {address})", 5, "logon"),
    ("radiusd", "Disconnect: [{user}] (did 00-11-22-33-44-55 campus cli 66-77-88-99-aa-bb port 12 ip {address}) 3600 seconds", 1,
     "logoff"),
    ("charon", "assigning virtual IP {address} to peer '{user}'", 3, "logon"),
    ("charon", "lease {address} by '{user}' went offline", 1, "logoff"),
    ("openvpn", "{user}/198.51.100.7 MULTI: primary virtual IP for {user}/198.51.100.7: {address}", 2, "logon"),
    ("portal", "login user={user} ip={address} ssid=campus ap=ap-17 method=eap-tls", 2, "logon"),
    ("dhcpd", "DHCPACK on {address} to 66:77:88:99:aa:bb ({user}) via eth0", 1, "device-logon"),
    ("nac", "posture of {user} at {address} is healthy, policy standard", 1, "identity"),
]

PROGRAM = r"^{}\[[0-9]+\]: "
NAME, ADDRESS = "(?<user>[0-9A-Za-z.-]+)", "(?<address>[0-9.]+)"
DEVICE = "(?<device>[0-9A-Za-z.-]+)"

PATTERNS = [
    rf"Connect: \[{NAME}\] \(did [^()]* cli [^()]* port [0-9]+ ip {ADDRESS}\)$",
    rf"Disconnect: \[{NAME}\] \(did [^()]* cli [^()]* port [0-9]+ ip {ADDRESS}\) [0-9]+ seconds$",
    rf"assigning virtual IP {ADDRESS} to peer '{NAME}'$",
    rf"lease {ADDRESS} by '{NAME}' went offline$",
    rf"{NAME}/[0-9.]+ MULTI: primary virtual IP for [^/]+/[0-9.]+: {ADDRESS}$",
    rf"login user={NAME} ip={ADDRESS} ssid=\S* ap=\S* method=\S*$",
    rf"DHCPACK on {ADDRESS} to [0-9a-f:]+ \({DEVICE}\) via \S+$",
    rf"posture of {NAME} at {ADDRESS} is [a-z]+, policy \S+$",
]


def jims_template():
    """A template of eight rules, as an operator would write it."""
    text = ['[[syslog_template]]', 'name = "gateways"']
    for number, ((program, _, _, event), pattern) in enumerate(zip(KINDS, PATTERNS)):
        text += ["[[syslog_template.rule]]", f'name = "rule-{number}"', f'event = "{event}"',
                 f"pattern = '''{PROGRAM.format(program)}{pattern}'''"]
    return "\n".join(text) + "\n"


def rsyslog_rules():
    """For liblognorm: with and without the blank that RFC 3164 leaves before the text."""
    user, address = "%user:char-to:{}%", "%address:ipv4%"
    texts = [
        f"Connect: [{user.format(']')}] (did %-:char-to:(% cli %-:char-to: % port %-:number% ip {address})",
        f"Disconnect: [{user.format(']')}] (did %-:char-to: % campus cli %-:char-to: % port %-:number% ip {address}) %-:number% seconds",
        f"assigning virtual IP {address} to peer '{user.format(chr(39))}'",
        f"lease {address} by '{user.format(chr(39))}' went offline",
        f"{user.format('/')}/%-:ipv4% MULTI: primary virtual IP for %-:char-to:/%/%-:ipv4%: {address}",
        f"login user=%user:word% ip={address} ssid=%-:word% ap=%-:word% method=%-:word%",
        f"DHCPACK on {address} to %-:word% ({user.format(')')}) via %-:word%",
        f"posture of %user:word% at {address} is %-:char-to:,%, policy %-:word%",
    ]
    texts[0] = texts[0].replace("(did %-:char-to:(% cli", "(did %-:char-to: % campus cli")
    rules = [f"rule=:{blank}{text}" for text in texts for blank in ("", " ")]
    return "version=2\n" + "\n".join(rules) + "\n"


def rsyslog_regexes():
    """Assignments with POSIX extended expressions, two for a line; nothing is checked that tells no rules apart."""
    user, address = "([0-9A-Za-z.-]+)", "([0-9.]+)"
    texts = {
        "radiusd": (f"onnect: \\[{user}\\]", f" ip {address}\\)"),
        "charon": (f"(peer|by) '{user}'", f"(IP|lease) {address} "),
        "openvpn": (f"{user}/", f": {address}$"),
        "portal": (f"login user={user} ", f" ip={address} "),
        "dhcpd": (f"\\({user}\\)", f"DHCPACK on {address} "),
        "nac": (f"posture of {user} at", f" at {address} is"),
    }

    def take(name, pattern):
        group = 2 if pattern.startswith("(") and "|" in pattern else 1
        quoted = pattern.replace("\\", "\\\\").replace("$", "\\$")
        return f'set $!{name} = re_extract($msg, "{quoted}", 0, {group}, "");'
    branches = [f'if $programname == "{program}" then {{ {take("user", by_user)} {take("address", by_address)} }}'
                for program, (by_user, by_address) in texts.items()]
    return " else ".join(branches)


def syslog_ng_patterns():
    """A patterndb."""
    user = "@ESTRING:user:{}@"
    address = "@IPv4:address@"
    texts = {
        "radiusd": [f"Connect: [{user.format(']')} (did @ESTRING::(@",
                    None],
        "charon": [f"assigning virtual IP {address} to peer '{user.format(chr(39))}",
                   f"lease {address} by '{user.format(chr(39))} went offline"],
        "openvpn": [f"{user.format('/')}@IPv4:@ MULTI: primary virtual IP for @ESTRING::/@@IPv4:@: {address}"],
        "portal": [f"login user={user.format(' ')}ip={address} ssid=@ESTRING:: @ap=@ESTRING:: @method=@ANYSTRING:@"],
        "dhcpd": [f"DHCPACK on {address} to @ESTRING:: @({user.format(')')} via @ANYSTRING:@"],
        "nac": [f"posture of {user.format(' ')}at {address} is @ESTRING::,@ policy @ANYSTRING:@"],
    }
    did = "(did @ESTRING:: @campus cli @ESTRING:: @port @NUMBER:@ ip"
    texts["radiusd"] = [f"Connect: [{user.format(']')} {did} {address})",
                        f"Disconnect: [{user.format(']')} {did} {address}) @NUMBER:@ seconds"]
    xml = ["<?xml version='1.0' encoding='UTF-8'?>", "<patterndb version='4' pub_date='2026-01-01'>"]
    number = 0
    for program, patterns in texts.items():
        xml.append(f"<ruleset name='{program}' id='set-{program}'><pattern>{program}</pattern><rules>")
        for pattern in patterns:
            number += 1
            xml.append(f"<rule provider='bench' id='rule-{number}' class='system'><patterns><pattern>{pattern}</pattern>"
                       "</patterns></rule>")
        xml.append("</rules></ruleset>")
    return "\n".join([*xml, "</patterndb>"]) + "\n"


class Lines:
    """So many lines in a file, and how many bytes the peers write of them."""

    def __init__(self, path, count, users=200_000, first_address=0x0A400001):
        order = [index for index, kind in enumerate(KINDS) for _ in range(kind[2])]
        # Kinds mixed: 7 has no common divisor with 16.
        order = [order[(7 * place) % len(order)] for place in range(len(order))]
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        stamps = [f"<134>1 {now.strftime('%Y-%m-%dT%H:%M:%S')}.000Z gw01 {{}} 812 - - ",
                  f"<134>{now.astimezone().strftime('%b')} {now.astimezone().day:2d} {now.astimezone().strftime('%H:%M:%S')} gw01 {{}}[812]: "]
        heads = [[stamp.format(KINDS[index][0]) for stamp in stamps] for index in range(len(KINDS))]
        texts = [kind[1] for kind in KINDS]
        self.path, self.count, self.output_bytes, self.bytes = path, count, 0, 0
        with open(path, "w", encoding="ascii") as file:
            lines = []
            for line in range(count):
                kind = order[line % 16]
                value = first_address + line
                user = f"u{line * 7919 % users:06d}"
                address = f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
                # Both forms for each kind: 16 lines of one, then of the other.
                lines.append(heads[kind][line >> 4 & 1] + texts[kind].format(user=user, address=address) + "\n")
                self.output_bytes += len(user) + len(address) + 2
                if len(lines) == 10_000:
                    self.bytes += file.write("".join(lines))
                    lines.clear()
            self.bytes += file.write("".join(lines))


def shown(words, lines):
    """A sender's words as somebody else would write them: the file has another name each time."""
    return " ".join("LINES" if word == lines.path else str(word) for word in words)
