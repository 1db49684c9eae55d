package plan

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
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

// listsEarly is the latest beginning of the CA's lists, where one begins in the
// future: whoever verifies takes it for wrong until then. Zero: none does.
func listsEarly(a *assessment) (from time.Time) {
	for _, l := range a.obs.CA.CRL.Lists {
		if l.List != nil && a.at.Before(l.List.ThisUpdate) && l.List.ThisUpdate.After(from) {
			from = l.List.ThisUpdate
		}
	}
	return from
}

// lists decides about the CA's revocation lists: made when somebody was revoked or sendmail is to have one, and made
// again when a third of their life is left.
func lists(a *assessment) (found finding) {
	crl := a.obs.CA.CRL
	if !crl.Wanted() && !a.cfg.CRL.Install {
		return found
	}
	for _, l := range crl.Lists {
		if l.Err != nil { // what is in it is not known, and would be left out of the next
			found.report(Problem{Reason: Unreadable, Severity: Warning, Path: l.Path,
				Text: "this CRL cannot be read, so no new one is made: " + l.Err.Error()})
			return found
		}
	}
	due, none, early := crl.Due(), crl.Ends().IsZero(), listsEarly(a)
	refuses := a.cfg.CRL.Install && a.clock != clockFine && refuseAll(sendmailLists(a), a.now)
	if !crl.Behind && !none && a.at.Before(due) && early.IsZero() && !refuses {
		found.lookAt(due, "the next CRL is made")
		return found
	}
	text := "the CRL lacks a revoked certificate, or a generation of the CA has none"
	switch {
	case none:
		text = "there is no CRL yet"
	case refuses:
		text = "by this clock sendmail's CRL is not valid, so sendmail refuses every certificate"
	case !early.IsZero():
		text = "the CRL begins on " + day(early)
	case !crl.Behind:
		text = "the CRL ends on " + day(crl.Ends())
	}
	act := Action{Kind: WriteCRL, Reason: CRLDue, Path: a.cfg.CA.Dir, Text: toMake.With("a new CRL")}
	can := a.hasKey() && a.clock == clockFine
	if refuses && a.hasKey() && lasted(a) {
		s := signing(a)
		can, act.Signing = true, &s
	}
	if can {
		found.report(Problem{Reason: CRLDue, Severity: Notice, Path: a.cfg.CA.Dir, Repairable: true, Text: text})
		found.do(act)
		return found
	}
	sev := Warning
	if !none && a.at.After(firstGone(readLists(crl))) {
		sev = Error
	}
	pr := Problem{Reason: CRLStale, Severity: sev, Path: a.cfg.CA.Dir, Text: text + ", and the CA cannot sign now"}
	if refuses && a.hasKey() {
		pr.Hint = "set the clock; if it is right, mailcertd makes another CRL within an hour"
	}
	found.report(pr)
	return found
}

