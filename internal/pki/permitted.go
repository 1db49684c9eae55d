package pki

import "strings"

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
