package report

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Origin is where the installed certificate comes from, as a person would say
// it: plan.Owner says what may be replaced, and calls foreign what its owner
// installed with our own verb. The words are stable.
type Origin string

// The origins.
const (
	FromHere       Origin = "issued-here"       // by the CA on this host
	FromElsewhere  Origin = "issued-elsewhere"  // by the CA on the host of issuer.ssh
	FromMailcertd  Origin = "made-by-mailcertd" // ours, and no CA that is there issued it
	FromInterim    Origin = "interim"           // self-signed by mailcertd until a CA answers
	FromBaseSystem Origin = "base-system"       // by the base system's rc.d/sendmail
	FromPerson     Origin = "installed-by-hand" // with mailcertd install, or restore
	FromAnotherCA  Origin = "another-ca"        // bought, or of a CA that mailcertd does not know
	FromItself     Origin = "self-signed"       // and not by mailcertd
	FromUnknown    Origin = "unknown"           // what is there cannot be judged
)

// originOf says where c, an installed certificate of that owner, comes from, and for
// FromPerson when it was installed; zero: not known.
func originOf(cfg config.Config, r keeper.Result, owner plan.Owner, c *x509.Certificate) (Origin, time.Time) {
	id := pki.Fingerprint(c)
	switch owner {
	case plan.Ours:
		switch {
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
	case r.Observed.CA.Err != nil: // it may be the one
		return FromUnknown, time.Time{}
	}
	return FromAnotherCA, time.Time{}
}

// issuedByKnown says that a CA generation that is at hand issued c.
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
