package main

import (
	"mailcertd/internal/mta"
)

// peerPage draws what another mail host showed, and what it makes of us.
func peerPage(r peerReport, p *page) {
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
		verdict(red, "no mail host answers: %s", r.Error)
		return
	case !r.STARTTLS:
		verdict(red, "verify=%s: STARTTLS is not offered; mail to it goes in clear", r.Verify)
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
	p.row("certificate", "serial %s, %s", c.Serial, or(c.Subject, "no subject"))
	p.row("", "issued by %s", c.Issuer)
	p.life("", c.NotBefore, c.NotAfter, nil, "")
	if r.Named {
		p.row("name", "it names this host")
	} else {
		p.inked(yellow, noInk, "notice", "it does not name this host: %s; sendmail's verify= does not ask for that", r.NameError)
	}
	ownRows(r, p)
	switch {
	case !r.TrustUsed && r.ByCF:
		p.inked(yellow, noInk, "notice", "sendmail.cf does not name the files kept here: judged by those that it names")
	case !r.TrustUsed:
		p.inked(yellow, noInk, "notice", "sendmail.cf does not name the files here: sendmail itself may judge by others")
	}
}

// ownRows say what is known of our side.
func ownRows(r peerReport, p *page) {
	const asked = "the peer asked for our certificate and got "
	switch {
	case !r.Asked:
		p.row("ours", "the peer did not ask for our certificate")
	case r.Presented && r.ListsOurs:
		p.row("ours", asked+"serial %s; our issuer is among the CAs that it names", r.Own.Serial)
	case r.Presented:
		p.row("ours", asked+"serial %s; our issuer is not among the CAs that it names", r.Own.Serial)
	default:
		p.row("ours", asked+"none: %s", or(r.Own.Trouble, "there is none"))
	}
	switch {
	case r.Own.Reason != "":
		p.row("", "by our own trust it is verify=%s, verifymsg=%s", r.Own.Verify, r.Own.Reason)
	case r.Own.Verify != "":
		p.row("", "by our own trust it is verify=%s", r.Own.Verify)
	}
	if r.Refused != "" {
		p.inked(noInk, red, "", "the peer ended the connection after the handshake: %s", r.Refused)
	} else if r.Presented {
		p.row("", "%s", unseen)
	}
}
