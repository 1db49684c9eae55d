package config

import (
	"net"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"mailcertd/internal/dh"
	"mailcertd/internal/pki"
)

// top reads the whole document into c, which holds the defaults.
func (r *reader) top(n *yaml.Node, c *Config) {
	r.mapping(n, "", []field{
		{"host", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"name", func(n *yaml.Node, key string) { r.hostName(n, key, &c.Host.Name) }},
				{"altnames", func(n *yaml.Node, key string) { r.altNames(n, key, &c.Host.AltNames) }},
			})
		}},
		{"key", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"type", func(n *yaml.Node, key string) { c.Key.TypeSet = r.keyType(n, key, &c.Key.Type) }},
				{"rotate_after", func(n *yaml.Node, key string) { r.daysOr(n, key, "never", maxRotate, &c.Key.RotateAfter) }},
			})
		}},
		{"validity", func(n *yaml.Node, key string) { r.validity(n, key, c) }},
		{"issuer", func(n *yaml.Node, key string) { r.issuer(n, key, c) }},
		{"ca", func(n *yaml.Node, key string) { r.ca(n, key, c) }},
		{"certs", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{{"dir", r.path(c, &c.Certs.Dir)}})
		}},
		{"trust", func(n *yaml.Node, key string) { r.trust(n, key, c) }},
		{"dh", func(n *yaml.Node, key string) { r.oneOf(n, key, &c.DH, append(dh.Names(), "keep")...) }},
		{"crl", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"days", func(n *yaml.Node, key string) { r.number(n, key, 1, maxCRLDays, "days", &c.CRL.Days) }},
				{"install", func(n *yaml.Node, key string) { r.boolean(n, key, &c.CRL.Install) }},
			})
		}},
		{"sendmail", func(n *yaml.Node, key string) { r.sendmail(n, key, c) }},
		{"notify", func(n *yaml.Node, key string) { r.commands(n, key, &c.Notify) }},
		{"state", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"dir", r.path(c, &c.State.Dir)},
				{"keep", func(n *yaml.Node, key string) { r.number(n, key, 0, maxKeep, "generations", &c.State.Keep) }},
			})
		}},
		{"log", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"level", func(n *yaml.Node, key string) {
					r.oneOf(n, key, &c.Log.Level, "trace", "debug", "info", "warn", "error")
				}},
				{"target", func(n *yaml.Node, key string) { r.oneOf(n, key, &c.Log.Target, "auto", "stderr", "syslog") }},
				{"facility", func(n *yaml.Node, key string) { r.oneOf(n, key, &c.Log.Facility, Facilities()...) }},
			})
		}},
	})
	r.together(n, c)
}

