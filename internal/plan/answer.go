package plan

import (
	"crypto/x509"
	"errors"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
)

// MemberRequest is what a request in the inbox of the CA host comes to before anything is signed.
type MemberRequest struct {
	Member  *ca.Member     // who asks; nil: nobody who is enrolled, or nothing that can be read
	Request issuer.Request // what it says
	Sign    *ca.Ask        // what is to be signed first; nil: nothing
	Refused error          // why it gets nothing, ever
	Failed  error          // why it gets nothing now
}

// Receive reads a request. hold is why nothing is signed now; "": it is.
func Receive(o ca.Observed, sub inbox.Submission, hold string, days int) (a MemberRequest) {
	m := ca.Find(o.Members, sub.Name)
	switch {
	case m == nil:
		a.Refused = ca.ErrNotMember
		return a
	case sub.Err != nil:
		a.Refused = issuer.ErrMessage
		return a
	}
	req, err := issuer.ParseRequest(sub.Data)
	if err != nil {
		a.Refused = err
		return a
	}
	a.Member, a.Request = m, req
	if req.CSR == nil {
		return a
	}
	r, err := pki.ReadRequest(req.CSR)
	switch {
	case err != nil:
		return a.Tried(err)
	case hold != "":
		a.Failed = errHold(hold)
		return a
	}
	a.Sign = &ca.Ask{Request: r, Name: m.Name, Allowed: m.AltNames, Days: days, Holds: req.Renew, Also: req.Holds}
	return a
}

// Tried is the same after signing has come to that; nil: it was signed.
func (a MemberRequest) Tried(err error) MemberRequest {
	if errors.Is(err, ca.ErrRefused) || errors.Is(err, pki.ErrRequest) {
		a.Refused = err
	} else if err != nil {
		a.Failed = err
	}
	return a
}

// errHold is why nothing is signed now, for members too.
type errHold string

func (e errHold) Error() string { return string(e) }

// Answer is what the member gets: with what was signed for it, if anything, all that it is to trust. again says that it
// had that certificate before. err is why it gets nothing, for the log of this host.
func (a MemberRequest) Answer(o ca.Observed, signed *x509.Certificate, again bool, at time.Time) (r issuer.Reply,
	err error) {
	switch {
	case a.Refused != nil:
		return issuer.Reply{Status: issuer.Refused, Reason: ca.Refusal(a.Refused.Error())}, a.Refused
	case a.Failed != nil:
		return issuer.Reply{Status: issuer.Failed, Reason: outward(a.Failed)}, a.Failed
	case o.Partial(): // the host would drop a generation that lives
		err = errors.New("a generation of the CA could not be read")
		return issuer.Reply{Status: issuer.Failed, Reason: outward(err)}, err
	}
	r = issuer.Reply{Status: issuer.Trust, Leaf: signed, CAs: ca.Bundle(o, at), Cross: crosses(o)}
	if signed != nil {
		r.Status = issuer.Signed
		if again {
			r.Status = issuer.Again
		}
	}
	for _, l := range o.CRL.Lists {
		if l.List != nil {
			r.CRLs = append(r.CRLs, l.Raw)
		}
	}
	return r, nil
}

// outward is what a member may know of a failure here.
func outward(err error) string {
	var hold errHold
	switch {
	case errors.As(err, &hold):
		return hold.Error()
	case errors.Is(err, ca.ErrLocked):
		return "the CA's key has a passphrase, and nobody can type it"
	case errors.Is(err, ca.ErrEnded):
		return "the CA has expired"
	}
	return "the CA cannot sign now; see the log of the CA host"
}

// crosses are the certificates by which one generation vouches for the next.
func crosses(o ca.Observed) []*x509.Certificate {
	var out []*x509.Certificate
	for _, g := range append([]ca.Generation{o.Next}, o.Older...) {
		if g.Cross != nil {
			out = append(out, g.Cross)
		}
	}
	return out
}
