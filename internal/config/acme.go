package config

import (
	"net"

	"gopkg.in/yaml.v3"
)

// ACME says which ACME CA (RFC 8555) issues, and how this host proves to it that it controls its names.
type ACME struct {
	Directory string // letsencrypt, letsencrypt-staging, or an https URL
	AgreeTOS  bool
	Contact   []string // e-mail addresses
	Profile   string   // "": tlsserver at Let's Encrypt, elsewhere what the CA chooses
	EAB       struct{ KID, HMACFile string }
	CAFile    string // the CA certificate for the directory's https; "": the system's roots
	Challenge string
	HTTP      struct{ Listen, Webroot string }
	Command   []string
	// Fallback is the ACME CA that is asked while that of Directory is away or has given too many certificates. It
	// shares all other settings. Without a Directory there is none.
	Fallback Fallback
	// PreferredChain is the name of a root; "": the CA's first chain.
	PreferredChain string
}

// Fallback is what a second ACME CA has of its own.
type Fallback struct {
	Directory string // as ACME.Directory; "": none
	AgreeTOS  bool
	EAB       struct{ KID, HMACFile string }
	CAFile    string
}

// AtFallback returns the settings for the fallback. Its profiles and chains are others, so that it chooses them.
func (a ACME) AtFallback() ACME {
	f := a.Fallback
	a.Directory, a.AgreeTOS, a.EAB, a.CAFile = f.Directory, f.AgreeTOS, f.EAB, f.CAFile
	a.Profile, a.PreferredChain, a.Fallback = "", "", Fallback{}
	return a
}

// The values of issuer.acme.challenge.
const (
	ChallengeHTTP       = "http"
	ChallengeDNS        = "dns"
	ChallengeDNSPersist = "dns-persist"
	ChallengeCommand    = "command"
)

// DNS says which name server gets the records, and which one answers questions about them.
type DNS struct {
	Server   string // gets the updates; "": the primary server of the zone
	KeyFile  string // as tsig-keygen writes it; "": updates are not signed
	Zone     string // "": found by its SOA record
	Resolver string // "": the servers of /etc/resolv.conf
}

// The limits of text in issuer.acme.
const (
	maxContacts = 10
	maxProfile  = 64
	maxChain    = 128
)

// acme reads issuer.acme.
func (r sections) acme(n *yaml.Node, key string, to *Issuer) {
	to.Kind = IssuerACME
	a := &to.ACME
	a.Directory, a.Challenge, a.HTTP.Listen = "letsencrypt", ChallengeHTTP, defaultListen
	r.mapping(n, key, []field{
		{"directory", r.in(directory, &a.Directory)},
		{"agree_tos", func(n *yaml.Node, key string) { r.boolean(n, key, &a.AgreeTOS) }},
		{"contact", r.listIn(contact, "e-mail addresses", maxContacts, &a.Contact)},
		{"profile", r.in(bytesAtMost(maxProfile), &a.Profile)},
		{"eab", func(n *yaml.Node, key string) { r.eab(n, key, &a.EAB.KID, &a.EAB.HMACFile) }},
		{"ca_file", r.optionalPath(&a.CAFile, "")},
		{"challenge", func(n *yaml.Node, key string) {
			r.oneOf(n, key, &a.Challenge, ChallengeHTTP, ChallengeDNS, ChallengeDNSPersist, ChallengeCommand)
		}},
		{"http", func(n *yaml.Node, key string) {
			r.mapping(n, key, []field{
				{"listen", r.in(listenAddress, &a.HTTP.Listen)},
				{"webroot", r.optionalPath(&a.HTTP.Webroot, "")},
			})
		}},
		{"command", func(n *yaml.Node, key string) { r.command(n, key, &a.Command) }},
		{"preferred_chain", r.in(bytesAtMost(maxChain), &a.PreferredChain)},
		{"fallback", func(n *yaml.Node, key string) { r.fallback(n, key, a) }},
	})
	r.terms(n, key, a.AgreeTOS)
	if f := a.Fallback.Directory; f != "" && f == a.Directory {
		r.fail(at(n, "fallback"), key+".fallback.directory",
			"is %q, as issuer.acme.directory: it must be another CA", f)
	}
	r.unusedHTTP(n, key, *a)
	switch {
	case a.Challenge == ChallengeCommand && len(a.Command) == 0:
		r.fail(at(n, "challenge"), key+".command",
			"is empty: challenge is command, so it must be a program and its arguments")
	case a.Challenge != ChallengeCommand && len(a.Command) > 0:
		r.fail(at(n, "command"), key+".command", "is set, and challenge is %s: the command would never run",
			a.Challenge)
	}
}

