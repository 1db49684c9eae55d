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

// crlMargin is the longest time before its end at which a CRL that was not renewed is removed from the certs directory:
// with an expired CRL, sendmail refuses the certificate of every peer.
const crlMargin = 24 * time.Hour

// crlGone returns the time at which a CRL is removed from the certs directory: a day before its end, or a sixth of its
// lifetime where that is shorter. The next CRL is made when a third of the lifetime is left, so that at least another
// sixth remains to make it and to bring it here.
func crlGone(l *x509.RevocationList) time.Time {
	return l.NextUpdate.Add(-min(crlMargin, l.NextUpdate.Sub(l.ThisUpdate)/6))
}

// listsEarly returns the latest thisUpdate of the CA's CRLs that is in the future; zero for none. Until then OpenSSL
// treats such a CRL as an error.
func listsEarly(a *assessment) (from time.Time) {
	for _, l := range a.obs.CA.CRL.Lists {
		if l.List != nil && a.at.Before(l.List.ThisUpdate) && l.List.ThisUpdate.After(from) {
			from = l.List.ThisUpdate
		}
	}
	return from
}

// lists decides about the CA's CRLs. They are made when a certificate was revoked or crl.install is true, and made
// again when a third of their lifetime is left.
func lists(a *assessment) (found finding) {
	crl := a.obs.CA.CRL
	if !crl.Wanted() && !a.cfg.CRL.Install {
		return found
	}
	for _, l := range crl.Lists {
		if l.Err != nil { // a new CRL would lack the certificates that this one revokes
			found.report(Problem{Reason: Unreadable, Severity: Warning, Path: l.Path,
				Text: "this CRL cannot be read, so no new one is made: " + l.Err.Error()})
			return found
		}
	}
	due, none, early := crl.Due(), crl.Ends().IsZero(), listsEarly(a)
	refuses := a.cfg.CRL.Install && a.clock != clockFine && refuseAll(readLists(crl), a.now)
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
		text = "the CRL becomes valid on " + moment(early)
	case !crl.Behind:
		text = "the CRL expires on " + moment(crl.Ends())
	}
	act := Action{Kind: WriteCRL, Reason: CRLDue, Path: a.cfg.CA.Dir, Text: toMake.With("a new CRL")}
	can := hasKey(a) && a.clock == clockFine
	if refuses && hasKey(a) && a.lasted() {
		s := a.signing()
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
	if refuses && hasKey(a) {
		pr.Hint = "set the clock; if it is right, mailcertd makes another CRL within an hour"
	}
	found.report(pr)
	return found
}

// revocation installs the CRL in the certs directory, where sendmail reads it, and removes it before it expires.
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
	if gone := firstGone(has); a.issuer.partial() && whole && a.at.Before(gone) {
		out.lookAt(gone, "the CRL expires soon")
		return out // crl.pem has the CRL of the generation that cannot be read now, so it is kept
	}
	want, gone := crlText(a)
	path := have.Node.Path
	switch early := beginsLast(sendmailLists(a)); {
	case latest(a.at, a.now).Before(early): // sendmail would refuse every peer; a clock that is ahead may be right
		serves := !refuseAll(has, a.at) && a.at.Before(firstGone(has))
		if a.issuer.remote() { // for the CA on this host, lists reports it
			out.report(Problem{Reason: CRLStale, Severity: Warning, Path: path,
				Text: "the CA's CRL becomes valid on " + moment(early) +
					"; mailcertd installs it then, because before that sendmail would refuse every certificate",
				Hint: "the clocks of the two hosts differ: set the one that is wrong"})
		}
		out.lookAt(early, "the CRL becomes valid")
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
	for _, l := range certdir.CRLLinks(a.obs.Certs.CRLLinks, a.issuer.trustSet(a.at)) {
		if l.Target != "" {
			out.report(Problem{Reason: LinkMissing, Severity: Notice, Path: a.obs.Certs.Path + "/" + l.Name,
				Repairable: true,
				Text:       "is missing; sendmail needs this link to find the CRLs of other CA generations"})
		}
		out.change.Links = append(out.change.Links, l)
	}
	if cf := a.cf(); want != nil && cf.CRL == "" && !cf.Missing {
		out.report(Problem{Reason: CFOther, Severity: Warning, Path: cf.Path,
			Text: "crl.install is true, but sendmail.cf names no CRL",
			Hint: fmt.Sprintf("add define(`confCRL', `%s') to the host's .mc file, then run `make -C /etc/mail "+
				"install "+
				"restart`", path)})
	}
	return out
}

// dropCRL removes crl.pem and its links where crl.pem is ours, and the links alone where there is no crl.pem.
func dropCRL(a *assessment, ours bool) (c Change) {
	if ours {
		c.Drop = append(c.Drop, certdir.CRLName)
	}
	if ours || !a.obs.Certs.CRL.Node.Exists {
		c.Links = append(c.Links, certdir.CRLLinks(a.obs.Certs.CRLLinks, nil)...)
	}
	return c
}

// crlText returns the CRLs of all trusted generations in PEM, nil for none, and the time at which the first of them
// must be removed.
func crlText(a *assessment) (out []byte, gone time.Time) {
	lists := sendmailLists(a)
	for _, l := range lists {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.Raw})...)
	}
	return out, firstGone(lists)
}

// firstGone returns the time at which the first of these CRLs must be removed; zero for no CRL.
func firstGone(lists []*x509.RevocationList) (gone time.Time) {
	for _, l := range lists {
		if at := crlGone(l); gone.IsZero() || at.Before(gone) {
			gone = at
		}
	}
	return gone
}

// beginsLast returns the latest thisUpdate of these CRLs; zero for no CRL.
func beginsLast(lists []*x509.RevocationList) (from time.Time) {
	for _, l := range lists {
		from = latest(from, l.ThisUpdate)
	}
	return from
}

// sendmailLists returns the CRLs of all trusted generations: the local CA's, or those that the CA host sent.
func sendmailLists(a *assessment) (out []*x509.RevocationList) {
	if !a.issuer.remote() {
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

// readLists returns the local CA's CRLs, without those that could not be read.
func readLists(c ca.CRL) (out []*x509.RevocationList) {
	for _, l := range c.Lists {
		if l.List != nil {
			out = append(out, l.List)
		}
	}
	return out
}

// installedLists returns the CRLs in the installed crl.pem; whole reports whether all of them could be parsed.
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

// refuseAll reports whether sendmail with these CRLs refuses every peer at that time, because one of them has expired
// or is not yet valid.
func refuseAll(lists []*x509.RevocationList, now time.Time) bool {
	return slices.ContainsFunc(lists, func(l *x509.RevocationList) bool {
		return now.Before(l.ThisUpdate) || !l.NextUpdate.IsZero() && now.After(l.NextUpdate)
	})
}
