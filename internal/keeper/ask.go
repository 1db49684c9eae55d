package keeper

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// The files of candidates/ in the state directory: what the CA on the other
// host answered last, and which of its certificates are accepted. Nothing in
// them is secret.
const (
	candidatesDir = "candidates"
	replyName     = "reply.pem"
	acceptedName  = "ca.pem"
)

func (k *Keeper) candidate(name string) string {
	return filepath.Join(k.cfg.State.Dir, candidatesDir, name)
}

// answer is what came of a question.
type answer struct {
	ask   plan.Ask
	reply issuer.Reply
	err   error
}

// Wake says that something arrived: look again.
func (k *Keeper) Wake() <-chan struct{} { return k.wake }

// observeAnswer reads what the CA on the other host answered.
func (k *Keeper) observeAnswer(obs *plan.Observed) {
	read := func(name string, kept []byte) []byte {
		n := durable.Read(k.candidate(name), issuer.MaxReply)
		if n.Err != nil && kept == nil {
			obs.ReplyErr = n.Err
		}
		if kept != nil {
			return kept
		}
		return n.Data
	}
	if data := read(acceptedName, k.accepted); len(data) > 0 {
		f := pki.ReadCertFile(data)
		if obs.Accepted = f.Certs; f.Err != nil {
			obs.ReplyErr = fmt.Errorf("%s: %w", k.candidate(acceptedName), f.Err)
		}
	}
	if data := read(replyName, k.reply); len(data) > 0 {
		r, err := issuer.ParseReply(data)
		if err != nil {
			obs.ReplyErr = fmt.Errorf("%s: %w", k.candidate(replyName), err)
			return
		}
		obs.Reply = r
	}
}

// keep writes a file of candidates/; where that fails it is kept in memory.
func (k *Keeper) keep(name string, data []byte, memory *[]byte) {
	err := k.o.Disk.MkdirAll(k.cfg.State.Dir, 0o700)
	if err == nil {
		err = k.o.Disk.Mkdir(filepath.Dir(k.candidate(name)), 0o700)
	}
	if err == nil {
		err = k.o.Disk.Replace(k.candidate(name), data, 0o600)
	}
	if *memory = nil; err != nil {
		k.log(Warn, "an answer of the CA cannot be written: it is lost with this process", "reason", string(plan.StateUnwritable), "error", err.Error())
		*memory = data
	}
}

// accept takes over CA certificates of the other host.
func (k *Keeper) accept(certs []*x509.Certificate) error {
	var data []byte
	for _, c := range certs {
		data = append(data, pki.EncodeCertificate(c.Raw)...)
	}
	k.keep(acceptedName, data, &k.accepted)
	return nil
}

// question is all that asking needs: it shares nothing with the Keeper, and may
// be put while that goes on.
type question struct {
	ask     plan.Ask
	message []byte
	key     crypto.PublicKey // that the certificate is to be for; nil: none is wanted
	how     func(ctx context.Context, request []byte) ([]byte, error)
}

// question prepares what is asked: a request is signed with the key that it is for.
func (k *Keeper) question(ask plan.Ask) (question, error) {
	q := question{ask: ask, how: k.o.Ask}
	if q.how == nil {
		s := k.cfg.Issuer.SSH
		q.how = issuer.SSH{Target: s.Target, Identity: s.Identity, KnownHosts: s.KnownHosts}.Ask
	}
	m := issuer.Request{Renew: ask.Renew, Trusts: ask.Trusts}
	if r := ask.Request; r != nil {
		key, err := k.hostKey(r.Staged)
		if err != nil {
			return q, err
		}
		if m.CSR, err = pki.CreateRequest(key, r.Name, r.AltNames, k.o.Rand); err != nil {
			return q, err
		}
		q.key = key.Public()
	}
	q.message = m.Encode()
	return q, nil
}

// put asks and waits for the answer, without any lock.
func (q question) put(ctx context.Context) answer {
	a := answer{ask: q.ask}
	data, err := q.how(ctx, q.message)
	if err == nil {
		a.reply, err = issuer.ParseReply(data)
	}
	if err == nil {
		err = q.fits(a.reply)
	}
	a.err = err
	return a
}

