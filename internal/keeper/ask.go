package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/issuer/ssh"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// answer is the result of a question.
type answer struct {
	ask   plan.Ask
	reply issuer.Reply
	err   error
	// renewal is set for a question about the time of renewal; acme and request are set for an order.
	renewal renewal
	acme    *acmeAsker
	request issuer.Request
}

// asker asks the issuer on another host beside the loop, and stores the answers.
type asker struct {
	*base
	state      *stateFile
	candidates *candidates
	// asking is true while a question is out. Only the loop reads and writes it, so it needs no lock; the goroutine
	// that asks sends its answer through answers.
	asking  bool
	answers chan answer
	wake    chan<- struct{} // a message on it makes the loop look again
}

// question is all that is needed to ask. It shares nothing with the Keeper, so that a goroutine can ask while the loop
// goes on.
type question struct {
	ask     plan.Ask
	request issuer.Request
	to      issuer.Issuer
	acme    *acmeAsker // set when an ACME CA is asked, else nil
}

// issuer returns the issuer that the configuration names.
func (as *asker) issuer() issuer.Issuer {
	if as.o.Issuer != nil {
		return as.o.Issuer
	}
	s := plan.CAHost(as.cfg).SSH
	return ssh.Host{Target: s.Target, Identity: s.Identity, KnownHosts: s.KnownHosts}
}

// question prepares a question. A request for a certificate is signed with the key that the certificate is for.
func (as *asker) question(ask plan.Ask) (question, error) {
	q := question{ask: ask, request: issuer.Request{Renew: ask.Renew, Holds: ask.Holds, Trusts: ask.Trusts,
		Replaces: ask.Replaces, Lost: ask.Lost}}
	if ask.Tidy {
		q.acme = as.tidier()
		return q, nil
	}
	if ask.ACME() {
		var err error
		if q.acme, err = as.acmeCA(as.o.Step, ask.Fallback); err != nil {
			return q, err
		}
		q.to = q.acme
		if as.o.Issuer != nil {
			q.to = as.o.Issuer
		}
	} else {
		_ = as.candidates.prepare() // without it nobody waits for another
		q.to = inTurn{as.candidates.turn(), as.issuer()}
	}
	if r := ask.Request; r != nil {
		key, err := as.pairKey(r.Pair, r.Staged)
		if err != nil {
			return q, err
		}
		if q.request.CSR, err = pki.CreateRequest(key, r.Name, r.AltNames, as.o.Rand); err != nil {
			return q, err
		}
	}
	return q, nil
}

// patience is the longest time that a question may take.
func (b *base) patience(ask plan.Ask) time.Duration {
	if ask.ACME() || ask.Tidy {
		return cmp.Or(b.o.OrderFor, acme.DefaultPatience)
	}
	return ssh.DefaultPatience
}

// put asks and waits for the answer. It holds no lock on the certs directory meanwhile.
func (q question) put(ctx context.Context) answer {
	if q.ask.Tidy {
		return answer{ask: q.ask, err: q.acme.tidy(ctx)}
	}
	if q.ask.Poll != nil {
		w, err := q.acme.window(ctx, q.ask)
		return answer{ask: q.ask, renewal: w, err: err}
	}
	reply, err := q.to.Ask(ctx, q.request)
	return answer{ask: q.ask, reply: reply, err: err, acme: q.acme, request: q.request}
}

// askLater asks in a goroutine while the loop goes on. arrivals takes the answer in.
func (as *asker) askLater(ctx context.Context, ask plan.Ask) {
	q, err := as.question(ask)
	if err != nil {
		_ = as.take(ctx, answer{ask: ask, err: err}) // take notes the failure in the state
		return
	}
	as.noteRequest(ctx, ask)
	as.asking = true
	as.log(Info, ask.Text.Doing(), "reason", string(ask.Reason))
	go func() {
		done := as.working(ask.Text.Doing(), as.patience(ask))
		a := q.put(ctx)
		done()
		as.answers <- a
		select {
		case as.wake <- struct{}{}:
		default:
		}
	}()
}