// Facilities are those of syslog(3) that a program may choose.
func Facilities() []string {
	return []string{"mail", "daemon", "auth", "authpriv", "user", "security", "cron",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}

func (r *reader) validity(n *yaml.Node, key string, c *Config) {
	r.mapping(n, key, []field{
		{"days", func(n *yaml.Node, key string) { r.number(n, key, 1, maxLeafDays, "days", &c.Validity.Days) }},
		{"renew_before", func(n *yaml.Node, key string) {
			r.daysOr(n, key, "third", maxLeafDays, &c.Validity.RenewBefore)
		}},
		{"warn_days", func(n *yaml.Node, key string) { r.warnDays(n, key, &c.Validity.WarnDays) }},
	})
}

func (r *reader) ca(n *yaml.Node, key string, c *Config) {
	r.mapping(n, key, []field{
		{"dir", r.path(c, &c.CA.Dir)},
		{"key", func(n *yaml.Node, key string) { r.keyType(n, key, &c.CA.Key) }},
		{"days", func(n *yaml.Node, key string) { r.number(n, key, minCADays, maxCADays, "days", &c.CA.Days) }},
		{"passphrase_file", r.optionalPath(c, &c.CA.PassphraseFile, "")},
		{"subject", func(n *yaml.Node, key string) { r.subject(n, key, &c.CA.Subject) }},
		{"permitted_domains", func(n *yaml.Node, key string) { r.domains(n, key, &c.CA.PermittedDomains) }},
		{"account", func(n *yaml.Node, key string) { r.account(n, key, &c.CA.Account) }},
		{"inbox", r.path(c, &c.CA.Inbox)},
	})
}

func (r *reader) sendmail(n *yaml.Node, key string, c *Config) {
	r.mapping(n, key, []field{
		{"cf", r.path(c, &c.Sendmail.CF)},
		{"pid_file", r.optionalPath(c, &c.Sendmail.PidFile, "auto")},
		{"program", func(n *yaml.Node, key string) {
			var s string
			if r.text(n, key, &s) && r.absolute(n, key, s) {
				c.Sendmail.Program = s
			}
		}},
		{"probe", func(n *yaml.Node, key string) { r.probe(n, key, &c.Sendmail.Probe) }},
		{"start_command", func(n *yaml.Node, key string) {
			c.Sendmail.StartCommand = nil
			r.command(n, key, &c.Sendmail.StartCommand)
		}},
	})
}

func (r *reader) issuer(n *yaml.Node, key string, c *Config) {
	if n.Kind != yaml.MappingNode {
		var kind string
		if r.oneOf(n, key, &kind, string(IssuerLocal), string(IssuerNone)) {
			c.Issuer.Kind = IssuerKind(kind)
		}
		return
	}
	r.mapping(n, key, []field{{"ssh", func(n *yaml.Node, key string) {
		c.Issuer.Kind = IssuerSSH
		s := &c.Issuer.SSH
		r.mapping(n, key, []field{
			{"target", func(n *yaml.Node, key string) { r.text(n, key, &s.Target) }},
			{"identity", r.optionalPath(c, &s.Identity, "")},
			{"known_hosts", r.optionalPath(c, &s.KnownHosts, "")},
		})
		if s.Target == "" {
			r.fail(n, key+".target", "is missing: want the CA host, as ssh(1) takes it")
		} else if s.Target[0] == '-' {
			r.fail(n, key+".target", "%q begins with a dash: ssh(1) would take it for an option", s.Target)
		}
	}}})
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
			r.fail(n, key, "%q: the port is wrong: want 1 to 65535 or a service name", s)
			return
		}
	}
	if s != "auto" && s != "none" && net.ParseIP(trimBrackets(host)) == nil && badHostName(host) != "" {
		r.fail(n, key, "%q: want auto, none, or an address such as 127.0.0.1, [::1]:587 or mail.example.org:25", s)
		return
	}
	*to = s
}

// together checks what several settings must agree on.
func (r *reader) together(n *yaml.Node, c *Config) {
	if c.Validity.Days > c.CA.Days {
		r.fail(at(n, "validity", "ca"), "validity.days", "%d is more than ca.days (%d): no certificate outlives its CA", c.Validity.Days, c.CA.Days)
	}
	if b := c.Validity.RenewBefore; b > 0 && b >= time.Duration(c.Validity.Days)*24*time.Hour {
		r.fail(at(n, "validity"), "validity.renew_before", "%d days is not less than validity.days (%d days)", int(b.Hours()/24), c.Validity.Days)
	}
	if c.Host.Name != "" && strings.EqualFold(c.CA.Subject.CommonName, c.Host.Name) {
		r.fail(at(n, "ca"), "ca.subject.common_name", "%q is host.name: a CA and a host must not share a name", c.CA.Subject.CommonName)
	}
	if c.Host.Name != "" && c.Issuer.Kind == IssuerLocal && !pki.Permitted(c.CA.PermittedDomains, c.Host.Name) {
		r.fail(at(n, "ca"), "ca.permitted_domains", "leave out host.name (%s): this host could not have a certificate", c.Host.Name)
	}
	r.places(n, c)
}

// at is the first of these keys that the document has, for its line.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, k := range keys {
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == k {
				return n.Content[i]
			}
		}
	}
	return n
}
