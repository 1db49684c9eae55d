package ca

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"mailcertd/internal/durable"
)

// conf is the text of openssl.cnf, with which a person can run `openssl ca -config openssl.cnf …` in the CA directory.
// Its first line begins with mark.
func conf(o Options, mark string) []byte {
	crlDays := o.CRLDays
	if crlDays == 0 {
		crlDays = 30
	}
	return confText(mark, crlDays)
}

func confText(mark string, crlDays int) []byte {
	return fmt.Appendf(nil, mark+`, which changes it only to bring what it wrote itself up to date. For work by hand:
`+confBody, "SERIAL", randSerial, leafDays, crlDays)
}

// confBefore is the text that the first versions of mailcertd wrote: with it openssl counts serial numbers up.
func confBefore(mark string, crlDays int) []byte {
	return fmt.Appendf(nil, mark+`, and never changed by it again. For work by hand:
`+confBody, "05", "", leafDays, crlDays)
}

// leafDays is default_days of openssl.cnf.
const leafDays = 365

// randSerial makes openssl 1.1.1 and later draw serial numbers at random. With counted numbers, an `openssl ca` that
// waits at its prompt would use a number that mailcertd may give to another certificate meanwhile. openssl then does
// not read the serial file, so that the file stays valid.
const randSerial = `# Drawn at random, as mailcertd does: whoever else signs at this time cannot take the same one.
rand_serial      = yes
`

// newerConf is the present text for an openssl.cnf that is, byte for byte, what an earlier version wrote. It is nil
// where the file must stay as it is: it is current, missing or unreadable, or a person has changed it.
func newerConf(dir string) []byte {
	n := durable.Read(filepath.Join(dir, confName), maxFile)
	m := confCRLDays().FindSubmatch(n.Data)
	if n.Err != nil || m == nil {
		return nil
	}
	crlDays, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return nil
	}
	for _, mark := range []string{madeMark, suppliedFor} {
		if bytes.Equal(n.Data, confBefore(mark, crlDays)) {
			return confText(mark, crlDays)
		}
	}
	return nil
}

var confCRLDays = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^default_crl_days = ([0-9]{1,6})$`)
})

const confBody = `#   cd to this directory, then
#   openssl ca -config openssl.cnf -in host.csr -out host.cert
#   openssl ca -config openssl.cnf -revoke newcerts/%s.pem
#   openssl ca -config openssl.cnf -gencrl -out crl.pem

[ ca ]
default_ca       = mailcertd

[ mailcertd ]
dir              = .
database         = $dir/index.txt
new_certs_dir    = $dir/newcerts
certificate      = $dir/cacert.pem
private_key      = $dir/cakey.pem
serial           = $dir/serial
%scrlnumber        = $dir/crlnumber
crl              = $dir/crl.pem
default_days     = %d
default_crl_days = %d
default_md       = sha256
policy           = any
preserve         = no
email_in_dn      = no
string_mask      = utf8only
# A renewed certificate has the subject of the one before.
unique_subject   = no
x509_extensions  = leaf
crl_extensions   = crl
# The names of a request (subjectAltName) are taken over; what stands in the
# section below cannot be overruled by it. Read what you sign.
copy_extensions  = copy

[ any ]
countryName            = optional
stateOrProvinceName    = optional
localityName           = optional
organizationName       = optional
organizationalUnitName = optional
commonName             = optional
emailAddress           = optional

[ leaf ]
basicConstraints       = critical, CA:FALSE
keyUsage               = critical, digitalSignature, keyEncipherment
extendedKeyUsage       = serverAuth, clientAuth
subjectKeyIdentifier   = hash
authorityKeyIdentifier = keyid

[ crl ]
authorityKeyIdentifier = keyid

[ req ]
distinguished_name     = request
string_mask            = utf8only

[ request ]
commonName             = Host name
commonName_max         = 64
`
