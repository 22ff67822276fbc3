"""What jims is compared with: Debian packages, two of them only unpacked because they exclude one another, and impacket."""
import glob
import os
import shutil
import subprocess

from .process import Failed, command

# Installed by apt, with what the unpacked ones need.
INSTALLED = ["nginx", "wrk", "redis-server", "gcc", "libc6-dev", "openssl", "ldap-utils", "python3-venv", "libestr0", "libfastjson4",
             "liblognorm5", "libivykis0", "libnet1", "libwrap0", "libpcre3"]
# Debian's conflict with each other.
UNPACKED = ["rsyslog", "syslog-ng-core"]
# For the lab's Samba, as tests/run has them.
SAMBA = ["python3-samba", "samba", "samba-ad-dc", "samba-ad-provision", "samba-common-bin", "samba-dsdb-modules",
         "samba-vfs-modules", "winbind", "ldb-tools", "krb5-user"]
POLICY = "/usr/sbin/policy-rc.d"


def version(package):
    """The installed version of a package, or nothing."""
    done = subprocess.run(["dpkg-query", "-W", "-f=${Status}|${Version}", package], capture_output=True, text=True, check=False)
    status, _, found = done.stdout.partition("|")
    return found if status.endswith("ok installed") else None


def _exists(package):
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0


def install():
    """Installs what is missing, as root or through sudo; no daemon starts."""
    missing = [package for package in INSTALLED + SAMBA if version(package) is None]
    # Other releases have these in other packages.
    missing = [package for package in missing if package in INSTALLED or _exists(package)]
    if not missing:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode != 0:
        raise Failed(f"missing: {' '.join(missing)}; run as root or with sudo, or install them first")
    print(f"installing {' '.join(missing)}", flush=True)
    made_policy = not os.path.exists(POLICY)
    if made_policy:
        command([*sudo, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{POLICY} && chmod 755 {POLICY}"])
    try:
        command([*sudo, "apt-get", "-q", "update"])
        command([*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "install",
                 "--no-install-recommends", *missing], seconds=1200)
    finally:
        if made_policy:
            command([*sudo, "rm", "-f", POLICY])


class Peers:
    """Paths and versions of the peers."""

    def __init__(self, folder):
        install()
        self.root = os.path.join(folder, "unpacked")
        os.makedirs(self.root, exist_ok=True)
        self.versions = {package: version(package) for package in INSTALLED[:3] + ["samba", "ldap-utils"]}
        downloads = os.path.join(folder, "downloads")
        os.makedirs(downloads, exist_ok=True)
        for package in UNPACKED:
            command(["apt-get", "-q", "download", package], cwd=downloads)
            archive = glob.glob(f"{downloads}/{package}_*.deb")[0]
            command(["dpkg", "-x", archive, self.root])
            self.versions[package] = command(["dpkg-deb", "-f", archive, "Version"]).strip()
        shutil.rmtree(downloads)
        self._folder, self._python = folder, None

    def under(self, pattern):
        """The one path in the unpacked packages that matches."""
        found = glob.glob(os.path.join(self.root, pattern))
        if not found:
            raise Failed(f"the unpacked packages hold no {pattern}")
        return found[0]

    def python(self):
        """A Python that has impacket; made when first asked for."""
        if self._python is None:
            venv = os.path.join(self._folder, "venv")
            command(["/usr/bin/python3", "-m", "venv", venv])
            command([f"{venv}/bin/pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps", "-r",
                     "tests/lab/peers/requirements.txt"])
            self._python = f"{venv}/bin/python"
            with open("tests/lab/peers/requirements.txt", encoding="utf-8") as file:
                pinned = [line.split("==") for line in file if line.startswith("impacket==")]
            self.versions["impacket"] = pinned[0][1].strip()
        return self._python
