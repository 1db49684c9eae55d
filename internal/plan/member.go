package plan

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/issuer"
	"mailcertd/internal/state"
)

// Times of asking the CA on another host.
const (
	// askEvery is how often a member asks for the trust set.
	askEvery = 24 * time.Hour
	// askOften is how soon it asks again at the earliest, where a CRL ends soon.
	askOften = time.Hour
	// crlSettles is how long the CA gets to make its next CRL.
	crlSettles = 5 * time.Minute
	// mostTrusts is how many CA certificates are told; the CA's own come first.
	mostTrusts = 32
	// requestLasts is how long a staged key waits for the answer to its request.
	requestLasts = 15 * time.Minute
)

// member decides about what the CA on another host answered: which of its
// generations are accepted.
func (a *assessment) member(p *Plan) {
	if !a.remote() {
		return
	}
	if id := FileID(a.obs.Certs.Cert.Digest); a.leaf != nil && a.issuedHere(a.leaf) {
		if _, known := p.State.Ours[id]; !known { // it stays ours when the CA that issued it is no more
			p.State.AddOurs(id, "cert", a.now, Lying(a.obs.Certs)...)
		}
	}
	if f, failed := a.obs.State.Failures[ObtainFailure]; failed {
		sev := Warning
		if a.leaf == nil || a.owner == Interim || a.owner.mine() && a.isDue(a.leaf) {
			sev = Error
		}
		p.report(Problem{Reason: IssuerAway, Severity: sev, Path: a.cfg.Path,
			Text: fmt.Sprintf("the CA at %s did not answer as it should since %s (%d attempts): %s", a.cfg.Issuer.SSH.Target, day(f.First), f.Count, f.Error),
			Hint: "the present files serve on; it is asked again " + day(f.Next)})
	}
	if a.obs.ReplyErr != nil {
		p.report(Problem{Reason: IssuerAway, Severity: Warning, Path: a.cfg.State.Dir, Text: "the last answer of the CA cannot be read: " + a.obs.ReplyErr.Error()})
		return
	}
	if len(a.obs.Reply.CAs) == 0 {
		return
	}
	accepted, refused := issuer.Accept(a.obs.Accepted, a.obs.Reply)
	for _, c := range refused {
		p.report(Problem{Reason: CARefused, Severity: Error, Path: a.cfg.State.Dir,
			Text: fmt.Sprintf("the host of the CA shows a CA certificate that none of the trusted ones has signed: %s, SHA-256 %s", c.Subject, ca.Fingerprint(c)),
			Hint: "if it is right (compare `mailcertd ca show` there), carry it over and run `mailcertd install FILE`"})
	}
	if len(accepted) > 0 && !sameCerts(accepted, a.obs.Accepted) {
		names := []string{}
		for _, c := range accepted {
			names = append(names, ca.Fingerprint(c)[:16])
		}
		p.do(Action{Kind: AcceptCA, Reason: CAFileWrong, Path: a.cfg.State.Dir, Certs: accepted,
			Text: fmt.Sprintf("trust the CA of %s: %s", a.cfg.Issuer.SSH.Target, strings.Join(names, ", "))})
	}
}

func sameCerts(a, b []*x509.Certificate) bool {
	return slices.EqualFunc(a, b, func(x, y *x509.Certificate) bool { return bytes.Equal(x.Raw, y.Raw) })
}

// arrived are the certificates that could serve this host: those in newcerts,
// or what the CA on the other host sent.
func (a *assessment) arrived() []ca.Issued {
	if !a.remote() {
		if a.obs.CA.Status != ca.Complete {
			return nil
		}
		return a.obs.CA.Issued
	}
	l := a.obs.Reply.Leaf
	if l == nil || !a.issuedHere(l) {
		return nil
	}
	return []ca.Issued{{Serial: l.SerialNumber, Cert: l}}
}

