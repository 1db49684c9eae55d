package plan

import (
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/mta"
)

// assessment holds the facts that every section uses, worked out once a look.
type assessment struct {
	cfg  config.Config
	obs  Observed
	wish Wish

	host    *pair         // host.key and host.cert
	pairs   []*pair       // all of certdir.Pairs
	issuer  *pairIssuer   // of the host's own pair
	issuers []*pairIssuer // all of this host's, see issuersOf
	tlsa    dane.Decision // which keys may be changed, by their TLSA records
	verdict mta.Verdict   // what sendmail's rules say about the installed files

	judgement
	hostNames
}

func assess(cfg config.Config, obs Observed, wish Wish, now time.Time) *assessment {
	a := &assessment{cfg: cfg, obs: obs, wish: wish, judgement: judgement{now: now}}
	a.issuers = issuersOf(cfg, obs)
	a.issuer = a.issuers[0]
	a.host = newPair(a, certdir.Host)
	a.verdict = mta.Judge(obs.CF, Files(obs.CF, obs.Certs, obs.Accept))
	a.judgement = judgeClock(a)
	a.hostNames = namesOf(cfg, obs.Host)
	for _, by := range a.issuers {
		by.signs = by.Kind == config.IssuerLocal && canSign(a)
	}
	a.pairs = []*pair{a.host}
	for _, is := range certdir.Pairs()[1:] {
		a.pairs = append(a.pairs, newPair(a, is))
	}
	for _, p := range a.pairs {
		p.revoked = revocationOf(p)
	}
	a.tlsa = dane.Decide(tlsaInput(a), a.now)
	return a
}

// works reports whether sendmail can offer STARTTLS with the installed set.
func (a *assessment) works() bool { return a.host.matches && a.verdict.Sound && !a.breaks() }

// breaks reports whether the second pair stops STARTTLS: a file is missing or unsafe, or both keys are of one type.
func (a *assessment) breaks() bool {
	return slices.ContainsFunc(a.verdict.Complaints, func(c mta.Complaint) bool {
		return c.Fatal && !c.Beyond &&
			c.Of == mta.SecondServer
	})
}

func (a *assessment) cf() mta.CF { return a.obs.UsedCF() }

// cfNamesOurs reports whether sendmail reads our files when it starts. Paths in a sendmail.cf are real paths and are
// not moved by --root.
func (a *assessment) cfNamesOurs() bool {
	return NamesOurs(a.cf(), a.obs.Certs)
}
