// Package dns does the DNS work of ACME and DANE: it finds where a record must be made, adds and removes it (RFC 2136)
// with a signature (RFC 8945), and checks whether every authoritative server has it.
package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Options say which servers are asked, and how.
type Options struct {
	// Server gets the updates: a name or an address, with or without a port. "": the primary server that the SOA record
	// of the zone names.
	Server string
	// Key signs updates; the zero Key: they are not signed.
	Key Key
	// Zone is the zone whose names are changed. "": found by the SOA records at and above a name.
	Zone string
	// Resolver answers recursive questions: an address, with or without a port. "": the servers of /etc/resolv.conf.
	Resolver string
	// Timeout bounds one try at one address; 0: DefaultTimeout.
	Timeout time.Duration
	// Now returns the time that updates are signed with; nil: the system's clock.
	Now func() time.Time
}

// DefaultTimeout is how long an address may take to answer.
const DefaultTimeout = 2 * time.Second

// Client asks questions and sends updates. It keeps nothing between two calls, so several goroutines may use it.
type Client struct {
	o         Options
	resolvers []string // host:port; nil: the servers in resolvConf
	// Only tests set resolvConf and port to other values.
	resolvConf string
	port       string
}

// New checks the options, and reports all that is wrong with them at once.
func New(o Options) (*Client, error) {
	c := &Client{o: o, resolvConf: "/etc/resolv.conf", port: "53"}
	var bad []error
	if o.Server != "" {
		host, port, err := split(o.Server, c.port)
		if err != nil {
			bad = append(bad, fmt.Errorf("the DNS server %q: %w", o.Server, err))
		}
		c.o.Server = net.JoinHostPort(host, port)
	}
	if o.Zone != "" {
		if _, valid := wire.IsDomainName(o.Zone); !valid {
			bad = append(bad, fmt.Errorf("the zone %q is not a domain name", o.Zone))
		}
		c.o.Zone = canonical(o.Zone)
	}
	if o.Resolver != "" {
		host, port, err := split(o.Resolver, c.port)
		if err == nil {
			_, err = netip.ParseAddr(host)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("the resolver %q: %w: an address, with or without a port", o.Resolver, err))
		}
		c.resolvers = []string{net.JoinHostPort(host, port)}
	}
	if o.Timeout == 0 {
		c.o.Timeout = DefaultTimeout
	}
	return c, errors.Join(bad...)
}

// split separates a host or address from its port: mail.example.org, 192.0.2.1, 192.0.2.1:53, 2001:db8::1 or
// [2001:db8::1]:53. port is the default.
// [2001:db8::1]:53.
func split(s, port string) (string, string, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if _, err := netip.ParseAddr(host); err != nil {
		if strings.Contains(s, ":") {
			if host, port, err = net.SplitHostPort(s); err != nil {
				return "", "", errors.New("not a host or address, nor one with a port")
			}
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", errors.New("its port is not a number from 1 to 65535")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, port, nil
	}
	if _, valid := wire.IsDomainName(host); !valid || host == "" || strings.ContainsAny(host, " /") {
		return "", "", errors.New("not a host name or address")
	}
	return host, port, nil
}