// defaultListen is issuer.acme.http.listen where it is not set.
const defaultListen = ":80"

// unusedHTTP reports settings of http that nothing would use: the owner expects something else than what would happen.
func (r sections) unusedHTTP(n *yaml.Node, key string, a ACME) {
	key += ".http"
	other, listens := a.Challenge != ChallengeHTTP, a.HTTP.Listen != defaultListen
	switch {
	case other && listens:
		r.fail(at(n, "http.listen"), key+".listen", "is set, and challenge is %s: nothing would listen there",
			a.Challenge)
	case listens && a.HTTP.Webroot != "":
		r.fail(at(n, "http.listen"), key+".listen",
			"is set, and so is webroot: the web server of that directory answers, and nothing would listen there")
	}
	if other && a.HTTP.Webroot != "" {
		r.fail(at(n, "http.webroot"), key+".webroot",
			"is set, and challenge is %s: nothing would be written there", a.Challenge)
	}
}

// unproved reports addresses among the names of the host where the challenge is in the DNS, which can never prove them:
// the CA would refuse each order.
func (r sections) unproved(n *yaml.Node) {
	a := r.c.Issuer.ACME
	if r.c.Issuer.Kind != IssuerACME || a.Challenge == ChallengeHTTP {
		return
	}
	for _, name := range r.c.Host.AltNames {
		if net.ParseIP(name) != nil {
			r.fail(at(n, "host.altnames"), "host.altnames", "has the address %s, which the challenge %s cannot prove: "+
				"issuer.acme.challenge must be http, or remove the address", name, a.Challenge)
		}
	}
}

// fallback reads issuer.acme.fallback.
func (r sections) fallback(n *yaml.Node, key string, a *ACME) {
	f, named := &a.Fallback, false
	r.mapping(n, key, []field{
		{"directory", func(n *yaml.Node, key string) {
			if named = n.Kind != yaml.ScalarNode || n.Value != ""; named {
				r.in(directory, &f.Directory)(n, key)
			}
		}},
		{"agree_tos", func(n *yaml.Node, key string) { r.boolean(n, key, &f.AgreeTOS) }},
		{"eab", func(n *yaml.Node, key string) { r.eab(n, key, &f.EAB.KID, &f.EAB.HMACFile) }},
		{"ca_file", r.optionalPath(&f.CAFile, "")},
	})
	switch {
	case named:
		r.terms(n, key, f.AgreeTOS)
	case f.AgreeTOS || f.EAB.KID != "" || f.CAFile != "":
		r.fail(n, key+".directory",
			"is missing: it must be letsencrypt, letsencrypt-staging, or the https URL of a directory")
	}
}

// eab reads an external account binding.
func (r sections) eab(n *yaml.Node, key string, kid, file *string) {
	r.mapping(n, key, []field{
		{"kid", func(n *yaml.Node, key string) { r.text(n, key, kid) }},
		{"hmac_file", r.optionalPath(file, "")},
	})
	if (*kid == "") != (*file == "") {
		r.fail(n, key, "has one of kid and hmac_file: it must have both, or neither")
	}
}

// terms checks that the owner agrees to the terms of service of a CA.
func (r sections) terms(n *yaml.Node, key string, agreed bool) {
	key += ".agree_tos"
	if !agreed && !r.failed(key) {
		r.fail(at(n, "agree_tos"), key,
			"is false: it must be true, which says that you agree to the CA's terms of service")
	}
}

// dns reads the section key.
func (r sections) dns(n *yaml.Node, key string) {
	r.mapping(n, key, []field{
		{"server", r.in(optional(nameServer), &r.c.DNS.Server)},
		{"key_file", r.optionalPath(&r.c.DNS.KeyFile, "")},
		{"zone", r.in(optional(hostName), &r.c.DNS.Zone)},
		{"resolver", r.in(optional(resolver), &r.c.DNS.Resolver)},
	})
}
