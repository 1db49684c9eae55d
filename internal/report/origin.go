package report

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Origin says where the installed certificate comes from, in a person's terms. plan.Owner differs: it says what may be
// replaced, and calls a certificate foreign that its owner installed with `mailcertd install`. The words are stable.
type Origin string

// The origins.
const (
	FromHere       Origin = "issued-here"       // by the CA on this host
	FromElsewhere  Origin = "issued-elsewhere"  // by the CA on the host of issuer.ssh
	FromACME       Origin = "issued-by-acme"    // by the ACME CA of issuer.acme
	FromMailcertd  Origin = "made-by-mailcertd" // ours, but its CA is gone
	FromInterim    Origin = "interim"           // self-signed by mailcertd until a CA answers
	FromBaseSystem Origin = "base-system"       // by the base system's rc.d/sendmail
	FromPerson     Origin = "installed-by-hand" // with mailcertd install, or restore
	FromAnotherCA  Origin = "another-ca"        // bought, or of a CA that mailcertd does not know
	FromItself     Origin = "self-signed"       // and not by mailcertd
	FromUnknown    Origin = "unknown"           // the certificate cannot be judged
)

// originOf returns the origin of c, an installed certificate of that owner, and for FromPerson when it was installed;
// zero: unknown.
func originOf(cfg config.Config, r keeper.Result, owner plan.Owner, c *x509.Certificate) (Origin, time.Time) {
	id := pki.Fingerprint(c)
	switch owner {
	case plan.Ours:
		switch {
		case cfg.Issuer.Kind == config.IssuerACME && !issuedByKnown(cfg, r, c):
			return FromACME, time.Time{}
		case !issuedByKnown(cfg, r, c):
			return FromMailcertd, time.Time{}
		case cfg.Issuer.Kind == config.IssuerSSH:
			return FromElsewhere, time.Time{}
		}
		return FromHere, time.Time{}
	case plan.Interim:
		return FromInterim, time.Time{}
	case plan.Stanza:
		return FromBaseSystem, time.Time{}
	}
	switch {
	case owner == plan.Nobody:
		return FromUnknown, time.Time{}
	case r.Plan.State.Carried.Digest == id:
		return FromPerson, r.Plan.State.Carried.Since
	case pki.SelfSigned(c):
		return FromItself, time.Time{}
	case r.Observed.CA.Err != nil: // the unreadable CA may have issued it
		return FromUnknown, time.Time{}
	}
	return FromAnotherCA, time.Time{}
}

// issuedByKnown reports whether a CA generation that could be read issued c.
func issuedByKnown(cfg config.Config, r keeper.Result, c *x509.Certificate) bool {
	known := r.Observed.Accepted
	if cfg.Issuer.Kind != config.IssuerSSH {
		o := r.Observed.CA
		known = []*x509.Certificate{o.Current.Cert, o.Next.Cert}
		for _, g := range o.Older {
			known = append(known, g.Cert)
		}
	}
	for _, g := range known {
		if g != nil && pki.IssuedBy(c, g) {
			return true
		}
	}
	return false
}
