package keeper

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
)

// answerMembers answers every request in the inbox. A request that the policy refuses is refused without opening the
// CA. While hold says why nothing may be signed, a request gets an answer that says so, and the member asks again.
func (pc *PrivateCA) answerMembers(ctx context.Context, obs plan.Observed, hold string, at time.Time) error {
	dir := pc.cfg.CA.Inbox
	var failed error
	for _, path := range obs.Inbox.Stale {
		failed = errors.Join(failed, pc.o.Disk.Remove(path))
	}
	c := &answering{pc: pc, ctx: ctx, obs: obs, hold: hold, at: at, heard: map[string]ca.Heard{}}
	defer c.close()
	var replies []issuer.Reply
	for _, sub := range obs.Inbox.Pending {
		replies = append(replies, c.reply(sub))
	}
	// This is written before the answers, so that a crash in between does not give a member more certificates than it
	// may have.
	if len(c.heard) > 0 {
		var err error
		if c.session != nil {
			err = c.session.Hear(c.heard)
		} else {
			err = ca.Hear(ctx, pc.o.Disk, pc.cfg.CA.Dir, c.heard)
		}
		if err != nil {
			pc.log(Warn, "what members reported cannot be written", "error", err.Error())
		}
	}
	c.close()
	for i, sub := range obs.Inbox.Pending {
		if err := inbox.Answer(pc.o.Disk, dir, sub.ID, replies[i].Encode()); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// answering serves the members of one run. It opens the CA for the first request that needs a signature.
type answering struct {
	pc      *PrivateCA
	ctx     context.Context
	obs     plan.Observed
	hold    string    // why nothing is signed now; "" means that signing is allowed
	at      time.Time // the time that is believed
	session *ca.Session
	heard   map[string]ca.Heard
}

func (c *answering) close() {
	if c.session != nil {
		c.session.Close()
		c.session = nil
	}
}

func (c *answering) observed() ca.Observed {
	if c.session != nil {
		return c.session.Observed()
	}
	return c.obs.CA
}

// reply decides about one request, signs a certificate if one is due, and returns the answer.
func (c *answering) reply(sub inbox.Submission) issuer.Reply {
	pc := c.pc
	asked := plan.Receive(c.observed(), sub, c.hold, pc.cfg.Validity.Days)
	var cert *x509.Certificate
	var again bool
	if m := asked.Member; m != nil {
		h := c.heard[m.Name]
		h.At, h.Trusts = pc.o.Now(), asked.Request.Trusts
		if asked.Sign != nil {
			asked.Sign.Signed = h.Signed
			var err error
			cert, again, err = c.sign(*asked.Sign)
			asked = asked.Tried(err)
		}
		if cert != nil && !again {
			h.Signed++
		}
		c.heard[m.Name] = h
	}
	r, err := asked.Answer(c.observed(), cert, again, c.at)
	if cert != nil {
		status := issuer.Signed
		if again {
			status = issuer.Again
		}
		pc.log(Info, "certificate for a member", "host", asked.Member.Name, "status", status, "serial", serial(cert),
			"ends", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	switch r.Status {
	case issuer.Refused:
		pc.log(Warn, "request refused", "reason", string(plan.InboxRequest), "host",
			fmt.Sprintf("%.80q", sub.Name), "error",
			r.Reason)
	case issuer.Failed:
		pc.log(Fail, "request failed", "reason", string(plan.InboxRequest), "host", asked.Member.Name,
			"error", err.Error())
	}
	return r
}

func (c *answering) sign(ask ca.Ask) (_ *x509.Certificate, again bool, err error) {
	if c.session == nil {
		if c.session, err = ca.Open(c.ctx, c.pc.o.Disk, c.pc.Options(c.obs)); err != nil {
			return nil, false, err
		}
	}
	return c.session.Sign(ask, c.pc.o.Rand, c.at)
}
