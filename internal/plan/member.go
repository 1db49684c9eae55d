package plan

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
)

// How often, and how long, a member asks the CA on another host.
const (
	// askEvery is how often a member asks for the trust set.
	askEvery = 24 * time.Hour
	// askOften is the shortest time between two questions, used where a CRL ends soon.
	askOften = time.Hour
	// crlSettles is how long the CA gets to make its next CRL before it is asked for it.
	crlSettles = 5 * time.Minute
	// mostTrusts is how many CA certificates a request lists, the CA's own first.
	mostTrusts = 32
)

// member decides which generations in the last answer of the CA on another host are accepted.
func member(a *assessment, by *pairIssuer) (found finding) {
	if f, failed := a.obs.State.Failures[CAHostFailure(a.cfg)]; failed {
		severity, setting := Warning, "issuer.ssh"
		if pairOfCAHost(a.cfg) == certdir.Client {
			setting = "client.issuer.ssh"
		}
		for _, p := range a.pairs {
			if p.is == pairOfCAHost(a.cfg) {
				severity = p.failing()
			}
		}
		found.report(Problem{Reason: IssuerAway, Severity: severity, Path: a.cfg.Path,
			Text: fmt.Sprintf("the CA at %s has given no usable answer since %s (%s): %s",
				by.name(), moment(f.First), counted(f.Count, "attempt"), f.Error),
			Hint: "check " + setting + " in mailcertd.yaml, and run `mailcertd ca show` on the CA host; the present " +
				"files stay in use, and mailcertd asks again at " + moment(f.Next)})
	}
	if a.obs.AcceptedErr != nil {
		found.report(Problem{Reason: Unreadable, Severity: Error, Path: a.cfg.State.Dir,
			Text: "the list of accepted CA certificates cannot be read, so the CA is not asked: " +
				a.obs.AcceptedErr.Error(),
			Hint: cmp.Or(readHint(a.obs.AcceptedErr),
				"move that file away, then accept the CA again: run `mailcertd install FILE` with its certificate")})
		return found
	}
	if a.obs.ReplyErr != nil {
		found.report(Problem{Reason: IssuerAway, Severity: Warning, Path: a.cfg.State.Dir,
			Text: "the last answer of the CA cannot be read: " + a.obs.ReplyErr.Error(),
			Hint: cmp.Or(readHint(a.obs.ReplyErr),
				"move that file away: mailcertd asks again; if it then refuses the CA, run `mailcertd install FILE` "+
					"with the CA's certificate")})
		return found
	}
	if len(a.obs.Reply.CAs) == 0 {
		return found
	}
	accepted, refused := issuer.Accept(a.obs.Accepted, a.obs.Reply)
	for _, c := range refused {
		found.report(Problem{Reason: CARefused, Severity: Error, Path: a.cfg.State.Dir,
			Text: fmt.Sprintf(
				"the CA host presents a CA certificate that no CA trusted here has signed: %s, SHA-256 %s",
				pki.Readable(c.RawSubject), pki.Fingerprint(c)),
			Hint: "compare the SHA-256 with `mailcertd ca show` there; if it is the same, carry that certificate " +
				"here and run `mailcertd install FILE`"})
	}
	if len(accepted) > 0 && !slices.EqualFunc(accepted, a.obs.Accepted, (*x509.Certificate).Equal) {
		names := []string{}
		for _, c := range accepted {
			names = append(names, pki.Fingerprint(c)[:16])
		}
		found.do(Action{Kind: AcceptCA, Reason: CAFileWrong, Path: a.cfg.State.Dir, Certs: accepted,
			Text: toTrust.With(fmt.Sprintf("the CA of %s: %s", by.name(), strings.Join(names, ", ")))})
	}
	return found
}

// learnedAsOurs returns the FileID of the installed certificate if the CA on the other host issued it and the state
// does not list it yet. The entry keeps it ours after that CA is gone.
func learnedAsOurs(p *pair) (id string, learned bool) {
	id = FileID(p.certFile.Digest)
	return id, (p.issuer.remote() && p.leaf != nil && p.issuer.issued(p.leaf) || p.isAnswer(p.leaf) ||
		directoryIn(p.certFile) != "") && !p.fileIsOurs(p.certFile.Digest)
}

// trusts are the fingerprints of the CA certificates that sendmail trusts now.
func trusts(a *assessment) []string {
	var out []string
	for _, c := range a.obs.Accepted {
		if a.trusted(c) && len(out) < mostTrusts {
			out = append(out, pki.Fingerprint(c))
		}
	}
	return out
}

// trusted reports whether c is in cacert.pem or in a file of trust/.
func (a *assessment) trusted(c *x509.Certificate) bool {
	if contains(a.obs.Certs.CA.File.Certs, c) {
		return true
	}
	return slices.ContainsFunc(a.obs.Certs.Trust, func(t certdir.CertEntry) bool { return contains(t.File.Certs, c) })
}

// TrustID is a digest of a trust set: the SHA-256 over its fingerprints.
func TrustID(fingerprints []string) string {
	sum := sha256.Sum256([]byte(strings.Join(fingerprints, " ")))
	return hex.EncodeToString(sum[:])
}

// askDue is when the trust set is asked for again: a day after the last answer, or sooner where sendmail's CRL would
// expire before that. The CA makes the next CRL when a third of its life is left.
func askDue(a *assessment) time.Time {
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

// askDaily asks for the trust set once a day, and at once when this host trusts other CAs than it last told the CA
// host.
func askDaily(a *assessment, by *pairIssuer, sofar finding) (found finding) {
	if !by.remote() || by.partial() || sofar.ask != nil || a.doing(sofar, Install, AcceptCA) {
		return found
	}
	m, trusted := a.obs.State.Member, trusts(a)
	due := askDue(a)
	text := toAsk.With(by.name() + " which CAs to trust")
	if !m.Asked.IsZero() && m.Told != TrustID(trusted) {
		due, text = a.now, toTell.With(by.name()+" which CAs this host trusts")
	}
	if f, failed := a.obs.State.Failures[CAHostFailure(a.cfg)]; failed && f.Next.After(due) {
		due = f.Next
	}
	if a.now.Before(due) {
		found.lookAt(due, text.Base())
		return found
	}
	found.ask = &Ask{Reason: TrustAsk, Text: text, Trusts: trusted}
	return found
}
