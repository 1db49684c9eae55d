package mta

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"net"
	"strings"

	"mailcertd/internal/pki"
)

const (
	notPermitted = "permitted subtree violation"
	excluded     = "excluded subtree violation"
	unknownName  = "unsupported name constraint type"
)

// The kinds of GeneralName (RFC 5280 4.2.1.6) that are compared.
const (
	kindEmail = 1
	kindDNS   = 2
	kindDN    = 4
	kindIP    = 7
)

// generalName is one name of a certificate, or the base of a subtree.
type generalName struct {
	kind  int
	bytes []byte
}

// subtrees are the name constraints of one certificate.
type subtrees struct{ permitted, excluded []generalName }

// constraints applies every name constraint in the chain to the certificates below it, as OpenSSL does after all other
// checks: to all names of the leaf, and to CA certificates that are not self-issued.
func (ch chain) constraints() string {
	for n := len(ch.certs) - 1; n > 0; n-- {
		nc, ok := constraintsOf(ch.certs[n])
		if !ok {
			continue
		}
		for below := n - 1; below >= 0; below-- {
			c := ch.certs[below]
			if below > 0 && pki.SameName(c.RawSubject, c.RawIssuer) {
				continue
			}
			for _, name := range namesOf(c, below == 0) {
				if f := nc.fault(name); f != "" {
					return f
				}
			}
		}
	}
	return ""
}

func constraintsOf(c *x509.Certificate) (subtrees, bool) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) {
			continue
		}
		var parts []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &parts); err != nil {
			return subtrees{}, false
		}
		var s subtrees
		for _, p := range parts {
			for rest := p.Bytes; len(rest) > 0; {
				var tree []asn1.RawValue
				var err error
				if rest, err = asn1.Unmarshal(rest, &tree); err != nil || len(tree) == 0 {
					break
				}
				g := generalName{tree[0].Tag, tree[0].Bytes}
				if p.Tag == 0 {
					s.permitted = append(s.permitted, g)
				} else {
					s.excluded = append(s.excluded, g)
				}
			}
		}
		return s, true
	}
	return subtrees{}, false
}

// namesOf returns the subject, its e-mail addresses and the subjectAltName. For a leaf without a dNSName it adds the
// common name where that looks like one.
func namesOf(c *x509.Certificate, leaf bool) []generalName {
	var out []generalName
	if len(c.Subject.Names) > 0 {
		out = append(out, generalName{kindDN, c.RawSubject})
	}
	for _, a := range c.Subject.Names {
		if s, ok := a.Value.(string); ok && a.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}) {
			out = append(out, generalName{kindEmail, []byte(s)})
		}
	}
	dns := false
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var all []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &all); err != nil {
			continue
		}
		for _, n := range all {
			dns = dns || n.Tag == kindDNS
			out = append(out, generalName{n.Tag, n.Bytes})
		}
	}
	if leaf && !dns {
		for _, a := range c.Subject.Names {
			if s, ok := a.Value.(string); ok && a.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) && looksLikeDNS(s) {
				out = append(out, generalName{kindDNS, []byte(s)})
			}
		}
	}
	return out
}

// looksLikeDNS follows cn2dnsid in OpenSSL's v3_ncons.c: at least two labels of letters, digits, hyphens and
// underscores.
func looksLikeDNS(s string) bool {
	dots := 0
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '_':
		case i == 0 || i == len(s)-1:
			return false
		case b == '-':
		case b == '.' && s[i+1] != '.' && s[i-1] != '-' && s[i+1] != '-':
			dots++
		default:
			return false
		}
	}
	return dots > 0
}

func (s subtrees) fault(name generalName) string {
	asked, ok := false, false
	for _, base := range s.permitted {
		if base.kind != name.kind {
			continue
		}
		in, known := inSubtree(name, base)
		if !known {
			return unknownName
		}
		asked, ok = true, ok || in
	}
	if asked && !ok {
		return notPermitted
	}
	for _, base := range s.excluded {
		if base.kind != name.kind {
			continue
		}
		in, known := inSubtree(name, base)
		if !known {
			return unknownName
		}
		if in {
			return excluded
		}
	}
	return ""
}

// inSubtree says whether name is in the subtree of base. Both are of one kind; known is false for a kind that OpenSSL
// does not compare.
func inSubtree(name, base generalName) (in, known bool) {
	n, b := string(name.bytes), string(base.bytes)
	switch name.kind {
	case kindDNS:
		return b == "" || strings.EqualFold(n, b) || hasSuffixFold(n, b) &&
			(b[0] == '.' || n[len(n)-len(b)-1] == '.'), true
	case kindEmail:
		at, baseAt := strings.LastIndexByte(n, '@'), strings.LastIndexByte(b, '@')
		switch {
		case at < 0:
			return false, false
		case b != "" && b[0] == '.':
			return hasSuffixFold(n, b), true
		case baseAt > 0:
			return n[:at] == b[:baseAt] && strings.EqualFold(n[at:], b[baseAt:]), true
		}
		return strings.EqualFold(n[at+1:], strings.TrimPrefix(b, "@")), true
	case kindIP:
		if len(b) != 2*len(n) || len(n) != net.IPv4len && len(n) != net.IPv6len {
			return false, true
		}
		for i := range len(n) {
			if (n[i]^b[i])&b[len(n)+i] != 0 {
				return false, true
			}
		}
		return true, true
	case kindDN:
		return pki.BelowName(name.bytes, base.bytes), true
	}
	return bytes.Equal(name.bytes, base.bytes), false
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) > len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
