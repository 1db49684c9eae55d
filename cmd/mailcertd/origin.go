package main

import (
	"crypto/x509"
	"strings"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// origin is where the installed certificate comes from, as a person would say
// it: plan.Owner says what may be replaced, and calls foreign what its owner
// installed with our own verb. The words are stable.
type origin string

// The origins.
const (
	fromHere       origin = "issued-here"       // by the CA on this host
	fromElsewhere  origin = "issued-elsewhere"  // by the CA on the host of issuer.ssh
	fromMailcertd  origin = "made-by-mailcertd" // ours, and no CA that is there issued it
	fromStopGap    origin = "stop-gap"          // self-signed by mailcertd until a CA answers
	fromBaseSystem origin = "base-system"       // by the base system's rc.d/sendmail
	fromPerson     origin = "installed-by-hand" // with mailcertd install, or restore
	fromAnotherCA  origin = "another-ca"        // bought, or of a CA that mailcertd does not know
	fromItself     origin = "self-signed"       // and not by mailcertd
	fromUnknown    origin = "unknown"           // what lies there cannot be judged
)

// originOf says where c, the installed certificate, comes from, and for
// fromPerson when it was installed; zero: not known.
func originOf(cfg config.Config, r keeper.Result, c *x509.Certificate) (origin, time.Time) {
	id := plan.LeafID(c)
	switch r.Plan.Facts.Owner {
	case plan.Ours:
		switch {
		case !issuedByKnown(cfg, r, c):
			return fromMailcertd, time.Time{}
		case cfg.Issuer.Kind == config.IssuerSSH:
			return fromElsewhere, time.Time{}
		}
		return fromHere, time.Time{}
	case plan.Interim:
		return fromStopGap, time.Time{}
	case plan.Stanza:
		return fromBaseSystem, time.Time{}
	}
	switch {
	case r.Plan.Facts.Owner == plan.Nobody:
		return fromUnknown, time.Time{}
	case r.Plan.State.Carried.Digest == id:
		return fromPerson, r.Plan.State.Carried.Since
	case issuer.SelfSigned(c):
		return fromItself, time.Time{}
	case r.Observed.CA.Err != nil: // it may be the one
		return fromUnknown, time.Time{}
	}
	return fromAnotherCA, time.Time{}
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

// words is the origin for people; target is the host of issuer.ssh.
func (o origin) words(target string, carried *time.Time, p *page) string {
	switch o {
	case fromHere:
		return "issued by the CA on this host"
	case fromElsewhere:
		return "issued by the CA on " + hostOf(target)
	case fromMailcertd:
		return "made by mailcertd, under a CA that is gone"
	case fromStopGap:
		return "a stop-gap, signed by mailcertd itself until a CA answers"
	case fromBaseSystem:
		return "made by the base system (rc.d/sendmail)"
	case fromPerson:
		if carried == nil {
			return "installed by hand"
		}
		return "installed by hand on " + p.day(*carried)
	case fromUnknown:
		return "of unknown origin"
	case fromItself:
		return "self-signed, not by mailcertd"
	}
	return "of another CA, not issued by mailcertd"
}

// hostOf is the host of an ssh target, user@host.
func hostOf(target string) string { return target[strings.LastIndex(target, "@")+1:] }
