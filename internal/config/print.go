package config

import (
	"bytes"
	"time"

	"gopkg.in/yaml.v3"
)

// YAML returns the effective configuration as a file that loads to the same Config. Paths are without --root.
func (c Config) YAML() []byte {
	type kv = yaml.Node
	str := func(s string) *kv {
		n := &kv{}
		n.SetString(s)
		return n
	}
	num := func(i any) *kv {
		n := &kv{}
		_ = n.Encode(i)
		return n
	}
	list := func(items ...*kv) *kv { return &kv{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: items} }
	words := func(s []string) *kv {
		var items []*kv
		for _, x := range s {
			items = append(items, str(x))
		}
		return list(items...)
	}
	flow := func(pairs ...any) *kv {
		n := &kv{Kind: yaml.MappingNode}
		for i := 0; i < len(pairs); i += 2 {
			n.Content = append(n.Content, str(pairs[i].(string)), pairs[i+1].(*kv))
		}
		return n
	}
	days := func(d time.Duration, word string) *kv {
		if d == 0 {
			return str(word)
		}
		return num(int(d / (24 * time.Hour)))
	}
	var warn []*kv
	for _, d := range c.Validity.WarnDays {
		warn = append(warn, num(d))
	}
	var ports []*kv
	for _, p := range c.DANE.Ports {
		ports = append(ports, num(p))
	}
	var notify []*kv
	for _, argv := range c.Notify {
		notify = append(notify, words(argv))
	}
	var trust []string
	for _, t := range c.Trust {
		trust = append(trust, c.shown(t))
	}
	pid := str("auto")
	if c.Sendmail.PidFile != "" {
		pid = str(c.shown(c.Sendmail.PidFile))
	}
	issuer := func(i Issuer) *kv {
		if i.Kind == IssuerACME {
			a := i.ACME
			return flow("acme", flow("directory", str(a.Directory), "agree_tos", num(a.AgreeTOS),
				"contact", words(a.Contact), "profile", str(a.Profile),
				"eab", flow("kid", str(a.EAB.KID), "hmac_file", str(c.shown(a.EAB.HMACFile))),
				"ca_file", str(c.shown(a.CAFile)), "challenge", str(a.Challenge),
				"http", flow("listen", str(a.HTTP.Listen), "webroot", str(c.shown(a.HTTP.Webroot))),
				"command", words(a.Command), "preferred_chain", str(a.PreferredChain),
				"fallback", flow("directory", str(a.Fallback.Directory), "agree_tos", num(a.Fallback.AgreeTOS),
					"eab", flow("kid", str(a.Fallback.EAB.KID), "hmac_file", str(c.shown(a.Fallback.EAB.HMACFile))),
					"ca_file", str(c.shown(a.Fallback.CAFile)))))
		}
		if i.Kind != IssuerSSH {
			return str(string(i.Kind))
		}
		return flow("ssh", flow("target", str(i.SSH.Target), "identity", str(c.shown(i.SSH.Identity)),
			"known_hosts", str(c.shown(i.SSH.KnownHosts))))
	}
	client := str(string(c.Client.Kind))
	if c.Client.Kind == ClientOwn {
		client = flow("issuer", issuer(c.Client.Issuer))
	}
	second := str(or(string(c.Key.Second), "none"))
	key := flow("second", second, "rotate_after", days(c.Key.RotateAfter, "never"))
	if c.Key.TypeSet || c.Key.Type != Default("").Key.Type {
		key = flow("type", str(string(c.Key.Type)), "second", second, "rotate_after", days(c.Key.RotateAfter, "never"))
	} else {
		key.HeadComment = "type: " + string(c.Key.Type) + " (for a new key; an existing one keeps its type)"
	}
	s := c.CA.Subject
	doc := flow(
		"host", flow("name", str(c.Host.Name), "altnames", words(c.Host.AltNames)),
		"key", key,
		"validity", flow("days", num(c.Validity.Days), "renew_before", days(c.Validity.RenewBefore, "third"),
			"warn_days", list(warn...)),
		"issuer", issuer(c.Issuer),
		"client", client,
		"dns", flow("server", str(c.DNS.Server), "key_file", str(c.shown(c.DNS.KeyFile)), "zone", str(c.DNS.Zone),
			"resolver", str(c.DNS.Resolver)),
		"dane", flow("publish", str(c.DANE.Publish), "names", words(c.DANE.Names), "ports", list(ports...),
			"ttl", num(int(c.DANE.TTL/time.Second))),
		"ca", flow("dir", str(c.shown(c.CA.Dir)), "key", str(string(c.CA.Key)), "days", num(c.CA.Days),
			"passphrase_file", str(c.shown(c.CA.PassphraseFile)),
			"subject", flow("country", str(s.Country), "state", str(s.State), "locality", str(s.Locality),
				"organization", str(s.Organization),
				"organizational_unit", str(s.OrganizationalUnit), "common_name", str(s.CommonName)),
			"permitted_domains", words(c.CA.PermittedDomains), "account", str(c.CA.Account), "inbox",
			str(c.shown(c.CA.Inbox))),
		"certs", flow("dir", str(c.shown(c.Certs.Dir))),
		"trust", words(trust),
		"dh", str(c.DH),
		"crl", flow("days", num(c.CRL.Days), "install", num(c.CRL.Install)),
		"sendmail", flow("cf", str(c.shown(c.Sendmail.CF)), "pid_file", pid, "program", str(c.Sendmail.Program),
			"probe", str(c.Sendmail.Probe), "start_command", words(c.Sendmail.StartCommand)),
		"notify", list(notify...),
		"state", flow("dir", str(c.shown(c.State.Dir)), "keep", num(c.State.Keep)),
		"log", flow("level", str(c.Log.Level), "target", str(c.Log.Target), "facility", str(c.Log.Facility)),
	)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		panic(err) // plain nodes always encode
	}
	return b.Bytes()
}
