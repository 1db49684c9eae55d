package plan

import (
	"crypto/x509"
	"fmt"
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// otherIssuer reports why a certificate of ours is of another issuer than the configured one, where one of them is an
// ACME CA; "": it is not.
func otherIssuer(p *pair) string {
	if p.owner != Ours || p.leaf == nil {
		return ""
	}
	if !p.issuer.acme() {
		return formerDirectory(p)
	}
	c := p.obs.CA
	known := slices.Clone(p.obs.Accepted)
	if c.Current.Cert != nil {
		known = append(known, c.Current.Cert)
	}
	for _, g := range c.Older {
		if g.Cert != nil {
			known = append(known, g.Cert)
		}
	}
	if slices.ContainsFunc(known, func(g *x509.Certificate) bool { return pki.IssuedBy(p.leaf, g) }) {
		return "a private CA issued it, and the issuer is now " + p.issuer.name()
	}
	if by := directoryOf(p); by != "" && by != p.issuer.name() && by != p.issuer.fallback() {
		return by + " issued it, and the issuer is now " + p.issuer.name()
	}
	return ""
}

// formerDirectory is otherIssuer where the issuer is a private CA. With the issuer none, the certificate stays.
func formerDirectory(p *pair) string {
	by := directoryOf(p)
	if by == "" || p.issuer.partial() || p.issuer.issued(p.leaf) {
		return ""
	}
	switch p.issuer.Kind {
	case config.IssuerLocal:
		return by + " issued it, and the issuer is now the CA on this host"
	case config.IssuerSSH:
		return by + " issued it, and the issuer is now " + p.issuer.theCA()
	}
	return ""
}

// refusal is what a refusal of a CA means: its reason, and what a person does next.
type refusal struct {
	reason Reason
	hint   string
}

// refusals says what the refusals mean, by their kinds.
var refusals = map[issuer.Kind]refusal{
	issuer.KindRateLimit: {ACMERateLimit, "wait: an earlier order would be refused again"},
	issuer.KindChallenge: {ACMEChallenge, "correct the cause in the message, then run `mailcertd renew`"},
	issuer.KindAccount:   {ACMEAccount, "correct the cause in the message, then run `mailcertd renew`"},
	issuer.KindTOS: {ACMEAccount,
		"read the terms, set issuer.acme.agree_tos to true, then run `mailcertd renew`"},
	issuer.KindEAB:   {ACMEAccount, "set issuer.acme.eab to what the CA gave you, then run `mailcertd renew`"},
	issuer.KindAway:  {IssuerAway, "check the network, issuer.acme.directory and issuer.acme.ca_file"},
	issuer.KindStore: {ACMEAccount, "correct that file or its directory, then run `mailcertd renew`"},
	issuer.KindClock: {ACMEClock, "compare `date` with another host, and set the clock that is wrong"},
	issuer.KindOrder: {ACMEOrder, "correct in mailcertd.yaml what the CA objects to, then run `mailcertd renew`"},
}

// RefusalReason is the reason of a problem whose cause is that kind of refusal.
func RefusalReason(kind issuer.Kind) Reason {
	is, known := refusals[kind]
	if !known {
		is = refusals[issuer.KindAway]
	}
	return is.reason
}

// orders reports on the ACME CA: why it gave no certificate, and what its certificates are not for.
func orders(a *assessment, by *pairIssuer) (found finding) {
	for _, p := range a.pairs {
		if !p.issuer.acme() || !p.wanted {
			continue
		}
		if err := a.obs.OrderErrs[p.is.Name]; err != nil {
			found.report(Problem{Reason: IssuerAway, Severity: Warning, Path: a.cfg.State.Dir,
				Text: "the last answer of the CA cannot be read: " + err.Error(),
				Hint: "if it is needed, mailcertd asks for the same certificate again, without another order"})
		}
		f, failed := a.obs.State.Failures[ObtainFailureOf(p.is)]
		if failed {
			no := noFrom(p, by.name(), f)
			if from, ever := fallbackFrom(p); ever && a.now.Before(from) {
				no.Hint += "; it asks the fallback " + by.fallback() + " from " + moment(from) + " on"
			}
			found.report(no)
		}
		found = found.and(fallbacks(p))
		if p.is == certdir.Host && p.cfg.Client.Kind == config.ClientSame && p.owner == Ours && p.matches &&
			otherIssuer(p) == "" {
			if _, client := purposes(p.leaf); !client {
				found.report(Problem{Reason: WrongPurpose, Severity: Notice, Path: certPath(p),
					Text: "is for servers only, like every certificate of a public CA: hosts that receive mail from " +
						"this one log verify=FAIL",
					Hint: "set `client: {issuer: local}` in mailcertd.yaml; `mailcertd check` then prints the lines " +
						"for the .mc file"})
			}
		}
	}
	return found
}

// noFrom is the problem about a CA that has given no certificate for a pair.
func noFrom(p *pair, by string, f state.Failure) Problem {
	is, known := refusals[issuer.Kind(f.Kind)]
	if !known {
		is = refusals[issuer.KindAway]
	}
	return Problem{Reason: is.reason, Severity: p.failing(), Path: p.cfg.Path,
		Text: fmt.Sprintf("%s has given no certificate for %s since %s (%s): %s", by, p.is.CertFile, moment(f.First),
			counted(f.Count, "attempt"), f.Error),
		Hint: is.hint + "; the present files stay in use, and mailcertd asks again at " + moment(f.Next)}
}

// poll asks the ACME CA when to renew the installed certificates, as often as it wants to be asked (RFC 9773).
func poll(a *assessment, by *pairIssuer, sofar finding) (found finding) {
	if !by.acme() || sofar.ask != nil || a.clock != clockFine || a.doing(sofar, Install) {
		return found
	}
	for _, p := range a.pairs {
		if !p.issuer.acme() || !p.wanted || p.owner != Ours || p.leaf == nil || !p.matches || otherIssuer(p) != "" ||
			len(p.leaf.AuthorityKeyId) == 0 || p.isDue(p.leaf) {
			continue
		}
		m := a.obs.State.ACME[p.is.Name]
		due := a.now
		if m.Leaf == pki.Fingerprint(p.leaf) && m.Poll.Before(a.now.Add(2*askEvery)) { // a clock that was far ahead
			due = m.Poll
		}
		if f, failed := a.obs.State.Failures[PollFailure(p.is)]; failed && f.Next.After(due) {
			due = f.Next
		}
		second := fromFallback(p)
		text := toAsk.With(by.asked(second) + " when to renew " + p.is.CertFile)
		if a.now.Before(due) {
			found.lookAt(due, text.Base())
			continue
		}
		found.ask = &Ask{Reason: RenewalAsk, Text: text, Pair: p.is, Fallback: second, Poll: p.leaf}
		return found
	}
	return found
}
