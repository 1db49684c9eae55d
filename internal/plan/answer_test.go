package plan_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// The answers to a member's request, before and after a certificate was signed for it.
func TestAnswer(t *testing.T) {
	const name = "dhcp.home.example"
	here := Host(Member(name, Day, true), CRL(Day, 29*Day))
	w := Host(Next(true), Member(name, Day, true))
	leaf := here.Seen.Certs.Cert.File.Certs[0]
	csr := Request(name)
	text := func(r issuer.Request) []byte { return r.Encode() }
	for _, c := range []struct {
		at     World
		name   string
		sub    inbox.Submission
		hold   string
		signs  bool
		tried  error
		signed *x509.Certificate
		again  bool
		status string
		says   string
		cas    int
		cross  int
		crls   int
	}{
		{here, "who is not enrolled", inbox.Submission{Name: "stranger.example",
			Data: text(issuer.Request{})}, "", false,
			nil, nil, false,
			issuer.Refused, "is not a member of this CA", 0, 0, 0},
		{here, "what cannot be read", inbox.Submission{Name: name, Err: issuer.ErrMessage}, "", false, nil, nil, false,
			issuer.Refused, "not a message of mailcertd", 0, 0, 0},
		{here, "what is no request", inbox.Submission{Name: name, Data: []byte("hello")}, "", false, nil, nil, false,
			issuer.Refused, "not a message of mailcertd", 0, 0, 0},
		{here, "a CSR that cannot be parsed", inbox.Submission{Name: name,
			Data: text(
				issuer.Request{
					CSR: []byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")})},
			"", false, nil, nil, false, issuer.Refused, "", 0, 0, 0},
		{here, "what is trusted", inbox.Submission{Name: name,
			Data: text(issuer.Request{Trusts: []string{strings.Repeat("ab", 32)}})}, "", false, nil, nil, false,
			issuer.Trust, "", 1, 0, 1},
		{w, "what is trusted, while the next generation waits",
			inbox.Submission{Name: name, Data: text(issuer.Request{})},
			"", false, nil, nil, false,
			issuer.Trust, "", 2, 1, 0},
		{here, "what is trusted, though nothing is signed", inbox.Submission{Name: name, Data: text(issuer.Request{})},
			"the clock", false, nil, nil, false,
			issuer.Trust, "", 1, 0, 1},
		{here, "a certificate", inbox.Submission{Name: name, Data: text(issuer.Request{CSR: csr})}, "", true, nil, leaf,
			false,
			issuer.Signed, "", 1, 0, 1},
		{here, "a certificate that it has", inbox.Submission{Name: name,
			Data: text(issuer.Request{CSR: csr})}, "", true,
			nil, leaf, true,
			issuer.Again, "", 1, 0, 1},
		{here, "a certificate, while nothing is signed",
			inbox.Submission{Name: name, Data: text(issuer.Request{CSR: csr})},
			"the clock", false, nil, nil, false,
			issuer.Failed, "the clock", 0, 0, 0},
		{here, "a certificate that it may not have",
			inbox.Submission{Name: name, Data: text(issuer.Request{CSR: csr})}, "",
			true, ca.ErrRefused, nil, false,
			issuer.Refused, "refused", 0, 0, 0},
		{here, "a certificate of a CA that is locked",
			inbox.Submission{Name: name, Data: text(issuer.Request{CSR: csr})},
			"", true, ca.ErrLocked, nil, false,
			issuer.Failed, "the CA's key has a passphrase", 0, 0, 0},
		{here, "a certificate of a CA that has ended",
			inbox.Submission{Name: name, Data: text(issuer.Request{CSR: csr})},
			"", true, ca.ErrEnded, nil, false,
			issuer.Failed, "the CA has expired", 0, 0, 0},
		{here, "a certificate, and the disk is full",
			inbox.Submission{Name: name, Data: text(issuer.Request{CSR: csr})},
			"", true, errors.New("no space left on device"), nil, false,
			issuer.Failed, "see the log of the CA host", 0, 0, 0},
		{Host(Older(500*Day), Member(name, Day, true), OlderUnreadable()),
			"what is trusted, of which a part cannot be read",
			inbox.Submission{Name: name, Data: text(issuer.Request{})}, "", false, nil, nil, false, issuer.Failed,
			"see the log of the CA host", 0, 0, 0},
	} {
		a := plan.Receive(c.at.Seen.CA, c.sub, c.hold, c.at.Config.Validity.Days)
		if (a.Sign != nil) != c.signs {
			t.Errorf("%s: to be signed: %+v", c.name, a.Sign)
		}
		if known := a.Member != nil; known != (c.sub.Name == name && c.sub.Err == nil &&
			strings.HasPrefix(string(c.sub.Data), "mailcertd")) {
			t.Errorf("%s: noted of a member: %v", c.name, known)
		}
		if s := a.Sign; s != nil && (s.Name != name || s.Days != c.at.Config.Validity.Days) {
			t.Errorf("%s: %+v", c.name, s)
		}
		r, err := a.Tried(c.tried).Answer(c.at.Seen.CA, c.signed, c.again, c.at.Now.Add(time.Second))
		failed := r.Status == issuer.Refused || r.Status == issuer.Failed
		if r.Status != c.status || !strings.Contains(r.Reason, c.says) || (err != nil) != failed ||
			len(r.CAs) != c.cas || len(r.Cross) != c.cross || len(r.CRLs) != c.crls || r.Leaf != c.signed {
			t.Errorf("%s: %s %q, %d CAs, %d crosses, %d CRLs, %v", c.name, r.Status, r.Reason, len(r.CAs), len(r.Cross),
				len(r.CRLs), err)
		}
	}
}
