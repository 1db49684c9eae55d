package plan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
)

// requests decides about the requests of members on the CA host. Each request gets an answer, a refusal too.
func requests(a *assessment) (found finding) {
	members, box := a.obs.CA.Members, a.obs.Inbox
	if len(members) == 0 && len(box.Pending) == 0 && len(box.Stale) == 0 && box.Fades.IsZero() && box.Unread == nil {
		return found
	}
	if box.Err != nil {
		found.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox, Text: box.Err.Error()})
		return found
	}
	if len(members) > 0 && (!box.Exists || box.Loose != "") {
		text := "the inbox for members is missing"
		if box.Exists {
			text = box.Loose
		}
		if a.obs.Account.Missing {
			found.report(Problem{Reason: AccountMissing, Severity: Error, Path: a.cfg.CA.Inbox,
				Text: "there is no user " + a.obs.Account.Name + " for members to log in as",
				Hint: "run the command that `mailcertd ca enrol` prints, which makes it"})
			return found
		}
		found.report(Problem{Reason: InboxDue, Severity: Warning, Path: a.cfg.CA.Inbox, Repairable: true, Text: text})
		found.do(Action{Kind: MakeInbox, Reason: InboxDue, Path: a.cfg.CA.Inbox,
			Text: toCreate.With("the inbox for members")})
		return found
	}
	if box.Unread != nil {
		found.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox,
			Text: "a part of it cannot be read, so a member may get no answer: " + box.Unread.Error()})
	}
	if box.Crowded {
		found.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox,
			Text: "contains so many files that members may get no answer: somebody uses the account " +
				a.cfg.CA.Account +
				" for more than the forced command",
			Hint: "empty " + a.cfg.CA.Inbox + "/in, and check that account's authorized_keys and shell"})
	}
	found.lookAt(box.Fades, "an answer or a request in the inbox that nobody has fetched is removed")
	if n := len(box.Pending); n > 0 {
		hold := ""
		if a.clock != clockFine {
			hold = "the clock of the CA host may be wrong"
		}
		found.do(Action{Kind: Answer, Reason: InboxRequest, Path: a.cfg.CA.Inbox, Hold: hold,
			Text: toAnswer.With(counted(n, "request") + " of members")})
	} else if len(box.Stale) > 0 {
		found.do(Action{Kind: Answer, Reason: InboxRequest, Path: a.cfg.CA.Inbox,
			Text: toRemove.With("outdated files from the inbox")})
	}
	return found
}

// MemberRequest is a member's request as the CA host judged it, before anything is signed.
type MemberRequest struct {
	Member  *ca.Member     // who asks; nil: the sender is not enrolled, or the request cannot be read
	Request issuer.Request // the request as it was read
	Sign    *ca.Ask        // the certificate to sign; nil: none
	Refused error          // why this request is refused for good
	Failed  error          // why this request fails now and may succeed later
}

// Receive reads and judges a request. hold is why nothing may be signed now, "" when signing is allowed; days is the
// life of the certificate.
func Receive(o ca.Observed, sub inbox.Submission, hold string, days int) (a MemberRequest) {
	m := ca.Find(o.Members, sub.Name)
	switch {
	case m == nil:
		a.Refused = fmt.Errorf("the host that asks %w: to add it, run `mailcertd ca enrol` with its name on the CA "+
			"host", ca.ErrNotMember)
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

// Tried notes how signing ended; err nil means that the certificate was signed.
func (a MemberRequest) Tried(err error) MemberRequest {
	if errors.Is(err, ca.ErrRefused) || errors.Is(err, pki.ErrRequest) {
		a.Refused = err
	} else if err != nil {
		a.Failed = err
	}
	return a
}

// errHold is the reason why nothing is signed now, in words that a member may read too.
type errHold string

func (e errHold) Error() string { return string(e) }

// Answer builds the reply to the member: the signed certificate, if any, and the whole trust set. again says that the
// member had that certificate before. err, for the log of this host, says why no certificate is sent.
func (a MemberRequest) Answer(o ca.Observed, signed *x509.Certificate, again bool, at time.Time) (r issuer.Reply,
	err error) {
	switch {
	case a.Refused != nil:
		return issuer.Reply{Status: issuer.Refused, Reason: ca.Refusal(a.Refused.Error())}, a.Refused
	case a.Failed != nil:
		return issuer.Reply{Status: issuer.Failed, Reason: outward(a.Failed)}, a.Failed
	case o.Partial(): // the member would drop the generation that could not be read
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

// outward reduces err to what a member may know about a failure on this host.
func outward(err error) string {
	var hold errHold
	switch {
	case errors.As(err, &hold):
		return hold.Error()
	case errors.Is(err, ca.ErrLocked):
		return "the CA's key has a passphrase, so the daemon on the CA host cannot sign: run `mailcertd renew` there"
	case errors.Is(err, ca.ErrEnded):
		return "the CA has expired"
	}
	return "the CA cannot sign now; see the log of the CA host"
}

// crosses returns the cross certificates, with which one generation signs the next.
func crosses(o ca.Observed) []*x509.Certificate {
	var out []*x509.Certificate
	for _, g := range append([]ca.Generation{o.Next}, o.Older...) {
		if g.Cross != nil {
			out = append(out, g.Cross)
		}
	}
	return out
}
