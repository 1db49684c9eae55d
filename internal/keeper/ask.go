package keeper

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/ssh"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// answer is what came of a question.
type answer struct {
	ask   plan.Ask
	reply issuer.Reply
	err   error
}

// Wake says that something arrived: look again.
func (k *Keeper) Wake() <-chan struct{} { return k.wake }

// question is all that asking needs: it shares nothing with the Keeper, and may
// be put while that goes on.
type question struct {
	ask     plan.Ask
	request issuer.Request
	to      issuer.Issuer
}

// issuer is whom the configuration names.
func (k *Keeper) issuer() issuer.Issuer {
	if k.o.Issuer != nil {
		return k.o.Issuer
	}
	s := plan.CAHost(k.cfg).SSH
	return ssh.Host{Target: s.Target, Identity: s.Identity, KnownHosts: s.KnownHosts}
}

// question prepares what is asked: a request is signed with the key that it is for.
func (k *Keeper) question(ask plan.Ask) (question, error) {
	q := question{ask: ask, to: k.issuer(), request: issuer.Request{Renew: ask.Renew, Holds: ask.Holds,
		Trusts: ask.Trusts}}
	if r := ask.Request; r != nil {
		key, err := k.pairKey(r.Pair, r.Staged)
		if err != nil {
			return q, err
		}
		if q.request.CSR, err = pki.CreateRequest(key, r.Name, r.AltNames, k.o.Rand); err != nil {
			return q, err
		}
	}
	return q, nil
}

// put asks and waits for the answer, without any lock.
func (q question) put(ctx context.Context) answer {
	reply, err := q.to.Ask(ctx, q.request)
	return answer{ask: q.ask, reply: reply, err: err}
}

// askLater puts the question while the loop goes on.
func (k *Keeper) askLater(ctx context.Context, ask plan.Ask) {
	q, err := k.question(ask)
	if err != nil {
		_ = k.take(ctx, answer{ask: ask, err: err}) // which notes it
		return
	}
	k.noteRequest(ctx, ask)
	k.asking = true
	k.log(Info, ask.Text.Doing(), "reason", string(ask.Reason))
	go func() {
		done := k.working(ask.Text.Doing(), ssh.DefaultPatience)
		a := q.put(ctx)
		done()
		k.answers <- a
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}()
}

// arrivals takes in the answer to a question, if there is one.
func (k *Keeper) arrivals(ctx context.Context) {
	select {
	case a := <-k.answers:
		k.asking = false
		if ctx.Err() == nil {
			_ = k.take(ctx, a)
		}
	default:
	}
}

// noteRequest notes that a staged key waits for its certificate.
func (k *Keeper) noteRequest(ctx context.Context, ask plan.Ask) {
	if ask.Request == nil || !ask.Request.Staged {
		return
	}
	key, err := k.pairKey(ask.Request.Pair, true)
	if err != nil {
		return
	}
	k.change(ctx, func(s *state.State) { plan.RequestOut(s, ask.Request.Pair, key.Public(), k.o.Now(), 0) })
}

// change changes the state under the lock. Its error is reported by the next look,
// too.
func (k *Keeper) change(ctx context.Context, f func(*state.State)) error {
	lock, err := k.lock(ctx)
	if err != nil {
		k.log(Warn, "the state cannot be written", "error", err.Error())
		return err
	}
	defer lock.Unlock()
	before, _ := k.loadState()
	after := before.Clone()
	f(&after)
	return k.remember(before, after)
}