// revocation puts the CRL where sendmail reads it, and takes it away before it
// could be over.
func revocation(a *assessment, sofar finding) (out outcome) {
	have := a.obs.Certs.CRL
	if err := a.obs.Certs.CRLErr; err != nil {
		out.report(Problem{Reason: Unreadable, Severity: Error, Path: a.obs.Certs.Path,
			Text: "a link to a CRL cannot be read, so the CRL is left as it is: " + err.Error()})
		return out
	}
	ours := have.Node.Kind == durable.File && a.fileIsOurs(have.Digest)
	if !a.cfg.CRL.Install || a.cfg.Issuer.Kind == config.IssuerNone {
		if have.Node.Err == nil {
			out.change = dropCRL(a, ours)
		}
		return out
	}
	if have.Node.Err != nil || have.Node.Exists && !have.Node.IsRegular {
		return outcome{finding: blocked(have.Node)}
	}
	has, whole := installedLists(a)
	if gone := firstGone(has); a.partial() && whole && a.at.Before(gone) {
		out.lookAt(gone, "the CRL expires soon")
		return out // the list of what cannot be read now is among those that lie here
	}
	want, gone := crlText(a)
	path := have.Node.Path
	switch early := beginsLast(sendmailLists(a)); {
	case latest(a.at, a.now).Before(early): // whoever verifies refuses everybody; a clock that is ahead may be right
		serves := !refuseAll(has, a.at) && a.at.Before(firstGone(has))
		if a.remote() { // else said by lists
			out.report(Problem{Reason: CRLStale, Severity: Warning, Path: path,
				Text: "the CA's CRL begins on " + day(early) +
					": it is installed for sendmail then, because before that sendmail would refuse every certificate",
				Hint: "the clocks of the two hosts differ: set the one that is wrong"})
		}
		out.lookAt(early, "the CRL begins")
		if !serves && !a.doing(sofar, WriteCRL) {
			out.change = dropCRL(a, ours)
		}
		return out
	case want == nil || !a.at.Before(gone):
		if !have.Node.Exists {
			out.change = dropCRL(a, false)
			return out
		}
		out.report(Problem{Reason: CRLStale, Severity: Error, Path: path, Repairable: ours,
			Text: "the CRL cannot be renewed, and sendmail would refuse every certificate when it expires",
			Hint: "without a CRL, sendmail accepts revoked certificates again; find out why the CA cannot sign"})
		out.change = dropCRL(a, ours)
		return out
	case string(have.Node.Data) != string(want):
		out.report(Problem{Reason: CRLDue, Severity: Notice, Path: path, Repairable: true,
			Text: "is not the CA's present CRL"})
		out.change.Files = append(out.change.Files,
			File{Name: certdir.CRLName, Mode: publicMode, Data: want, Reason: CRLDue})
		out.lookAt(gone, "the CRL expires soon")
	default:
		out.lookAt(gone, "the CRL expires soon")
	}
	for _, l := range certdir.CRLLinks(a.obs.Certs.CRLLinks, a.trustSet()) {
		if l.Target != "" {
			out.report(Problem{Reason: LinkMissing, Severity: Notice, Path: a.obs.Certs.Path + "/" + l.Name,
				Repairable: true,
				Text:       "is missing: sendmail finds the lists of other CA generations by it"})
		}
		out.change.Links = append(out.change.Links, l)
	}
	if cf := a.cf(); want != nil && cf.CRL == "" && !cf.Missing {
		out.report(Problem{Reason: CFOther, Severity: Warning, Path: cf.Path,
			Text: "crl.install is true, but sendmail.cf names no CRL",
			Hint: fmt.Sprintf("add define(`confCRL', `%s') to the host's .mc file", path)})
	}
	return out
}

// dropCRL takes crl.pem and its links away, where it is ours.
func dropCRL(a *assessment, ours bool) (c Change) {
	if ours {
		c.Drop = append(c.Drop, certdir.CRLName)
	}
	if ours || !a.obs.Certs.CRL.Node.Exists {
		c.Links = append(c.Links, certdir.CRLLinks(a.obs.Certs.CRLLinks, nil)...)
	}
	return c
}

// crlText is the PEM of the lists of every generation that is trusted, and
// when the first of them is taken away; nil when there are none.
func crlText(a *assessment) (out []byte, gone time.Time) {
	lists := sendmailLists(a)
	for _, l := range lists {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.Raw})...)
	}
	return out, firstGone(lists)
}

// firstGone is when the first of these lists is taken away from sendmail; zero:
// there is none.
func firstGone(lists []*x509.RevocationList) (gone time.Time) {
	for _, l := range lists {
		if at := crlGone(l); gone.IsZero() || at.Before(gone) {
			gone = at
		}
	}
	return gone
}

// beginsLast is when the last of these lists begins; zero: there is none.
func beginsLast(lists []*x509.RevocationList) (from time.Time) {
	for _, l := range lists {
		from = latest(from, l.ThisUpdate)
	}
	return from
}

// sendmailLists are the lists of every generation that is trusted.
func sendmailLists(a *assessment) (out []*x509.RevocationList) {
	if !a.remote() {
		return readLists(a.obs.CA.CRL)
	}
	for _, der := range a.obs.Reply.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			continue
		}
		for _, g := range a.obs.Accepted {
			if pki.ListSignedBy(l, g) {
				out = append(out, l)
				break
			}
		}
	}
	return out
}

// readLists are the CA's own lists, without those that could not be read.
func readLists(c ca.CRL) (out []*x509.RevocationList) {
	for _, l := range c.Lists {
		if l.List != nil {
			out = append(out, l.List)
		}
	}
	return out
}

// installedLists are those in crl.pem, which sendmail reads now; whole: each of
// them can be read.
func installedLists(a *assessment) (out []*x509.RevocationList, whole bool) {
	whole = true
	for rest := a.obs.Certs.CRL.Node.Data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out, whole
		}
		if l, err := x509.ParseRevocationList(b.Bytes); err == nil {
			out = append(out, l)
		} else {
			whole = false
		}
	}
}

// refuseAll says that by this time sendmail with these lists refuses everybody: one of them has expired, or is not yet
// valid.
func refuseAll(lists []*x509.RevocationList, now time.Time) bool {
	return slices.ContainsFunc(lists, func(l *x509.RevocationList) bool {
		return now.Before(l.ThisUpdate) || !l.NextUpdate.IsZero() && now.After(l.NextUpdate)
	})
}
