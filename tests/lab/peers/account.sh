#!/bin/bash
# Makes the server account that the test peer accepts Kerberos with, and its keytab, in a Samba AD of the lab.
#   account.sh SMB_CONF FQDN KEYTAB [COMPUTER]     e.g. account.sh $LAB/ad/etc/smb.conf evt1.corp.example.com evt1.keytab
# The account is the host's name in capitals unless COMPUTER is given; more names may share one account.
set -euo pipefail
conf=$1 fqdn=$2 keytab=$3
name=${4:-$(tr a-z A-Z <<<"${fqdn%%.*}")}
# Samba logs its audit lines to standard error: they go beside the keytab.
tool() { /usr/bin/samba-tool "$@" -s "$conf" 2>>"$keytab.log"; }

tool computer show "$name" >/dev/null 2>&1 || {
  tool computer create "$name" >/dev/null
  # Without a password the export silently writes nothing.
  tool user setpassword "$name\$" --newpassword="Peer-$(openssl rand -hex 12)-Aa1" >/dev/null
  tool user enable "$name\$" >/dev/null
  # AES only (24) and RC4 for old tickets (4).
  dn=$(tool computer show "$name" | sed -n 's/^dn: //p')
  printf 'dn: %s\nchangetype: modify\nreplace: msDS-SupportedEncryptionTypes\nmsDS-SupportedEncryptionTypes: 28\n' "$dn" |
    ldbmodify -H "$(dirname "$conf")/../private/sam.ldb" >/dev/null
}
tool spn add "host/$fqdn" "$name\$" >/dev/null 2>&1 || true
rm -f "$keytab"
tool domain exportkeytab "$keytab" --principal="$name\$" >/dev/null
[ -s "$keytab" ] || { echo "no keys were exported for $name\$" >&2; exit 1; }
