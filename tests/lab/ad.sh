#!/bin/bash
# A real Active Directory for the lab tests: one Samba domain controller on a loopback address.
#   ad.sh up DIR [DOMAIN ADDRESS]   provisions (first time) and starts it; returns when LDAPS answers
#   ad.sh down DIR                  stops it
# By default domain corp.example.com (CORP), dc1.corp.example.com = 127.77.0.10; a second one is a forest of its own.
# Administrator / Passw0rd!lab, certificate authority in DIR/tls/ca.pem. Everything lives in DIR; nothing of the machine's
# own Samba is touched.
set -euo pipefail
command=$1
dir=$2
domain=${3:-corp.example.com}
ip=${4:-127.77.0.10}
realm=${domain^^}
short=${realm%%.*}
fqdn=dc1.$domain
pid_file=$dir/run/samba.pid

alive() { [ -f "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }

stop() {
  alive || return 0
  local pid
  pid=$(cat "$pid_file")
  kill "$pid"
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$pid"
}

make_certificates() (
  cd "$dir/tls"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$short lab CA" -keyout ca.key -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$fqdn" -keyout key.pem -out request.pem
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:%s,IP:127.77.0.30,IP:127.77.0.31\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$fqdn" "$ip" >extensions
  openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions -out cert.pem
  chmod 600 key.pem ca.key
)

provision() {
  make_certificates >"$dir/log/tls.log" 2>&1
  printf '[global]\n' >"$dir/empty.conf"
  /usr/bin/samba-tool domain provision --configfile="$dir/empty.conf" --targetdir="$dir" --realm="$realm" \
    --domain="$short" --adminpass='Passw0rd!lab' --server-role=dc --dns-backend=SAMBA_INTERNAL --host-name=dc1 \
    --host-ip="$ip" >"$dir/log/provision.log" 2>&1 || { tail -5 "$dir/log/provision.log" >&2; exit 1; }
  cat >"$dir/etc/smb.conf" <<S
[global]
 netbios name = DC1
 realm = $realm
 workgroup = $short
 server role = active directory domain controller
 interfaces = $ip/8
 bind interfaces only = yes
 server services = rpc, ldap, cldap, kdc, dns
 dns forwarder =
 dns update command = /bin/true
 spn update command = /bin/true
 ldap server require strong auth = allow_sasl_over_tls
 tls enabled = yes
 tls keyfile = $dir/tls/key.pem
 tls certfile = $dir/tls/cert.pem
 tls cafile = $dir/tls/ca.pem
 private dir = $dir/private
 state directory = $dir/state
 cache directory = $dir/cache
 lock directory = $dir
 binddns dir = $dir/bind-dns
 pid directory = $dir/run
 ncalrpc dir = $dir/run/ncalrpc
 winbindd socket directory = $dir/run/winbindd
 ntp signd socket directory = $dir/run/signd
 log file = $dir/log/log.%m
 load printers = no
 printing = bsd
 printcap name = /dev/null
 disable spoolss = yes
 log level = 1 auth_json_audit:5@$dir/log/auth.json
[sysvol]
 path = $dir/state/sysvol
 read only = no
[netlogon]
 path = $dir/state/sysvol/$domain/scripts
 read only = no
S
  touch "$dir/provisioned"
}

case $command in
down) stop ;;
up)
  alive && exit 0
  mkdir -p "$dir"/{log,run/ncalrpc,run/winbindd,run/signd,tls,cache,state}
  chmod 755 "$dir/run/winbindd"
  chmod 750 "$dir/run/signd"
  [ -f "$dir/provisioned" ] || provision
  # A private /run/samba: the path of winbind's socket is compiled into the library.
  mkdir -p /run/samba 2>/dev/null || true
  unshare -m --propagation private sh -c \
    '[ ! -d /run/samba ] || mount --bind "$0/run" /run/samba; exec samba -s "$0/etc/smb.conf" -D -l "$0/log" --model=prefork --option="prefork children=2"' "$dir"
  for _ in $(seq 300); do
    if LDAPTLS_CACERT=$dir/tls/ca.pem ldapsearch -x -H "ldaps://$ip" -s base -b '' -LLL dnsHostName >/dev/null 2>&1; then exit 0; fi
    sleep 0.1
  done
  echo "Samba did not answer on $ip; see $dir/log" >&2
  exit 1
  ;;
*) echo "usage: ad.sh up|down DIR" >&2; exit 2 ;;
esac
