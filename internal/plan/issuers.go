package plan

import (
	"crypto/x509"
	"slices"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// pairIssuer is the issuer of a pair, with what this host knows of its CA certificates. An ACME CA is asked as a CA
// host is, but sends no CAs to trust: what it issued is ours by the state, its last answer or OrderLine, and the chain
// of a leaf lies behind it in its file.
type pairIssuer struct {
	config.Issuer
	signs bool // it is the private CA on this host, and can sign now

	ca          ca.Observed         // the CA directory of this host
	accepted    []*x509.Certificate // the certificates of the CA on another host that this one trusts
	acceptedErr error               // why accepted could not be read
	// beside is the other issuer of this host where it knows other CA certificates; nil: there is none.
	beside *pairIssuer
}

// issuersOf returns the issuers of this host: the host's own pair has the first, and the client's pair the last, which
// is the same one unless `client:` names another kind.
func issuersOf(cfg config.Config, obs Observed) []*pairIssuer {
	known := func(is config.Issuer) *pairIssuer {
		return &pairIssuer{Issuer: is, ca: obs.CA, accepted: obs.Accepted, acceptedErr: obs.AcceptedErr}
	}
	host := known(cfg.Issuer)
	if cfg.Client.Kind != config.ClientOwn || cfg.Client.Issuer.Kind == cfg.Issuer.Kind {
		return []*pairIssuer{host}
	}
	client := known(cfg.Client.Issuer)
	if host.remote() != client.remote() || host.acme() != client.acme() {
		host.beside, client.beside = client, host
	}
	return []*pairIssuer{host, client}
}

// forgetFormer removes the failures of issuers on other hosts that are no longer configured for their pair: nobody
// waits for them any more, and what they said does not concern the present ones.
func forgetFormer(cfg config.Config, failures map[string]state.Failure) {
	of := func(key, by string) {
		if f := failures[key]; f.By != "" && f.By != by {
			delete(failures, key)
		}
	}
	for _, p := range certdir.Pairs() {
		is := &pairIssuer{Issuer: cfg.Issuer}
		if p == certdir.Client && cfg.Client.Kind == config.ClientOwn {
			is.Issuer = cfg.Client.Issuer
		}
		of(ObtainFailureOf(p), is.name())
		of(FallbackFailure(p), is.fallback())
	}
}

// Obtains reports whether an issuer of that kind is configured for a pair of this host.
func Obtains(cfg config.Config, kind config.IssuerKind) bool {
	return cfg.Issuer.Kind == kind || cfg.Client.Kind == config.ClientOwn && cfg.Client.Issuer.Kind == kind
}

// CAHost is the configured CA on another host; the zero value for none.
func CAHost(cfg config.Config) config.Issuer {
	switch {
	case cfg.Issuer.Kind == config.IssuerSSH:
		return cfg.Issuer
	case Obtains(cfg, config.IssuerSSH):
		return cfg.Client.Issuer
	}
	return config.Issuer{}
}

// acme reports whether the certificates come from an ACME CA.
func (i *pairIssuer) acme() bool { return i.Kind == config.IssuerACME }

// remote reports whether the CA is on another host.
func (i *pairIssuer) remote() bool { return i.Kind == config.IssuerSSH }

// name is who is asked for certificates, for people: the CA host, or the ACME CA.
func (i *pairIssuer) name() string {
	if i.acme() {
		return i.ACME.Directory
	}
	return i.SSH.Target
}

// asked is name, or the fallback's name for people.
func (i *pairIssuer) asked(fallback bool) string {
	if fallback {
		return i.fallback()
	}
	return i.name()
}

// theCA names the CA behind it: the one on the CA host, or the ACME CA.
func (i *pairIssuer) theCA() string {
	if i.acme() {
		return i.name()
	}
	return "the CA at " + i.name()
}

// current is the generation that signs now; nil when none is known.
func (i *pairIssuer) current() *x509.Certificate {
	switch {
	case i.acme():
		return nil
	case !i.remote():
		return i.ca.Current.Cert
	case len(i.accepted) > 0:
		return i.accepted[0]
	}
	return nil
}

// generations are the CA certificates in the CA directory, the current one first; with the CA on another host, its
// accepted certificates. Those of the issuer beside it follow.
func (i *pairIssuer) generations() []*x509.Certificate {
	out := i.own()
	if i.beside != nil {
		out = append(out, i.beside.own()...)
	}
	return out
}

// own are the generations of this issuer alone.
func (i *pairIssuer) own() []*x509.Certificate {
	if i.acme() {
		return nil
	}
	if i.remote() {
		return slices.Clone(i.accepted)
	}
	var out []*x509.Certificate
	if c := i.ca.Current.Cert; c != nil {
		out = append(out, c)
	}
	for _, g := range i.ca.Older {
		if g.Cert != nil {
			out = append(out, g.Cert)
		}
	}
	if i.ca.HasNext() {
		out = append(out, i.ca.Next.Cert)
	}
	return out
}

// issued reports whether a generation issued c.
func (i *pairIssuer) issued(c *x509.Certificate) bool {
	return slices.ContainsFunc(i.generations(), func(g *x509.Certificate) bool { return pki.IssuedBy(c, g) })
}

// living reports whether the generation that issued c is still valid at a time.
func (i *pairIssuer) living(c *x509.Certificate, at time.Time) bool {
	if i.acme() {
		return true // its CA's own end is not known here
	}
	for _, g := range i.generations() {
		if pki.IssuedBy(c, g) {
			return at.Before(g.NotAfter)
		}
	}
	return false
}

// partial reports that a generation could not be read, so that a certificate of unknown origin may be from it.
func (i *pairIssuer) partial() bool {
	switch {
	case i.acme():
		return false
	case i.remote():
		return i.acceptedErr != nil
	}
	return i.ca.Partial()
}

// trustSet are the CA certificates that cacert.pem must hold, the current one first.
func (i *pairIssuer) trustSet(at time.Time) []*x509.Certificate {
	out := i.bundle(at)
	if i.beside != nil {
		out = append(out, slices.DeleteFunc(i.beside.bundle(at),
			func(c *x509.Certificate) bool { return contains(out, c) })...)
	}
	return out
}

// bundle is the part of trustSet that this issuer needs.
func (i *pairIssuer) bundle(at time.Time) []*x509.Certificate {
	switch {
	case i.acme():
		return nil
	case !i.remote():
		return ca.Bundle(i.ca, at)
	}
	return slices.DeleteFunc(slices.Clone(i.accepted), func(c *x509.Certificate) bool { return at.After(c.NotAfter) })
}