// request asks the CA on the other host for what the pair needs. Where there
// is nothing to serve, a self-signed pair bridges the time, and the next look
// asks over its key.
func (a *assessment) request(p *Plan, c *Change, first *need, newKey bool) {
	a.unmend(p)
	for i := range p.Problems {
		if pr := &p.Problems[i]; pr.Reason == first.reason && pr.Hint == "" {
			pr.Hint = "the daemon asks " + a.cfg.Issuer.SSH.Target + "; `mailcertd renew` asks now"
		}
	}
	if first.broken || a.owner == Interim && a.ending() {
		a.interim(p, c, newKey, first.reason)
		return
	}
	if a.name == "" {
		return
	}
	if f, failed := a.obs.State.Failures[ObtainFailure]; failed && a.now.Before(f.Next) && !a.wishOpen() {
		p.lookAt(f.Next, "ask the CA again")
		return
	}
	if newKey && a.obs.Staged.Public == nil {
		t := a.newKeyType()
		p.do(Action{Kind: StageKey, Reason: first.reason, KeyType: t, Text: fmt.Sprintf("make a new %s key", t)})
		return // it is asked for when it lies there
	}
	if _, out := a.waitsForAnswer(a.obs.Staged.Public); newKey && out && !a.wishOpen() {
		return
	}
	p.Ask = &Ask{Reason: first.reason, Trusts: a.trusts(), Renew: a.replaces(),
		Text:    fmt.Sprintf("ask %s for a certificate for %s", a.cfg.Issuer.SSH.Target, strings.Join(a.names, ", ")),
		Request: &Request{Staged: newKey, Name: a.name, AltNames: a.cfg.Host.AltNames, Days: a.cfg.Validity.Days}}
}

// replaces is the serial of the installed certificate, when it is one of that
// CA: the CA then knows that another one is wanted.
func (a *assessment) replaces() *big.Int {
	if a.leaf != nil && a.issuedHere(a.leaf) {
		return a.leaf.SerialNumber
	}
	return nil
}

// requestOut says that a request over the staged key is under way.
func (a *assessment) requestOut(p *Plan, staged crypto.PublicKey) bool {
	until, out := a.waitsForAnswer(staged)
	if out {
		p.lookAt(until, "the answer to a request is given up")
	}
	return out
}

func (a *assessment) waitsForAnswer(staged crypto.PublicKey) (until time.Time, out bool) {
	m := a.obs.State.Member
	if staged == nil || m.Key == "" || m.Key != PublicID(staged) {
		return time.Time{}, false
	}
	return m.At, a.now.Before(m.At)
}

// RequestOut notes that a request over this staged key is out: the key is kept
// for that long. Zero is a quarter of an hour.
func RequestOut(s *state.State, key crypto.PublicKey, now time.Time, lasts time.Duration) {
	if lasts <= 0 {
		lasts = requestLasts
	}
	s.Member.Key, s.Member.At = PublicID(key), now.UTC().Truncate(time.Second).Add(lasts)
}

// trusts are the CA certificates that sendmail trusts now, by fingerprint.
func (a *assessment) trusts() []string {
	var out []string
	for _, c := range a.obs.Accepted {
		if a.trusted(c) && len(out) < mostTrusts {
			out = append(out, ca.Fingerprint(c))
		}
	}
	return out
}

// trusted says that c stands in cacert.pem or in a file of trust/.
func (a *assessment) trusted(c *x509.Certificate) bool {
	if contains(a.obs.Certs.CA.File.Certs, c) {
		return true
	}
	return slices.ContainsFunc(a.obs.Certs.Trust, func(t certdir.CertEntry) bool { return contains(t.File.Certs, c) })
}

// TrustID names a trust set: the SHA-256 over its fingerprints.
func TrustID(fingerprints []string) string {
	sum := sha256.Sum256([]byte(strings.Join(fingerprints, " ")))
	return hex.EncodeToString(sum[:])
}

// askDue is when the trust set is asked for again: a day after the last answer,
// or sooner where sendmail has a CRL that lives so short that it would be over
// before. The CA makes the next one with a third of its life left.
func (a *assessment) askDue() time.Time {
	asked := a.obs.State.Member.Asked
	due := asked.Add(askEvery)
	if !a.cfg.CRL.Install {
		return due
	}
	for _, der := range a.obs.Reply.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			continue
		}
		next := l.NextUpdate.Add(-l.NextUpdate.Sub(l.ThisUpdate)/3 + crlSettles)
		if least := asked.Add(askOften); next.Before(least) {
			next = least
		}
		if next.Before(due) {
			due = next
		}
	}
	return due
}

// askDaily asks for the trust set once a day, and tells the CA's host when
// what is trusted here has changed.
func (a *assessment) askDaily(p *Plan) {
	if !a.remote() || p.Ask != nil || p.has(Install) || p.has(AcceptCA) {
		return
	}
	m, trusts := a.obs.State.Member, a.trusts()
	due := a.askDue()
	text := "ask " + a.cfg.Issuer.SSH.Target + " for its trust set"
	if !m.Asked.IsZero() && m.Told != TrustID(trusts) {
		due, text = a.now, "tell "+a.cfg.Issuer.SSH.Target+" what is trusted here"
	}
	if f, failed := a.obs.State.Failures[ObtainFailure]; failed && f.Next.After(due) {
		due = f.Next
	}
	if a.now.Before(due) {
		p.lookAt(due, text)
		return
	}
	p.Ask = &Ask{Reason: TrustAsk, Text: text, Trusts: trusts}
}
