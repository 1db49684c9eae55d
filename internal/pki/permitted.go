package pki

import "strings"

// Permitted says that a host name lies within one of the domains, or that there
// are none: a name constraint of RFC 5280 4.2.1.10. A leading dot, which people
// write, means no more than none.
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
