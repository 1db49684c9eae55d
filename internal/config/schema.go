package config

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"mailcertd/internal/dh"
	"mailcertd/internal/pki"
)

// sections reads the sections of mailcertd.yaml into a configuration, which holds the defaults. Its reader reads single
// values and collects the errors.
type sections struct {
	*reader
	c *Config
}

// top reads the whole document.
func (r sections) top(n *yaml.Node) {
	r.mapping(n, "", []field{
		{"host", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"name", r.in(optional(hostName), &r.c.Host.Name)},
				{"altnames", r.listIn(altName, "names and addresses", 0, &r.c.Host.AltNames)},
			})
		}},
		{"key", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"type", func(n *yaml.Node, key string) { r.c.Key.TypeSet = r.keyType(n, key, &r.c.Key.Type) }},
				{"second", func(n *yaml.Node, key string) { r.secondType(n, key, &r.c.Key.Second) }},
				{"rotate_after", func(n *yaml.Node, key string) {
					r.daysOr(n, key, "never", maxRotate, &r.c.Key.RotateAfter)
				}},
			})
		}},
		{"validity", func(n *yaml.Node, key string) { r.validity(n, key) }},
		{"issuer", func(n *yaml.Node, key string) { r.issuer(n, key, &r.c.Issuer, IssuerLocal, IssuerNone) }},
		{"client", func(n *yaml.Node, key string) { r.client(n, key) }},
		{"dns", func(n *yaml.Node, key string) { r.dns(n, key) }},
		{"dane", func(n *yaml.Node, key string) { r.dane(n, key) }},
		{"ca", func(n *yaml.Node, key string) { r.ca(n, key) }},
		{"certs", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{{"dir", r.path(&r.c.Certs.Dir)}})
		}},
		{"trust", func(n *yaml.Node, key string) { r.trust(n, key) }},
		{"dh", func(n *yaml.Node, key string) { r.oneOf(n, key, &r.c.DH, append(dh.Names(), "keep")...) }},
		{"crl", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"days", func(n *yaml.Node, key string) { r.number(n, key, 1, maxCRLDays, "days", &r.c.CRL.Days) }},
				{"install", func(n *yaml.Node, key string) { r.boolean(n, key, &r.c.CRL.Install) }},
			})
		}},
		{"sendmail", func(n *yaml.Node, key string) { r.sendmail(n, key) }},
		{"notify", func(n *yaml.Node, key string) { r.commands(n, key, &r.c.Notify) }},
		{"state", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"dir", r.path(&r.c.State.Dir)},
				{"keep", func(n *yaml.Node, key string) { r.number(n, key, 0, maxKeep, "backups", &r.c.State.Keep) }},
			})
		}},
		{"log", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"level", func(n *yaml.Node, key string) {
					r.oneOf(n, key, &r.c.Log.Level, "trace", "debug", "info", "warn", "error")
				}},
				{"target", func(n *yaml.Node, key string) {
					r.oneOf(n, key, &r.c.Log.Target, "auto", "stderr", "syslog")
				}},
				{"facility", func(n *yaml.Node, key string) { r.oneOf(n, key, &r.c.Log.Facility, Facilities()...) }},
			})
		}},
	})
	r.together(n)
}