// arrivals stores the answer to a question, if there is one. It does not wait.
func (as *asker) arrivals(ctx context.Context) {
	select {
	case a := <-as.answers:
		as.asking = false
		if ctx.Err() == nil {
			_ = as.take(ctx, a)
		}
	default:
	}
}

// noteRequest notes in the state that a staged key waits for its certificate, so that the key is not removed meanwhile.
func (as *asker) noteRequest(ctx context.Context, ask plan.Ask) {
	if ask.Request == nil || !ask.Request.Staged {
		return
	}
	key, err := as.pairKey(ask.Request.Pair, true)
	if err != nil {
		return
	}
	lasts := time.Duration(0)
	if ask.ACME() {
		lasts = 2 * as.patience(ask)
	}
	as.state.change(ctx, func(s *state.State) {
		of := ask.Request.Pair.Name
		s.SetPair(of, plan.Requested(s.Pair(of), key.Public(), as.o.Now(), lasts))
	})
}

// take stores an answer, or notes its failure and returns it. The next look decides what to do with the answer.
func (as *asker) take(ctx context.Context, a answer) error {
	switch {
	case errors.Is(a.err, errBusy): // the CA did not fail: it was not asked
		return a.err
	case a.ask.Tidy:
		return as.takeTidy(ctx, a)
	case a.ask.Poll != nil:
		return as.takeWindow(ctx, a, as.o.Host(ctx))
	case a.ask.ACME():
		return as.takeOrder(ctx, a)
	}
	now, pair, failure := as.o.Now(), certdir.Host, plan.CAHostFailure(as.cfg)
	if r := a.ask.Request; r != nil {
		pair, failure = r.Pair, plan.ObtainFailureOf(r.Pair)
	}
	if a.err == nil {
		// This pair's certificate goes into a file of its own. The rest of the reply concerns every pair.
		if pair != certdir.Host {
			memory := as.candidates.replies[pair.Name]
			as.candidates.keep(replyOf(pair), a.reply.Encode(), &memory)
			as.candidates.replies[pair.Name] = memory
			a.reply.Leaf, a.reply.Status = nil, issuer.Trust
		}
		if a.reply.Leaf == nil { // a certificate that was sent before and is not installed yet must not be lost
			var obs plan.Observed
			as.candidates.observeAnswer(&obs)
			var pe *fs.PathError
			if errors.As(obs.ReplyErr, &pe) {
				a.err = fmt.Errorf("its answer is ignored, because the previous one cannot be read: %w", obs.ReplyErr)
			}
			if l := obs.Reply.Leaf; l != nil && now.Before(l.NotAfter) {
				a.reply.Leaf, a.reply.Status = l, issuer.Again
			}
		}
		if a.err == nil {
			as.candidates.keep(replyName, a.reply.Encode(), &as.candidates.reply)
		}
	}
	as.state.change(ctx, func(s *state.State) {
		if a.err != nil {
			failBy(plan.CAHost(as.cfg).SSH.Target, s, failure, a.err, now)
			as.log(Fail, "the CA gave no usable answer", "reason", string(plan.IssuerAway), "error", a.err.Error(),
				"next", s.Failures[failure].Next.Format(time.RFC3339))
			return
		}
		delete(s.Failures, failure)
		s.Member.Asked, s.Member.Told = now.UTC().Truncate(time.Second), plan.TrustID(a.ask.Trusts)
	})
	return a.err
}

// askNow asks, waits, and stores the answer. Its error names the CA.
func (as *asker) askNow(ctx context.Context, ask plan.Ask) error {
	q, err := as.question(ask)
	if err != nil {
		return as.take(ctx, answer{ask: ask, err: err})
	}
	as.noteRequest(ctx, ask)
	a := q.put(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := as.take(ctx, a); err != nil && ask.ACME() {
		return fmt.Errorf("%s: %w", as.directory(ask), err)
	} else if err != nil {
		return fmt.Errorf("the CA at %s: %w", plan.CAHost(as.cfg).SSH.Target, err)
	}
	return nil
}

// close waits for the answer to the open question until late. It returns true when no question is open any more.
func (as *asker) close(late <-chan time.Time) bool {
	if !as.asking {
		return true
	}
	select {
	case <-as.answers:
		return true
	case <-late:
		return false
	}
}
