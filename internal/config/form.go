package config

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"mailcertd/internal/pki"
)

func (r *reader) absolute(n *yaml.Node, key, s string) bool {
	if !filepath.IsAbs(s) {
		r.fail(n, key, "is %q: must be an absolute path", s)
		return false
	}
	return true
}

// account reads a user name in the form that pw(8) accepts.
func (r *reader) account(n *yaml.Node, key string, to *string) {
	var s string
	if !r.text(n, key, &s) {
		return
	}
	if s == "" || len(s) > 32 || s[0] == '-' || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		r.fail(n, key, "%q: must be a user name of at most 32 lower-case letters, digits, - and _", s)
		return
	}
	if s == "root" || s == "toor" {
		r.fail(n, key, "%q: must be an unprivileged user that nothing else uses", s)
		return
	}
	*to = s
}

func (r *reader) hostName(n *yaml.Node, key string, to *string) {
	var s string
	if !r.text(n, key, &s) || s == "" {
		return
	}
	if why := pki.HostNameFault(strings.TrimSuffix(s, ".")); why != "" {
		r.fail(n, key, "%q %s", s, why)
		return
	}
	*to = strings.ToLower(strings.TrimSuffix(s, "."))
}

func trimBrackets(s string) string { return strings.Trim(s, "[]") }

func (r *reader) altNames(n *yaml.Node, key string, to *[]string) {
	r.texts(n, key, "names and addresses", 0, func(x *yaml.Node, s string) {
		if ip := net.ParseIP(trimBrackets(s)); ip != nil {
			*to = append(*to, ip.String())
			return
		}
		if why := pki.HostNameFault(strings.TrimSuffix(s, ".")); why != "" {
			r.fail(x, key, "%q %s", s, why)
			return
		}
		*to = append(*to, strings.ToLower(strings.TrimSuffix(s, ".")))
	})
}

func (r *reader) domains(n *yaml.Node, key string, to *[]string) {
	r.texts(n, key, "domains", 0, func(x *yaml.Node, s string) {
		if why := pki.HostNameFault(strings.TrimSuffix(strings.TrimPrefix(s, "."), ".")); why != "" {
			r.fail(x, key, "%q %s", s, why)
			return
		}
		*to = append(*to, strings.ToLower(strings.Trim(s, ".")))
	})
}

func (r *reader) probe(n *yaml.Node, key string, to *string) {
	var s string
	if !r.text(n, key, &s) {
		return
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		host = h
		if _, err := net.LookupPort("tcp", port); err != nil || port == "0" {
			r.fail(n, key, "%q: the port is wrong: it must be 1 to 65535 or a service name", s)
			return
		}
	}
	_, number := strconv.Atoi(host) // a host name must not be a port alone
	if s != "auto" && s != "none" && net.ParseIP(trimBrackets(host)) == nil &&
		(pki.HostNameFault(strings.TrimSuffix(host, ".")) != "" || number == nil) {
		r.fail(n, key, "%q: must be auto, none, or an address such as 127.0.0.1, [::1]:587 or mail.example.org:25", s)
		return
	}
	*to = s
}

// listen reads an address and a port to listen on.
func (r *reader) listen(n *yaml.Node, key string, to *string) {
	var s string
	if !r.text(n, key, &s) {
		return
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "0" || port == "" || host != "" && net.ParseIP(host) == nil {
		r.fail(n, key, "%q: must be a port with or without an address, such as :80, 192.0.2.1:80 or [::1]:8080", s)
		return
	}
	*to = s
}

// server reads the name or the address of a name server, with or without a port.
func (r *reader) server(n *yaml.Node, key string, to *string) {
	var s string
	if !r.text(n, key, &s) {
		return
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if _, err := net.LookupPort("udp", port); err != nil || port == "0" || port == "" {
			r.fail(n, key, "%q: the port is wrong: it must be 1 to 65535", s)
			return
		}
		host = h
	}
	if s == "" || net.ParseIP(trimBrackets(host)) != nil || pki.HostNameFault(strings.TrimSuffix(host, ".")) == "" {
		*to = s
		return
	}
	r.fail(n, key, "%q: must be the name or the address of a name server, such as ns1.example.org or 192.0.2.53:53", s)
}

// directory reads the name of a CA, or the URL of its directory.
func (r *reader) directory(n *yaml.Node, key string, to *string) {
	var s string
	if !r.text(n, key, &s) {
		return
	}
	u, err := url.Parse(s)
	https := err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
	if s != "letsencrypt" && s != "letsencrypt-staging" && !https {
		r.fail(n, key, "is %q: must be letsencrypt, letsencrypt-staging, or the https URL of a directory", s)
		return
	}
	*to = s
}

func (r *reader) contacts(n *yaml.Node, key string, to *[]string) {
	r.texts(n, key, "e-mail addresses", maxContacts, func(x *yaml.Node, s string) {
		name, host, found := strings.Cut(strings.TrimPrefix(s, "mailto:"), "@")
		if !found || name == "" || host == "" || strings.ContainsAny(s, " ,?<>") || strings.Contains(host, "@") {
			r.fail(x, key, "%q: must be one e-mail address, such as hostmaster@example.org", s)
			return
		}
		*to = append(*to, strings.TrimPrefix(s, "mailto:"))
	})
}

// atMost reads text of at most that many bytes.
func (r *reader) atMost(n *yaml.Node, key string, most int, to *string) {
	var s string
	if !r.text(n, key, &s) {
		return
	}
	if len(s) > most {
		r.fail(n, key, "is %d bytes long: must be text of at most %d bytes", len(s), most)
		return
	}
	*to = s
}

// daneNames reads host names; a name that is there twice counts once.
func (r *reader) daneNames(n *yaml.Node, key string, to *[]string) {
	r.texts(n, key, "host names", maxDANENames, func(x *yaml.Node, s string) {
		s = strings.ToLower(strings.TrimSuffix(s, "."))
		if why := pki.HostNameFault(s); why != "" {
			r.fail(x, key, "%q %s", s, why)
		} else if !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	})
}
