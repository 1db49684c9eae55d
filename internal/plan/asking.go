package plan

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"time"

	"mailcertd/internal/pki"
)

// request asks the CA host or the ACME CA for the certificate that the pair needs. Where sendmail has nothing to serve,
// an interim pair is installed first, and the next look asks over its key.
func request(d demand, sofar finding) outcome {
	p, newKey := d.pair, d.newKey
	out := d.unmet("the daemon asks " + p.issuer.name() + "; to ask now, run `mailcertd renew`")
	if bridges(d) {
		return out.and(interim(d))
	}
	if p.name == "" || p.issuer.partial() { // without a name or all generations no answer can be checked
		return out
	}
	second := false // the fallback is asked
	f, failed := p.obs.State.Failures[ObtainFailureOf(p.is)]
	if failed && p.now.Before(f.Next) && !p.asked {
		out.lookAt(f.Next, "ask the CA again")
		now, from := asksFallback(p)
		if !now {
			if !from.IsZero() {
				out.lookAt(from, "ask the fallback "+p.issuer.fallback())
			}
			return out
		}
		second = true
	}
	if newKey && p.staged.Public == nil {
		out.do(stageKey(p, d.first.reason))
		return out // the interim pair is installed first
	}
	// Who asks holds a lock that ends with the process, so that a request is repeated at once after a crash. To a
	// request that has failed no answer comes any more.
	until, asked := p.waitsForAnswer(p.staged.Public)
	over := failed && !f.Last.Before(until.Add(-requestLasts))
	if newKey && asked && !p.asked && !over && !p.issuer.acme() && p.obs.Asking {
		out.lookAt(until, "ask the CA again")
		out.lookAt(p.now.Add(askingSeen), "ask the CA again")
		return out
	}
	useless, is := rejected(d, sofar, p.issuer.asked(second))
	out.finding = out.finding.and(useless)
	if is && !p.asked {
		return out
	}
	ask := Ask{Reason: d.first.reason, Request: requestFor(p, newKey),
		Text: toAsk.With(p.issuer.asked(second) + " for a certificate for " + strings.Join(p.names, ", "))}
	if p.issuer.acme() {
		ask.Pair, ask.Fallback = p.is, second
		by := p.obs.State.ACME[p.is.Name].SentBy
		ask.Lost = answerLost(p) && (by != "" && by == p.issuer.fallback()) == second // another CA does not have it
		if p.leaf != nil && p.owner == Ours && otherIssuer(p) == "" && fromFallback(p) == second {
			ask.Replaces = p.leaf
		}
	} else {
		ask.Trusts, ask.Renew, ask.Holds = trusts(p.assessment), replacedSerial(p, newKey), otherSerials(p)
	}
	out.ask = &ask
	return out
}

// askingSeen is how soon it is seen that another mailcertd has ended and asks no longer: nothing tells that.
const askingSeen = time.Minute

// rejected reports a new answer whose certificate for that key cannot be used here. The next answer would be the same,
// so the next request waits: an hour with a CA host, a day with an ACME CA, or until the certificate begins. by is who
// would be asked.
func rejected(d demand, sofar finding, by string) (found finding, is bool) {
	p, again := d.pair, d.obs.State.Member.Asked.Add(askOften)
	l, decided := p.sent, !p.doing(sofar, AcceptCA)
	if p.issuer.acme() {
		m := p.obs.State.ACME[p.is.Name]
		again, decided = m.Answered.Add(askEvery), m.SentBy == by // else it is another CA's answer
	}
	if l == nil || !decided || !pki.SamePublicKey(l.PublicKey, d.nextKey()) ||
		pki.Fingerprint(l) == pki.Fingerprint(p.leaf) {
		return found, false
	}
	why, hint := unusable(p, l)
	if l.NotBefore.After(p.now) && l.NotBefore.Before(again) {
		again = l.NotBefore
	}
	if why == "" || !p.now.Before(again) {
		return found, false
	}
	if p.issuer.acme() && hint != "" { // what it says of a CA host is not to be done there
		hint = "compare `date` with another host, and check host.name, host.altnames and issuer.acme in mailcertd.yaml"
	}
	found.rejected = why
	found.report(Problem{Reason: IssuerAway, Severity: p.failing(), Path: p.cfg.Path, Hint: hint,
		Text: fmt.Sprintf("%s sent a certificate that this host cannot use: %s; mailcertd asks again at %s",
			p.issuer.theCA(), why, moment(again))})
	found.lookAt(again, "ask the CA again")
	return found, true
}

