package pki

import (
	"fmt"
	"net"
	"strings"
)

// The longest label and the longest host name, RFC 1035 section 2.3.4.
const (
	maxLabel = 63  // octets
	maxName  = 253 // octets in text, which are 255 on the wire
)

// HostNameFault says what is wrong with s as the name of a host in a certificate, as a clause without its subject ("is
// empty"); "" for nothing. Labels are those of RFC 1123, also with underscores, in any case of letters.
func HostNameFault(s string) string {
	switch lower := strings.ToLower(s); {
	case s == "":
		return "is empty"
	case len(s) > maxName:
		return fmt.Sprintf("is longer than %d characters", maxName)
	case lower == "localhost" || strings.HasPrefix(lower, "localhost."):
		return "is localhost, which no peer can use"
	case net.ParseIP(s) != nil:
		return "is an address: must be a host name"
	}
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return "has a part that is empty"
		case len(label) > maxLabel:
			return fmt.Sprintf("has a part that is longer than %d characters", maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return "has a part that starts or ends with a dash"
		}
		for _, c := range label {
			switch {
			case c >= 0x80:
				return "is not ASCII: write it in its xn-- form (A-label)"
			case c == '*':
				return "contains a wildcard"
			case !hostNameChar(byte(c)):
				return fmt.Sprintf("contains the character %q", c)
			}
		}
	}
	return ""
}

// hostNameChar says whether c may be in a label: a letter, a digit, a dash or an underscore.
func hostNameChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// Permitted says whether a host name is in one of the domains of a name constraint (RFC 5280 4.2.1.10), or there are no
// domains. A leading dot in a domain is ignored.
func Permitted(domains []string, name string) bool {
	name = strings.ToLower(name)
	for _, d := range domains {
		d = strings.ToLower(strings.TrimPrefix(d, "."))
		if name == d || strings.HasSuffix(name, "."+d) {
			return true
		}
	}
	return len(domains) == 0
}
