#!/bin/sh
# Makes the TLS files that FreeBSD's rc.d/sendmail makes on a first boot, with the
# same kind of openssl commands: a CA and a host certificate with one DN, both
# RSA-2048, and without the CA's key. Tests and benchmarks compare with it.
#   stanza.sh DIR [NAME]
set -eu
dir=$1 name=${2:-mail.example.org}
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >conf <<END
[ ca ]
default_ca = d
[ d ]
dir = .
database = \$dir/index.txt
new_certs_dir = \$dir/newcerts
certificate = \$dir/cacert.pem
serial = \$dir/serial
private_key = \$dir/cakey.pem
x509_extensions = usr
default_days = 365
default_md = sha256
policy = any
[ any ]
countryName = optional
stateOrProvinceName = optional
localityName = optional
organizationName = optional
commonName = supplied
[ req ]
distinguished_name = dn
prompt = no
x509_extensions = v3_ca
[ dn ]
C = XX
ST = Some-state
L = Some-city
O = Some-org
CN = $name
[ usr ]
basicConstraints = CA:FALSE
nsComment = "OpenSSL Generated Certificate"
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
[ v3_ca ]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = critical,CA:true
END
mkdir newcerts
: >index.txt
echo 01 >serial
mkdir -p "$dir"
openssl req -batch -config conf -newkey rsa:2048 -nodes -keyout cakey.pem -new -x509 -days 3650 -out cacert.pem 2>/dev/null
openssl req -batch -config conf -newkey rsa:2048 -nodes -keyout host.key -new -out host.csr 2>/dev/null
openssl ca -batch -config conf -notext -in host.csr -out host.cert 2>/dev/null
install -m 0600 host.key "$dir/host.key"
install -m 0644 host.cert "$dir/host.cert"
install -m 0644 cacert.pem "$dir/cacert.pem"
ln -sf cacert.pem "$dir/$(openssl x509 -hash -noout -in cacert.pem).0"