// Facilities are the syslog(3) facilities that a program may use.
func Facilities() []string {
	return []string{"mail", "daemon", "auth", "authpriv", "user", "security", "cron",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}

func (r sections) validity(n *yaml.Node, key string) {
	r.mapping(n, key, []field{
		{"days", func(n *yaml.Node, key string) { r.number(n, key, 1, maxLeafDays, "days", &r.c.Validity.Days) }},
		{"renew_before", func(n *yaml.Node, key string) {
			r.daysOr(n, key, "third", maxLeafDays, &r.c.Validity.RenewBefore)
		}},
		{"warn_days", func(n *yaml.Node, key string) { r.warnDays(n, key, &r.c.Validity.WarnDays) }},
	})
}

func (r sections) ca(n *yaml.Node, key string) {
	r.mapping(n, key, []field{
		{"dir", r.path(&r.c.CA.Dir)},
		{"key", func(n *yaml.Node, key string) { r.keyType(n, key, &r.c.CA.Key) }},
		{"days", func(n *yaml.Node, key string) { r.number(n, key, minCADays, maxCADays, "days", &r.c.CA.Days) }},
		{"passphrase_file", r.optionalPath(&r.c.CA.PassphraseFile, "")},
		{"subject", func(n *yaml.Node, key string) { r.subject(n, key, &r.c.CA.Subject) }},
		{"permitted_domains", r.listIn(domain, "domains", 0, &r.c.CA.PermittedDomains)},
		{"account", r.in(account, &r.c.CA.Account)},
		{"inbox", r.path(&r.c.CA.Inbox)},
	})
}

func (r sections) trust(n *yaml.Node, key string) {
	for _, x := range r.list(n, key, "paths") {
		if x.Kind == yaml.ScalarNode && x.Value == "system" {
			r.c.Trust = append(r.c.Trust, "system")
			continue
		}
		var p string
		r.path(&p)(x, key)
		if p != "" {
			r.c.Trust = append(r.c.Trust, p)
		}
	}
}

func (r sections) sendmail(n *yaml.Node, key string) {
	r.mapping(n, key, []field{
		{"cf", r.path(&r.c.Sendmail.CF)},
		{"pid_file", r.optionalPath(&r.c.Sendmail.PidFile, "auto")},
		{"program", r.in(absolutePath, &r.c.Sendmail.Program)},
		{"probe", r.in(probeAddress, &r.c.Sendmail.Probe)},
		{"start_command", func(n *yaml.Node, key string) {
			r.c.Sendmail.StartCommand = nil
			r.command(n, key, &r.c.Sendmail.StartCommand)
		}},
	})
}

// issuer reads one of these words, or the CA host to ask over ssh.
func (r sections) issuer(n *yaml.Node, key string, to *Issuer, words ...IssuerKind) {
	if n.Kind != yaml.MappingNode {
		if k := IssuerKind(n.Value); slices.Contains(words, k) {
			to.Kind = k
			return
		}
		list := ""
		for _, w := range words {
			list += string(w) + ", "
		}
		if len(words) > 1 {
			list = "one of " + list
		}
		more := ""
		if to == &r.c.Issuer {
			more = " or {acme: {agree_tos: true}}"
		}
		r.fail(n, key, "is %s: must be %sor {ssh: {target: USER@HOST}}%s", kindOf(n), list, more)
		return
	}
	fields := []field{{"ssh", func(n *yaml.Node, key string) {
		to.Kind = IssuerSSH
		s := &to.SSH
		r.mapping(n, key, []field{
			{"target", func(n *yaml.Node, key string) { r.text(n, key, &s.Target) }},
			{"identity", r.optionalPath(&s.Identity, "")},
			{"known_hosts", r.optionalPath(&s.KnownHosts, "")},
		})
		if s.Target == "" {
			r.fail(n, key+".target", "is missing: it must be the CA host, as ssh(1) takes it")
		} else if s.Target[0] == '-' {
			r.fail(n, key+".target", "%q starts with a dash, and ssh(1) would read it as an option", s.Target)
		}
	}}}
	switch public := at(n, "acme"); {
	case to == &r.c.Issuer:
		fields = append(fields, field{"acme", func(n *yaml.Node, key string) { r.acme(n, key, to) }})
	case public != n:
		r.fail(public, key+".acme",
			"a public CA gives no certificates for clients: must be local or {ssh: {target: USER@HOST}}")
		return
	}
	if len(n.Content) > 2 && at(n, "acme") != n && at(n, "ssh") != n {
		r.fail(n, key, "has two issuers: must be one of ssh and acme")
		return
	}
	before := len(r.errs)
	r.mapping(n, key, fields)
	if to.Kind == IssuerLocal && len(r.errs) == before { // not the default: a person began to write another issuer
		r.fail(n, key, "names no issuer: the settings of ssh or acme must be below that key, with a deeper indentation")
	}
}

// client reads a word, or the issuer of a separate client pair.
func (r sections) client(n *yaml.Node, key string) {
	if n.Kind != yaml.MappingNode {
		switch k := ClientKind(n.Value); {
		case n.Kind == yaml.ScalarNode && (k == ClientSame || k == ClientNone):
			r.c.Client.Kind = k
		default:
			r.fail(n, key, "is %s: must be one of same, none, {issuer: local} or {issuer: {ssh: {target: USER@HOST}}}",
				kindOf(n))
		}
		return
	}
	before := len(r.errs)
	r.mapping(n, key, []field{{"issuer", func(n *yaml.Node, key string) {
		r.issuer(n, key, &r.c.Client.Issuer, IssuerLocal)
	}}})
	switch {
	case r.c.Client.Issuer.Kind != "":
		r.c.Client.Kind = ClientOwn
	case len(r.errs) == before:
		r.fail(n, key+".issuer",
			"is missing: it must be local or {ssh: {target: USER@HOST}}, the issuer of the client certificate")
	}
}

// together checks settings that depend on each other.
func (r sections) together(n *yaml.Node) {
	c := r.c
	if c.Validity.Days > c.CA.Days {
		r.fail(at(n, "validity", "ca"), "validity.days",
			"%d is more than ca.days (%d), and no certificate may outlive its CA", c.Validity.Days, c.CA.Days)
	}
	if b := c.Validity.RenewBefore; b > 0 && b >= time.Duration(c.Validity.Days)*24*time.Hour {
		r.fail(at(n, "validity"), "validity.renew_before", "%d days is not less than validity.days (%d days)",
			int(b.Hours()/24), c.Validity.Days)
	}
	if c.Host.Name != "" && strings.EqualFold(c.CA.Subject.CommonName, c.Host.Name) {
		r.fail(at(n, "ca"), "ca.subject.common_name",
			"%q is the same as host.name: the CA and a host must not have the same name", c.CA.Subject.CommonName)
	}
	if c.Host.Name != "" && (c.Issuer.Kind == IssuerLocal || c.Client.Issuer.Kind == IssuerLocal) &&
		!pki.Permitted(c.CA.PermittedDomains, c.Host.Name) {
		r.fail(at(n, "ca"), "ca.permitted_domains",
			"do not include host.name (%s), so this host could not get a certificate", c.Host.Name)
	}
	if f := c.Key.Second.Family(); f != "" && f == c.Key.Type.Family() {
		r.fail(at(n, "key.second"), "key.second",
			"%s is of the same kind as key.type (%s), and sendmail serves one RSA and one ECDSA certificate: "+
				"key.second must be none, or %s",
			c.Key.Second, c.Key.Type, map[string]string{"rsa": "ecdsa-p256 or ecdsa-p384",
				"ecdsa": "rsa-2048, rsa-3072 or rsa-4096"}[f])
	}
	if c.DANE.Publish == PublishUpdate && c.DNS.Server == "" && !r.failed("dns.server") {
		r.fail(at(n, "dane.publish"), "dane.publish",
			"is update, and dns.server is not set: it must be the name server that takes the updates")
	}
	r.unproved(n)
	r.places(n)
}

// at returns the first of these keys in the document, for its line. A dot leads into a section; for a key that it lacks
// the section itself is returned.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, k := range keys {
		section, inner, dotted := strings.Cut(k, ".")
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value != section {
				continue
			}
			if value := n.Content[i+1]; dotted && at(value, inner) != value {
				return at(value, inner)
			}
			return n.Content[i]
		}
	}
	return n
}
