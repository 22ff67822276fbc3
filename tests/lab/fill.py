#!/usr/bin/python3
"""Fills the lab's Samba with users, computers and nested groups, straight into its database: fill.py DIR USERS.

User i is uNNNNNN, computer i WS-NNNNN; names hold letters beyond ASCII, apostrophes and commas. Group G-000 holds
G-001, which holds G-002, … down to G-009; user i is in group G-(i mod 10); G-ALL holds every user. svc-jims may read.
"""
import sys

import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

folder, count = sys.argv[1], int(sys.argv[2])
parameters = LoadParm()
parameters.load(folder + "/etc/smb.conf")
parameters.set("log level", "0")
parameters.set("ldb:nosync", "true")
db = SamDB(url=folder + "/private/sam.ldb", lp=parameters, session_info=system_session(parameters), options=["batch_mode:1"])
base = str(db.domain_dn())
domain = db.domain_dns_name()
given = "Ada Grace Jürgen Łukasz Nguyễn Zoë Søren François Mei Iñigo".split()
family = ["Lovelace", "Hopper", "O'Brien", "Müller", "Ångström", "Škoda", "García, jr.", "Smith"]


def dn_value(text):
    return text.replace(",", "\\,")


db.transaction_start()
db.add({"dn": f"OU=Lab,{base}", "objectClass": "organizationalUnit"})
users = []
for i in range(count):
    name = f"{given[i % len(given)]} {family[i % len(family)]} {i}"
    dn = f"CN={dn_value(name)},OU=Lab,{base}"
    db.add({"dn": dn, "objectClass": "user", "sAMAccountName": f"u{i:06d}", "displayName": name,
            "userPrincipalName": f"u{i:06d}@{domain}", "userAccountControl": "544"})
    users.append(dn)
for i in range(count // 4):
    db.add({"dn": f"CN=WS-{i:05d},OU=Lab,{base}", "objectClass": "computer", "sAMAccountName": f"WS-{i:05d}$",
            "dNSHostName": f"ws-{i:05d}.{domain}", "userAccountControl": "4096",
            "operatingSystem": "Windows 11 Enterprise", "operatingSystemVersion": "10.0 (22631)"})
for i in range(9, -1, -1):
    members = users[i::10] + ([f"CN=G-{i + 1:03d},OU=Lab,{base}"] if i < 9 else [])
    db.add({"dn": f"CN=G-{i:03d},OU=Lab,{base}", "objectClass": "group", "sAMAccountName": f"G-{i:03d}",
            "groupType": "-2147483640", "member": members})
db.add({"dn": f"CN=G-ALL,OU=Lab,{base}", "objectClass": "group", "sAMAccountName": "G-ALL",
        "groupType": "-2147483640", "member": users})
db.add({"dn": f"CN=G-EMPTY,OU=Lab,{base}", "objectClass": "group", "sAMAccountName": "G-EMPTY", "groupType": "-2147483640"})
db.transaction_commit()
# A plain account, and one that may see deleted objects.
for account, password in (("svc-jims", "Svc-Jims!1"), ("svc-plain", "Svc-Plain!1")):
    db.newuser(account, password)
message = ldb.Message(ldb.Dn(db, f"CN=Domain Admins,CN=Users,{base}"))
message["member"] = ldb.MessageElement(f"CN=svc-jims,CN=Users,{base}", ldb.FLAG_MOD_ADD, "member")
db.modify(message)
# Samba's own update of service names is switched off: Kerberos to LDAP needs this one.
message = ldb.Message(ldb.Dn(db, f"CN=DC1,OU=Domain Controllers,{base}"))
message["servicePrincipalName"] = ldb.MessageElement(f"ldap/dc1.{domain}", ldb.FLAG_MOD_ADD, "servicePrincipalName")
db.modify(message)
print(f"{len(users)} users, {count // 4} computers, 12 groups")