// fits says that a reply answers the question: a certificate is for the key that
// asked, and of a CA that came with it.
func (q question) fits(r issuer.Reply) error {
	switch {
	case r.Status == issuer.Refused:
		return fmt.Errorf("%w: %s", ca.ErrRefused, ca.Refusal(r.Reason)) // an older CA host says so itself
	case r.Status == issuer.Failed:
		return fmt.Errorf("failed: %s", r.Reason)
	case (q.key != nil) != (r.Leaf != nil):
		return fmt.Errorf("%w: it answers another question (%s)", issuer.ErrMessage, r.Status)
	case r.Leaf == nil:
		return nil
	case !pki.SamePublicKey(q.key, r.Leaf.PublicKey):
		return fmt.Errorf("%w: its certificate is for another key", issuer.ErrMessage)
	case !slices.ContainsFunc(r.CAs, func(c *x509.Certificate) bool { return pki.IssuedBy(r.Leaf, c) }):
		return fmt.Errorf("%w: its certificate is not of the CA that came with it", issuer.ErrMessage)
	}
	return nil
}

// askLater puts the question while the loop goes on.
func (k *Keeper) askLater(ctx context.Context, ask plan.Ask) {
	q, err := k.question(ask)
	if err != nil {
		k.take(ctx, answer{ask: ask, err: err})
		return
	}
	k.noteRequest(ctx, ask)
	k.asking = true
	k.log(Info, ask.Text, "reason", string(ask.Reason))
	go func() {
		done := k.working(ask.Text, issuer.DefaultPatience)
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
			k.take(ctx, a)
		}
	default:
	}
}

// Close waits for a question that is out, once its context is done: ssh must not
// stay behind.
func (k *Keeper) Close(patience time.Duration) {
	if k.asking {
		select {
		case <-k.answers:
		case <-time.After(patience):
		}
	}
}

// noteRequest notes that a staged key waits for its certificate.
func (k *Keeper) noteRequest(ctx context.Context, ask plan.Ask) {
	if ask.Request == nil || !ask.Request.Staged {
		return
	}
	key, err := k.hostKey(true)
	if err != nil {
		return
	}
	k.change(ctx, func(s *state.State) { plan.RequestOut(s, key.Public(), k.o.Now(), 0) })
}

// change changes the state under the lock.
func (k *Keeper) change(ctx context.Context, f func(*state.State)) {
	lock, err := k.lock(ctx)
	if err != nil {
		k.log(Warn, "the state cannot be written", "error", err.Error())
		return
	}
	defer lock.Unlock()
	before, _ := k.loadState()
	after := before.Clone()
	f(&after)
	k.remember(before, after)
}

// take notes an answer or a failure. What to do with it is decided by the next
// look.
func (k *Keeper) take(ctx context.Context, a answer) {
	now := k.o.Now()
	if a.err == nil {
		if a.reply.Leaf == nil { // a certificate that has not been installed yet is not forgotten
			var obs plan.Observed
			k.observeAnswer(&obs)
			if l := obs.Reply.Leaf; l != nil && now.Before(l.NotAfter) {
				a.reply.Leaf, a.reply.Status = l, issuer.Again
			}
		}
		k.keep(replyName, a.reply.Encode(), &k.reply)
	}
	k.change(ctx, func(s *state.State) {
		if a.err != nil {
			fail(s, plan.ObtainFailure, a.err, now)
			k.log(Fail, "the CA did not answer as it should", "reason", string(plan.IssuerAway), "error", a.err.Error(), "next", s.Failures[plan.ObtainFailure].Next.Format(time.RFC3339))
			return
		}
		delete(s.Failures, plan.ObtainFailure)
		s.Member.Asked, s.Member.Told = now.UTC().Truncate(time.Second), plan.TrustID(a.ask.Trusts)
	})
}

// errNoKey says that a file was read and holds no key that can be used.
var errNoKey = errors.New("holds no key that can be used")

// hostKey is the installed private key, or the staged one.
func (k *Keeper) hostKey(staged bool) (crypto.Signer, error) {
	n := durable.Read(k.Path(certdir.KeyName), 1<<20)
	if staged {
		n = durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir).Staged(certdir.KeyName)
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
	if q := r.Plan.Ask; err == nil && q != nil && q.Request != nil {
		done := k.working(q.Text, issuer.DefaultPatience)
		err = k.AskNow(ctx, *q)
		done()
		if err != nil {
			return r, err
		}
		before := r
		r, err = k.Settle(ctx, wish)
		r.Done, r.Changed = append(before.Done, r.Done...), before.Changed || r.Changed
		if q := r.Plan.Ask; err == nil && q != nil && q.Request != nil {
			err = fmt.Errorf("the CA at %s answered with a certificate that cannot be used for this host", k.cfg.Issuer.SSH.Target)
		}
	}
	return r, err
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
	k.take(ctx, a)
	if a.err != nil {
		return fmt.Errorf("the CA at %s: %w", k.cfg.Issuer.SSH.Target, a.err)
	}
	return nil
}
