#!/usr/bin/python3
"""Every dependency's licence is one that deny.toml allows, and no banned crate is in the tree."""
import json
import re
import subprocess
import sys
import tomllib

with open("deny.toml", "rb") as file:
    rules = tomllib.load(file)
allowed = set(rules["licenses"]["allow"])
banned = {entry["crate"] for entry in rules["bans"]["deny"]}
metadata = json.loads(subprocess.check_output(
    ["cargo", "metadata", "--format-version", "1", "--locked",
     "--filter-platform", "x86_64-unknown-linux-gnu"]))
bad = []


def satisfied(expression):
    """Whether the allowed licences satisfy an SPDX expression (OR, AND, WITH, parentheses)."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    text = " ".join(
        {"OR": "or", "AND": "and", "(": "(", ")": ")"}.get(word, str(word in allowed))
        for word in re.sub(r" WITH \S+", "", " ".join(words)).split()
    )
    return eval(text, {"__builtins__": {}})


for package in metadata["packages"]:
    if package["source"] is None:
        continue
    if package["name"] in banned:
        bad.append(f"{package['name']} is banned by deny.toml")
    licence = package["license"]
    if licence is None or not satisfied(licence):
        bad.append(f"{package['name']} {package['version']}: licence {licence}")
print("\n".join(bad) if bad else f"{len(metadata['packages']) - 1} dependencies, all with an allowed licence")
sys.exit(bool(bad))