// take notes an answer or a failure, and gives the failure. What to do with it is
// decided by the next look.
func (k *Keeper) take(ctx context.Context, a answer) error {
	now, pair := k.o.Now(), certdir.Host
	if r := a.ask.Request; r != nil {
		pair = r.Pair
	}
	failure := plan.ObtainFailureOf(pair)
	if a.err == nil {
		if pair != certdir.Host { // its certificate has a file of its own; what came with it is news for all pairs
			memory := k.replies[pair.Name]
			k.keep(replyOf(pair), a.reply.Encode(), &memory)
			k.replies[pair.Name] = memory
			a.reply.Leaf, a.reply.Status = nil, issuer.Trust
		}
		if a.reply.Leaf == nil { // a certificate that has not been installed yet is not forgotten
			var obs plan.Observed
			k.observeAnswer(&obs)
			var pe *fs.PathError
			if errors.As(obs.ReplyErr, &pe) {
				a.err = fmt.Errorf("its answer is ignored, because the previous one cannot be read: %w", obs.ReplyErr)
			}
			if l := obs.Reply.Leaf; l != nil && now.Before(l.NotAfter) {
				a.reply.Leaf, a.reply.Status = l, issuer.Again
			}
		}
		if a.err == nil {
			k.keep(replyName, a.reply.Encode(), &k.reply)
		}
	}
	k.change(ctx, func(s *state.State) {
		if a.err != nil {
			fail(s, failure, a.err, now)
			k.log(Fail, "the CA gave no usable answer", "reason", string(plan.IssuerAway), "error", a.err.Error(),
				"next", s.Failures[failure].Next.Format(time.RFC3339))
			return
		}
		delete(s.Failures, failure)
		s.Member.Asked, s.Member.Told = now.UTC().Truncate(time.Second), plan.TrustID(a.ask.Trusts)
	})
	return a.err
}

// errNoKey says that a file was read and contains no usable key.
var errNoKey = errors.New("contains no usable key")

// pairKey is the installed private key of a pair, or the staged one.
func (k *Keeper) pairKey(p certdir.Pair, staged bool) (crypto.Signer, error) {
	n := durable.Read(k.Path(p.KeyFile), certdir.MaxFile)
	if staged {
		n = durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir).Staged(p.KeyFile)
	}
	switch {
	case n.Err != nil:
		return nil, n.Err
	case !n.Exists:
		return nil, fmt.Errorf("%s: there is no key", n.Path)
	}
	signer, err := pki.ParseKey(n.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", n.Path, errNoKey, err)
	}
	return signer, nil
}

// Renew is Settle for a person who waits: where the CA is on another host, it
// is asked now, and the answer installed.
func (k *Keeper) Renew(ctx context.Context, wish plan.Wish) (Result, error) {
	r, err := k.Settle(ctx, wish)
	asked := map[certdir.Pair]bool{}
	for {
		q := r.Plan.Ask
		if err == nil && q == nil && len(asked) > 0 { // after a pickup r is planned without the wish
			q = k.Check(ctx, wish).Plan.Ask
		}
		if err != nil || q == nil || q.Request == nil {
			return r, err
		}
		if asked[q.Request.Pair] { // one answer for each pair is enough
			err = fmt.Errorf("the CA at %s sent a certificate that this host cannot use", plan.CAHost(k.cfg).SSH.Target)
			if r.Plan.Rejected != "" {
				err = fmt.Errorf("%w: %s", err, r.Plan.Rejected)
			}
			return r, err
		}
		asked[q.Request.Pair] = true
		done := k.working(q.Text.Doing(), ssh.DefaultPatience)
		err = k.AskNow(ctx, *q)
		done()
		if err != nil {
			return r, err
		}
		before, begun := r, k.o.Now()
		r, err = k.Settle(ctx, wish)
		if r.Plan.Facts.Set != before.Plan.Facts.Set {
			k.pickup.SeenByDaemon(&r.View, begun)
		}
		r.Done, r.Changed = append(before.Done, r.Done...), before.Changed || r.Changed
	}
}

// AskNow puts a question and notes the answer.
func (k *Keeper) AskNow(ctx context.Context, ask plan.Ask) error {
	q, err := k.question(ask)
	if err != nil {
		return err
	}
	k.noteRequest(ctx, ask)
	a := q.put(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := k.take(ctx, a); err != nil {
		return fmt.Errorf("the CA at %s: %w", plan.CAHost(k.cfg).SSH.Target, err)
	}
	return nil
}
