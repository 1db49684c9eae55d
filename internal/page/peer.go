package page

import (
	"cmp"

	"mailcertd/internal/mta"
	"mailcertd/internal/report"
)

// Peer draws what another mail host showed, and how it would judge our certificate.
func Peer(r report.Peer, p *Page) {
	answered := ""
	if r.Address != "" && r.Address != r.Peer {
		answered = ", answered by " + r.Address
	}
	p.row("peer", "%s%s", r.Peer, answered)
	verdict := func(with ink, format string, args ...any) { p.inked(noInk, with, "verdict", format, args...) }
	switch {
	case r.Verify == "" && r.Address == "":
		verdict(red, "not reachable: %s", r.Error)
		return
	case r.Verify == "":
		verdict(red, "no mail host answered: %s", r.Error)
		return
	case !r.STARTTLS:
		verdict(red, "verify=%s: STARTTLS is not offered; mail to it is not encrypted", r.Verify)
		return
	case r.Error != "":
		verdict(red, "verify=%s: %s", r.Verify, r.Error)
		return
	case r.Reason != "":
		verdict(red, "verify=%s, verifymsg=%s", r.Verify, r.Reason)
	case r.Verify == mta.VerifyOK:
		verdict(green, "verify=%s", r.Verify)
	default:
		verdict(yellow, "verify=%s", r.Verify)
	}
	p.row("TLS", "%s, %s", r.TLS, r.Cipher)
	c := r.Certificate
	p.row("certificate", "serial %s, %s", c.Serial, cmp.Or(c.Subject, "no subject"))
	p.row("", "issued by %s", c.Issuer)
	p.life("", c.NotBefore, c.NotAfter, nil, "")
	if r.Named {
		p.row("name", "it names the host")
	} else {
		p.inked(yellow, noInk, "notice", "it does not name the host: %s; sendmail's verify= does not depend on that",
			r.NameError)
	}
	ownRows(r, p)
	servedRows(r, p)
	switch {
	case !r.TrustUsed && r.ByCF:
		p.inked(yellow, noInk, "notice",
			"sendmail.cf names other files than mailcertd maintains; the result is for those in sendmail.cf")
	case !r.TrustUsed:
		p.inked(yellow, noInk, "notice",
			"sendmail.cf names other files than mailcertd maintains, so sendmail's own result may differ")
	}
}

// ownRows describe our own certificate.
func ownRows(r report.Peer, p *Page) {
	const asked = "the peer asked for our certificate and got "
	switch {
	case !r.Asked:
		p.row("our cert", "the peer did not ask for our certificate")
	case r.Presented && r.ListsOurs:
		p.row("our cert", asked+"serial %s; our issuer is among the CAs that it names", r.Own.Serial)
	case r.Presented:
		p.row("our cert", asked+"serial %s; our issuer is not among the CAs that it names", r.Own.Serial)
	default:
		p.row("our cert", asked+"none: %s", cmp.Or(r.Own.Trouble, "there is none"))
	}
	switch {
	case r.Own.Reason != "":
		p.row("", "our own certificate, checked with our CAs: verify=%s, verifymsg=%s", r.Own.Verify, r.Own.Reason)
	case r.Own.Verify != "":
		p.row("", "our own certificate, checked with our CAs: verify=%s", r.Own.Verify)
	}
	if r.Refused != "" {
		p.inked(noInk, red, "", "the peer ended the connection after the handshake: %s", r.Refused)
	} else if r.Presented && r.ListsOurs && r.Own.Verify == mta.VerifyOK {
		p.row("", "so the peer should log verify=OK; %s", unseen)
	} else if r.Presented {
		p.row("", "%s", unseen)
	}
}

// servedRows describe the other direction: what the peer gets when it sends mail here.
func servedRows(r report.Peer, p *Page) {
	label := "our server"
	for _, s := range r.OwnServer {
		p.row(label, "the peer gets, when it sends mail here, serial %s, issued by %s", s.Serial, s.Issuer)
		label = ""
		if s.Reason != "" {
			p.inked(noInk, red, "", "a host with our CAs logs verify=%s, verifymsg=%s", s.Verify, s.Reason)
		} else {
			p.row("", "a host with our CAs logs verify=%s", s.Verify)
		}
	}
	if len(r.OwnServer) > 0 {
		p.row("", "the peer may have other CAs: run `mailcertd check --peer` there")
	}
}

// unseen says what a client cannot know.
const unseen = "its result for our certificate is in its own log (STARTTLS=server)"
