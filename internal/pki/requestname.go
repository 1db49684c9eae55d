package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"slices"
	"strings"
)

// Limits of the names in a request.
const (
	maxNames = 100
	maxCN    = 64 // characters, RFC 5280 appendix A.1 (ub-common-name)
)

// generalNames are the choices of GeneralName by tag (RFC 5280 section 4.2.1.6).
var generalNames = []string{"otherName", "email", "DNS", "x400Address", "directoryName", "ediPartyName", "URI", "IP",
	"registeredID"}

// readSubject keeps the common name and ignores all other attributes.
func (r *Request) readSubject(der []byte) error {
	var subject pkix.RDNSequence
	if err := exactly(der, &subject); err != nil {
		return refuse("has a subject that cannot be parsed, must be a distinguished name")
	}
	seen := 0
	for _, rdn := range subject {
		for _, a := range rdn {
			if !a.Type.Equal(oidCommonName) {
				continue
			}
			if seen++; seen > 1 {
				return refuse("has several common names, may have at most one")
			}
			text, ok := a.Value.(string)
			if !ok {
				return refuse("has a common name that is not text, must be a string")
			}
			name, ip, err := readName("common name", text)
			if err != nil {
				return err
			}
			if r.CommonName = name; ip != nil {
				r.CommonName = ip.String()
			}
		}
	}
	return nil
}

// readAltNames keeps the names of subjectAltName (RFC 5280 section 4.2.1.6).
func (r *Request) readAltNames(der []byte) error {
	var names []asn1.RawValue
	if err := exactly(der, &names); err != nil || len(names) == 0 {
		return refuse("has a subjectAltName that cannot be parsed, must be a list of names")
	}
	if len(names) > maxNames {
		return refuse("has %d names, may have at most %d", len(names), maxNames)
	}
	for _, n := range names {
		switch {
		case n.Class != asn1.ClassContextSpecific || n.Tag >= len(generalNames):
			return refuse("has a subjectAltName that cannot be parsed, it has class %d and tag %d", n.Class, n.Tag)
		case n.Tag != 2 && n.Tag != 7:
			return refuse("has a subjectAltName of kind %s, must be DNS or IP", generalNames[n.Tag])
		case n.IsCompound:
			return refuse("has a subjectAltName that cannot be parsed, its %s is constructed", generalNames[n.Tag])
		case n.Tag == 7:
			if len(n.Bytes) != net.IPv4len && len(n.Bytes) != net.IPv6len {
				return refuse("has an IP address of %d octets, must be 4 or 16", len(n.Bytes))
			}
			r.addIP(n.Bytes)
		default:
			name, ip, err := readName("DNS name", string(n.Bytes))
			if err != nil {
				return err
			}
			if ip != nil {
				return refuse("has the IP address %s as a DNS name, must be an IP address", ip)
			}
			if !slices.Contains(r.DNSNames, name) {
				r.DNSNames = append(r.DNSNames, name)
			}
		}
	}
	return nil
}

func (r *Request) addIP(ip net.IP) {
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	if !slices.ContainsFunc(r.IPs, ip.Equal) {
		r.IPs = append(r.IPs, slices.Clone(ip))
	}
}

// count is the number of different names in the request.
func (r *Request) count() int {
	n := len(r.DNSNames) + len(r.IPs)
	if ip := net.ParseIP(r.CommonName); ip != nil && slices.ContainsFunc(r.IPs, ip.Equal) {
		return n
	}
	if r.CommonName != "" && !slices.Contains(r.DNSNames, r.CommonName) {
		n++
	}
	return n
}

// readName returns a DNS name in lower case without its last dot, or an IP address. kind is the word for it in errors.
func readName(kind, s string) (string, net.IP, error) {
	name := CanonicalName(s)
	if ip := net.ParseIP(name); ip != nil {
		return "", ip, nil
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case hostNameChar(c) || c == '.':
		case c == '*':
			return "", nil, refuse("has the wildcard %+.80q as %s, must be the name of one host", s, kind)
		case c >= 0x80:
			return "", nil, refuse("has %s %+.80q outside ASCII, must be in its xn-- form", kind, s)
		case c < ' ' || c == 0x7f:
			return "", nil,
				refuse("has %s %+.80q with the control character \\x%02x, "+
					"may have letters, digits, -, _ and dots", kind,
					s, c)
		default:
			return "", nil,
				refuse("has %s %+.80q with the character %q, may have letters, digits, -, _ and dots", kind, s, c)
		}
	}
	switch {
	case name == "":
		return "", nil, refuse("has an empty %s, must be a name", kind)
	case len(name) > maxName:
		return "", nil, refuse("has %s %+.80q of %d characters, may have at most %d", kind, s, len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return "", nil, refuse("has %s %+.80q with an empty label, must have letters or digits between dots", kind,
				s)
		}
		if len(label) > maxLabel {
			return "", nil, refuse("has %s %+.80q with a label of %d characters, may have at most %d", kind, s,
				len(label), maxLabel)
		}
	}
	return name, nil, nil
}