// failing is how grave it is that the CA gives no certificate: an error where one is needed now.
func (p *pair) failing() Severity {
	if p.leaf == nil || p.owner == Interim || p.owner.mine() && p.isDue(p.leaf) {
		return Error
	}
	return Warning
}

// unusable is why a certificate that the CA sent cannot be used here, and what a person can do; "": it can be used.
func unusable(p *pair, c *x509.Certificate) (why, hint string) {
	switch {
	case p.issuer.remote() && !p.issuer.issued(c):
		return "this host does not trust its CA",
			"run `mailcertd ca show` on the CA host; if that is the right CA, carry its certificate here and run " +
				"`mailcertd install FILE`"
	case !pki.HasSAN(c) || !p.covers(c):
		return "it is for " + strings.Join(CertNames(c), ", ") + ", must be for " + strings.Join(p.names, ", "),
			"check host.name and host.altnames here, and `mailcertd ca show` on the CA host"
	case !p.fitsPurpose(c):
		return "its extendedKeyUsage lacks serverAuth or clientAuth", ""
	case p.tooEarly(c):
		return "it becomes valid on " + moment(c.NotBefore) + ", but the clock of this host says " + moment(p.now),
			"the clocks of the two hosts differ: set the one that is wrong"
	case p.at.After(c.NotAfter):
		return "it expired on " + moment(c.NotAfter) + ", but the clock of this host says " + moment(p.now),
			"the clocks of the two hosts differ: set the one that is wrong"
	case !p.issuer.living(c, p.at):
		return "the CA that issued it has expired", "see `mailcertd ca show` on the CA host"
	case isListed(p, c):
		return "it was revoked", "see `mailcertd list` on the CA host"
	case p.isDue(c):
		return "it expires on " + moment(c.NotAfter) + ", so its renewal would be due at once",
			"check validity in mailcertd.yaml, and the clocks of the two hosts"
	}
	return "", ""
}

// requestFor returns the request for a certificate, for the staged key or for the installed one.
func requestFor(p *pair, staged bool) *Request {
	return &Request{Pair: p.is, Staged: staged, Name: p.name, AltNames: p.cfg.Host.AltNames, Days: p.cfg.Validity.Days}
}

// replacedSerial is that of the installed certificate if that CA issued it: the request names it so that the CA allows
// a second certificate for this host.
//
// An older CA host knows one certificate for each member and refuses a request over another key unless it names the
// newest one, so a request over a new key names that.
func replacedSerial(p *pair, newKey bool) *big.Int {
	own := p.leaf != nil && p.issuer.issued(p.leaf)
	if own && !newKey {
		return p.leaf.SerialNumber
	}
	var newest *x509.Certificate
	for _, q := range p.pairs {
		if q.leaf != nil && p.issuer.issued(q.leaf) && (newest == nil || !q.leaf.NotBefore.Before(newest.NotBefore)) {
			newest = q.leaf
		}
	}
	if newest == nil {
		return nil
	}
	return newest.SerialNumber
}

// otherSerials are those of that CA's certificates that the other pairs have, and of one that was sent for a staged key
// and will be installed with this pair's.
func otherSerials(p *pair) []*big.Int {
	var out []*big.Int
	for _, q := range p.pairs {
		if q.is == p.is {
			continue
		}
		if q.leaf != nil && p.issuer.issued(q.leaf) {
			out = append(out, q.leaf.SerialNumber)
		}
		if l := q.sent; l != nil && pki.SamePublicKey(l.PublicKey, q.staged.Public) && p.issuer.issued(l) {
			out = append(out, l.SerialNumber)
		}
	}
	return out
}
