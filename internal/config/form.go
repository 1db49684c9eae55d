package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"mailcertd/internal/pki"
)

// form is what a text in mailcertd.yaml must look like. It returns the value for which the text stands, or an error
// that says what is wrong with the text and what it must be.
type form func(s string) (string, error)

// absolutePath is a path that --root does not move.
func absolutePath(s string) (string, error) {
	if !filepath.IsAbs(s) {
		return "", fmt.Errorf("is %q: must be an absolute path", s)
	}
	return s, nil
}

// account is a user name in the form that pw(8) accepts.
func account(s string) (string, error) {
	if s == "" || len(s) > 32 || s[0] == '-' || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return "", fmt.Errorf("%q: must be a user name of at most 32 lower-case letters, digits, - and _", s)
	}
	if s == "root" || s == "toor" {
		return "", fmt.Errorf("%q: must be an unprivileged user that nothing else uses", s)
	}
	return s, nil
}

// hostName is a host name with or without a final dot.
func hostName(s string) (string, error) {
	name := strings.TrimSuffix(s, ".")
	if why := pki.HostNameFault(name); why != "" {
		return "", fmt.Errorf("%q %s", s, why)
	}
	return strings.ToLower(name), nil
}

// optional is a form that may also be empty.
func optional(f form) form {
	return func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return f(s)
	}
}

// altName is a host name or an address.
func altName(s string) (string, error) {
	if ip := net.ParseIP(trimBrackets(s)); ip != nil {
		return ip.String(), nil
	}
	return hostName(s)
}

func trimBrackets(s string) string { return strings.Trim(s, "[]") }

// domain is a domain with or without the dot before it.
func domain(s string) (string, error) {
	if why := pki.HostNameFault(strings.TrimSuffix(strings.TrimPrefix(s, "."), ".")); why != "" {
		return "", fmt.Errorf("%q %s", s, why)
	}
	return strings.ToLower(strings.Trim(s, ".")), nil
}

// contact is an e-mail address, also as a mailto URL.
func contact(s string) (string, error) {
	address := strings.TrimPrefix(s, "mailto:")
	name, host, found := strings.Cut(address, "@")
	if !found || name == "" || host == "" || strings.ContainsAny(s, " ,?<>") || strings.Contains(host, "@") {
		return "", fmt.Errorf("%q: must be one e-mail address, such as hostmaster@example.org", s)
	}
	return address, nil
}

// probeAddress is auto, none, or where sendmail listens.
func probeAddress(s string) (string, error) {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		host = h
		if _, err := net.LookupPort("tcp", port); err != nil || port == "0" {
			return "", fmt.Errorf("%q: the port is wrong: it must be 1 to 65535 or a service name", s)
		}
	}
	_, number := strconv.Atoi(host) // a host name must not be a port alone
	if s != "auto" && s != "none" && net.ParseIP(trimBrackets(host)) == nil &&
		(pki.HostNameFault(strings.TrimSuffix(host, ".")) != "" || number == nil) {
		return "", fmt.Errorf(
			"%q: must be auto, none, or an address such as 127.0.0.1, [::1]:587 or mail.example.org:25", s)
	}
	return s, nil
}

// listenAddress is an address and a port to listen on.
func listenAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "0" || port == "" || host != "" && net.ParseIP(host) == nil {
		return "", fmt.Errorf(
			"%q: must be a port with or without an address, such as :80, 192.0.2.1:80 or [::1]:8080", s)
	}
	return s, nil
}

// nameServer is the name or the address of a name server, with or without a port.
func nameServer(s string) (string, error) {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if _, err := net.LookupPort("udp", port); err != nil || port == "0" || port == "" {
			return "", fmt.Errorf("%q: the port is wrong: it must be 1 to 65535", s)
		}
		host = h
	}
	if net.ParseIP(trimBrackets(host)) == nil && pki.HostNameFault(strings.TrimSuffix(host, ".")) != "" {
		return "", fmt.Errorf(
			"%q: must be the name or the address of a name server, such as ns1.example.org or 192.0.2.53:53", s)
	}
	return s, nil
}

// resolver is the address of a name server, with or without a port. It has no name, which a resolver would have to
// look up.
func resolver(s string) (string, error) {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		host = s
	}
	if net.ParseIP(trimBrackets(host)) == nil {
		return "", fmt.Errorf("%q: must be the address of a server, such as 127.0.0.1 or [::1]:53", s)
	}
	return s, nil
}

// directory is the name of an ACME CA, or the URL of its directory.
func directory(s string) (string, error) {
	u, err := url.Parse(s)
	https := err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
	if s != "letsencrypt" && s != "letsencrypt-staging" && !https {
		return "", fmt.Errorf("is %q: must be letsencrypt, letsencrypt-staging, or the https URL of a directory", s)
	}
	return s, nil
}

// bytesAtMost is text of at most that many bytes.
func bytesAtMost(most int) form {
	return func(s string) (string, error) {
		if len(s) > most {
			return "", fmt.Errorf("is %d bytes long: must be text of at most %d bytes", len(s), most)
		}
		return s, nil
	}
}

// subjectPart is a part of a subject, which RFC 5280, appendix A.1 limits in characters.
func subjectPart(most int) form {
	return func(s string) (string, error) {
		if n := len([]rune(s)); n > most {
			return "", fmt.Errorf("is %d characters long: must be at most %d (RFC 5280)", n, most)
		}
		return s, nil
	}
}

// country is the code of a country, in any case.
func country(s string) (string, error) {
	code := strings.ToUpper(s)
	if len(code) != 2 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "", fmt.Errorf("is %q: must be two letters (ISO 3166)", s)
	}
	return code, nil
}
