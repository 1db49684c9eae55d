package certdir

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"mailcertd/internal/durable"
)

// isCRLLinkName says whether name is that of a hash link to a CRL: the issuer's hash, a dot, r and a number
// (X509_LOOKUP_hash_dir(3)).
func isCRLLinkName(name string) bool {
	hash, number, ok := strings.Cut(name, ".r")
	if !ok || len(hash) != 8 || strings.Trim(hash, "0123456789abcdef") != "" {
		return false
	}
	return number != "" && len(number) <= 4 && strings.Trim(number, "0123456789") == "" &&
		(number == "0" || number[0] != '0')
}

// CRLLinks returns the changes after which OpenSSL finds crl.pem under the hash of each issuer. sendmail reads only the
// first list of its CRLFile, and finds those of other CA generations in CACertPath. have is Dir.CRLLinks. Without
// issuers all links to crl.pem are removed. Entries that are not links to crl.pem belong to others: they stay, and the
// next number is used.
func CRLLinks(have map[string]string, issuers []*x509.Certificate) []LinkChange {
	var out []LinkChange
	keep := map[string]bool{}
	for _, h := range subjectHashes(issuers) {
		for n := 0; ; n++ {
			name := fmt.Sprintf("%08x.r%d", h, n)
			target, there := have[name]
			if there && target != CRLName {
				continue
			}
			keep[name] = true
			if !there {
				out = append(out, LinkChange{Name: name, Target: CRLName})
			}
			break
		}
	}
	for name, target := range have {
		if target == CRLName && !keep[name] {
			out = append(out, LinkChange{Name: name, Why: "a link to a CRL that mailcertd does not maintain"})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// crlLink adds an entry to CRLLinks if it has the name of such a link, and says whether it has.
func (d *Dir) crlLink(path, name string) bool {
	if !isCRLLinkName(name) {
		return false
	}
	n := durable.Look(filepath.Join(path, name))
	if d.CRLLinks == nil {
		d.CRLLinks = map[string]string{}
	}
	d.CRLLinks[name] = n.Target
	if n.Err != nil && n.Target == "" {
		d.CRLErr = n.Err
	}
	if n.Waits {
		d.CRLWaits = append(d.CRLWaits, n.Path)
	}
	return true
}
