package plan

import (
	"crypto/x509"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
)

// shown reports whether sendmail shows this pair when it delivers mail as a client, so whether ClientCertFile in its
// sendmail.cf leads to the pair.
func (p *pair) shown() bool {
	cf := p.cf()
	if cf.Missing { // then assume what freebsd.mc and this configuration would make of it
		switch p.cfg.Client.Kind {
		case config.ClientNone:
			return false
		case config.ClientOwn:
			return p.is == certdir.Client
		}
		return p.is == certdir.Host
	}
	return len(cf.ClientCert) > 0 && leadsTo(cf, cf.ClientCert[0], p.obs.Certs, p.is.CertFile)
}

// shownElsewhere reports a certificate outside the certs directory that sendmail shows as a client although it is for
// servers alone.
func shownElsewhere(a *assessment) (found finding) {
	cf := a.cf()
	for _, p := range a.pairs {
		if p.shown() {
			return found // the section of that pair reports it
		}
	}
	f := cf.Client.Cert.File
	if f.Err != nil || len(f.Certs) == 0 {
		return found
	}
	if _, client := purposes(f.Certs[0]); !client {
		found.report(notForClients(cf.Client.Cert.Path))
	}
	return found
}

// leftPublic reports a certificate of a former ACME CA that sendmail shows as a client. With the issuer none it stays
// until it expires.
func leftPublic(a *assessment) (found finding) {
	for _, p := range a.pairs {
		if p.owner != Ours || directoryOf(p) == "" || !p.shown() {
			continue
		}
		if _, client := purposes(p.leaf); !client {
			found.report(notForClients(certPath(p)))
		}
	}
	return found
}

func notForClients(path string) Problem {
	return Problem{Reason: WrongPurpose, Severity: Notice, Path: path,
		Text: "is for servers only (its extendedKeyUsage has no clientAuth), and sendmail shows it as a client: " +
			"hosts that receive mail from this one log verify=FAIL about it",
		Hint: "set `client: {issuer: local}` in mailcertd.yaml, then name client.cert and client.key in the .mc " +
			"file; see `mailcertd help wrong-purpose`"}
}

// fitsPurpose reports whether the extended key usage of c allows what the pair is configured for: serving, acting as a
// client, or both.
func (p *pair) fitsPurpose(c *x509.Certificate) bool {
	server, client := purposes(c)
	// A public CA certifies servers only: `orders` says so, and another order would not help. Its certificate is not
	// replaced for that reason after the issuer has changed either.
	both := p.is == certdir.Host && p.cfg.Client.Kind == config.ClientSame && !p.issuer.acme() &&
		!(c == p.leaf && directoryOf(p) != "")
	return (server || !p.is.Server()) && (client || !both && p.is != certdir.Client)
}

// purposes reads the extended key usage; without one everything is allowed (RFC 5280, 4.2.1.12).
func purposes(c *x509.Certificate) (server, client bool) {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true, true
	}
	for _, u := range c.ExtKeyUsage {
		server = server || u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
		client = client || u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	}
	return server, client
}
