package plan

import (
	"crypto/x509"
	"errors"
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// pair is a private key and its certificate as they are installed, and what is known about them.
type pair struct {
	*assessment
	installed
	is        certdir.Pair
	issuer    *pairIssuer
	wanted    bool        // the configuration asks for it
	staged    pki.KeyFile // a new key that lies ready; Public nil when there is none
	stagedErr error       // why the staged key could not be read

	sent     *x509.Certificate // what the CA host or the ACME CA sent for it last; nil: nothing
	owner    Owner
	revoked  *revoked
	asked    bool // a person asked for another certificate in place of the installed one
	askedKey bool // a person asked for another key in place of the installed one
}

// newPair returns what is known of a pair, except whether it was revoked.
func newPair(a *assessment, is certdir.Pair) *pair {
	staged, by := a.obs.Staged[is.Name], a.issuer
	if is == certdir.Client {
		by = a.issuers[len(a.issuers)-1]
	}
	p := &pair{assessment: a, installed: installedOf(*a.obs.Certs.Pair(is)), is: is, issuer: by,
		wanted: slices.Contains(Wanted(a.cfg), is), staged: staged.Key, stagedErr: staged.Err}
	p.sent = sent(p)
	p.owner = ownerOf(p)
	p.asked, p.askedKey = a.wish.replaces(is, p.installed)
	return p
}

// pair returns the facts about one of certdir.Pairs.
func (a *assessment) pair(is certdir.Pair) *pair {
	return a.pairs[slices.IndexFunc(a.pairs, func(p *pair) bool { return p.is == is })]
}

// maySign reports whether a certificate may be signed for the pair now: always where the installed one is of no use,
// otherwise only by a believed clock.
func (p *pair) maySign() bool {
	if p.is == certdir.Host {
		return p.assessment.maySign()
	}
	return p.clock == clockFine || !p.matches || p.owner == Interim
}

// kept reports whether a pair that the configuration does not name is kept nevertheless: sendmail uses it, or a person
// restored it.
func (p *pair) kept() bool {
	return p.owner.mine() && (p.used() || p.held())
}

// remembered is the state of the pair.
func (p *pair) remembered() state.Pair { return p.obs.State.Pair(p.is.Name) }

// refusal is why sendmail's OpenSSL does not load the certificate; "": it loads it.
func (p *pair) refusal() string {
	if p.leaf == nil {
		return ""
	}
	return p.obs.Accept.Libssl.Refuses(p.leaf)
}

// keptForeign reports whether the installed pair is somebody else's and stays: it works, or only its expiry, names or
// modes are wrong.
func (p *pair) keptForeign() bool {
	if p.unjudged() {
		return true
	}
	// The pair and its CA certificate stay while no new certificate can be issued.
	replaced := p.wish.Force && p.asked && !p.obs.FailedNow[ObtainFailureOf(p.is)]
	return p.owner == Foreign && p.matches && p.refusal() == "" && !replaced
}

// held reports whether a person restored this certificate: it stays until its renewal.
func (p *pair) held() bool {
	hold := p.remembered().Hold
	return p.leaf != nil && hold != "" && hold == pki.Fingerprint(p.leaf) &&
		p.matches && p.refusal() == "" && !p.isDue(p.leaf) && !p.asked && p.revoked == nil
}

// holdIsOver reports whether another certificate has taken the place of a restored one. The restored one is then not
// kept again, should it come back on another way.
func (p *pair) holdIsOver() bool {
	hold := p.remembered().Hold
	return hold != "" && p.leaf != nil && p.matches && hold != pki.Fingerprint(p.leaf)
}

// unjudged reports a key or a certificate that is well-formed, but of a kind that mailcertd cannot read. It may work,
// so it is left alone.
func (p *pair) unjudged() bool {
	k, c := p.keyFile, p.certFile
	if p.leaf != nil && p.leaf.PublicKey == nil && k.Node.Exists && !p.keyUnusable() {
		return !(p.wish.Force && p.asked) // OpenSSL may know this kind
	}
	return errors.Is(k.Key.Err, pki.ErrUnsupported) && c.Node.Exists ||
		errors.Is(c.File.Err, pki.ErrUnsupported) && k.Node.Exists
}
