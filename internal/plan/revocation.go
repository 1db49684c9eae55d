package plan

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
)

// crlMargin is how long before its end a CRL that nobody renews is taken away
// from sendmail, at the most: one that is over makes sendmail refuse everybody.
const crlMargin = 24 * time.Hour

// crlGone is when a CRL is taken away from sendmail: a day before its end, or a
// sixth of a shorter life. The next one is made with a third left, so that there
// is as much time again to make it and to bring it here.
func crlGone(l *x509.RevocationList) time.Time {
	return l.NextUpdate.Add(-min(crlMargin, l.NextUpdate.Sub(l.ThisUpdate)/6))
}

// listsGone is when the first of the CA's own lists is taken away from sendmail;
// zero: there is none.
func listsGone(c ca.CRL) (gone time.Time) {
	for _, l := range c.Lists {
		if l.List != nil && (gone.IsZero() || crlGone(l.List).Before(gone)) {
			gone = crlGone(l.List)
		}
	}
	return gone
}

// listsEarly is the latest beginning of the CA's lists, where one begins in the
// future: whoever verifies takes it for wrong until then. Zero: none does.
func (a *assessment) listsEarly() (from time.Time) {
	for _, l := range a.obs.CA.CRL.Lists {
		if l.List != nil && a.now.Before(l.List.ThisUpdate) && l.List.ThisUpdate.After(from) {
			from = l.List.ThisUpdate
		}
	}
	return from
}

// lists decides about the CA's revocation lists: made when somebody was
// revoked or sendmail is to have one, and made anew when a third of their life
// is left.
func (a *assessment) lists(p *Plan) {
	crl := a.obs.CA.CRL
	if !crl.Wanted() && !a.cfg.CRL.Install {
		return
	}
	due, none, early := crl.Due(), crl.Ends().IsZero(), a.listsEarly()
	if !crl.Behind && !none && a.now.Before(due) && early.IsZero() {
		p.lookAt(due, "the CRL is made anew")
		return
	}
	text := "the CRL lacks a revoked certificate, or a generation of the CA has none"
	switch {
	case none:
		text = "there is no CRL yet"
	case !early.IsZero():
		text = "the CRL begins on " + day(early)
	case !crl.Behind:
		text = "the CRL ends on " + day(crl.Ends())
	}
	can := a.hasKey() && a.clock == clockFine
	if can {
		p.report(Problem{Reason: CRLDue, Severity: Notice, Path: a.cfg.CA.Dir, Mended: true, Text: text})
		p.do(Action{Kind: WriteCRL, Reason: CRLDue, Path: a.cfg.CA.Dir, Text: "make the CRL anew"})
		return
	}
	sev := Warning
	if !none && a.now.After(listsGone(crl)) {
		sev = Error
	}
	p.report(Problem{Reason: CRLStale, Severity: sev, Path: a.cfg.CA.Dir, Text: text + ", and the CA cannot sign now"})
}

// revocation puts the CRL where sendmail reads it, and takes it away before it
// could be over.
func (a *assessment) revocation(p *Plan, c *Change) {
	have := a.obs.Certs.CRL
	if err := a.obs.Certs.CRLErr; err != nil {
		p.report(Problem{Reason: Unreadable, Severity: Error, Path: a.obs.Certs.Path,
			Text: "a link to a CRL cannot be looked at, so the CRL is left as it is: " + err.Error()})
		return
	}
	ours := have.Node.Kind == durable.File && a.fileIsOurs(have.Digest)
	if !a.cfg.CRL.Install || a.cfg.Issuer.Kind == config.IssuerNone {
		if have.Node.Err == nil {
			a.dropCRL(c, ours)
		}
		return
	}
	if have.Node.Err != nil || have.Node.Exists && !have.Node.IsRegular {
		a.reportBlocked(p, have.Node)
		return
	}
	want, gone := a.crlText()
	path := have.Node.Path
	switch {
	case want == nil || !a.now.Before(gone):
		if !have.Node.Exists {
			a.dropCRL(c, false)
			return
		}
		p.report(Problem{Reason: CRLStale, Severity: Error, Path: path, Mended: ours,
			Text: "the CRL cannot be kept fresh: sendmail would refuse everybody when it is over",
			Hint: "without a CRL revoked certificates are accepted again"})
		a.dropCRL(c, ours)
		return
	case string(have.Node.Data) != string(want):
		p.report(Problem{Reason: CRLDue, Severity: Notice, Path: path, Mended: true, Text: "is not the CA's present CRL"})
		c.Files = append(c.Files, File{Name: certdir.CRLName, Mode: publicMode, Data: want, Reason: CRLDue})
		p.lookAt(gone, "the CRL is over soon")
	default:
		p.lookAt(gone, "the CRL is over soon")
	}
	for _, l := range certdir.CRLLinks(a.obs.Certs.CRLLinks, a.trustSet()) {
		if l.Target != "" {
			p.report(Problem{Reason: LinkMissing, Severity: Notice, Path: a.obs.Certs.Path + "/" + l.Name, Mended: true, Text: "is missing: sendmail finds the lists of other CA generations by it"})
		}
		c.Links = append(c.Links, l)
	}
	if cf := a.cf(); want != nil && cf.CRL == "" && !cf.Missing {
		p.report(Problem{Reason: CFOther, Severity: Warning, Path: cf.Path, Text: "crl.install is set, and sendmail.cf reads no CRL",
			Hint: fmt.Sprintf("define(`confCRL', `%s') in the host's .mc file", path)})
	}
}

// dropCRL takes crl.pem and its links away, where it is ours.
func (a *assessment) dropCRL(c *Change, ours bool) {
	if ours {
		c.Drop = append(c.Drop, certdir.CRLName)
	}
	if ours || !a.obs.Certs.CRL.Node.Exists {
		c.Links = append(c.Links, certdir.CRLLinks(a.obs.Certs.CRLLinks, nil)...)
	}
}

// crlText is the PEM of the lists of every generation that is trusted, and
// when the first of them is taken away; nil when there are none.
func (a *assessment) crlText() ([]byte, time.Time) {
	var out []byte
	var gone time.Time
	add := func(der []byte, l *x509.RevocationList) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
		if at := crlGone(l); gone.IsZero() || at.Before(gone) {
			gone = at
		}
	}
	if !a.remote() {
		for _, l := range a.obs.CA.CRL.Lists {
			if l.List != nil {
				add(l.Raw, l.List)
			}
		}
		return out, gone
	}
	for _, der := range a.obs.Reply.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			continue
		}
		for _, g := range a.obs.Accepted {
			if l.CheckSignatureFrom(g) == nil {
				add(der, l)
				break
			}
		}
	}
	return out, gone
}
