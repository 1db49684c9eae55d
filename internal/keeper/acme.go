package keeper

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// acmeDir is the directory below the state directory that contains the account key, the account's URL and the open
// orders.
const acmeDir = "acme"

// The largest sizes, in bytes, of the files that the configuration names and of the files in acmeDir.
const (
	maxHMACFile = 4 << 10
	maxCAFile   = 1 << 20
	maxNote     = 256 << 10
)

// acmeStore keeps the files of an ACME client in the state directory. Only root can read them.
type acmeStore struct {
	disk *durable.Disk
	dir  string
}

func (s acmeStore) Read(name string) ([]byte, error) {
	n := durable.Read(filepath.Join(s.dir, name), maxNote)
	switch {
	case n.Kind == durable.Missing && n.Err == nil:
		return nil, &fs.PathError{Op: "open", Path: n.Path, Err: fs.ErrNotExist}
	case n.Err != nil:
		return nil, n.Err
	}
	return n.Data, nil
}

func (s acmeStore) Write(name string, data []byte) error {
	return s.disk.Replace(filepath.Join(s.dir, name), data, 0o600)
}

func (s acmeStore) Remove(name string) error {
	err := s.disk.Remove(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// acmeFiles describes the directory of the accounts and the files in it.
func (b *base) acmeFiles() []durable.Node {
	dir := durable.Look(b.statePath(acmeDir))
	if dir.Kind == durable.Missing {
		return nil
	}
	out := []durable.Node{dir}
	if !dir.IsDir {
		return out
	}
	names, err := durable.Names(dir.Path, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		out[0].Err = err
	}
	for _, name := range names {
		out = append(out, durable.Look(filepath.Join(dir.Path, name)))
	}
	return out
}

// acmeAsker asks the configured ACME CA. It shares nothing with the Keeper, so that it may run beside the loop.
type acmeAsker struct {
	o   acme.Options
	dir string
}

// acmeCA returns an asker for the configured ACME CA, or for the fallback. tell gets each step of an order as a line
// for a person.
func (b *base) acmeCA(tell func(step string), fallback bool) (*acmeAsker, error) {
	x, files, zone := b.acmeClient(tell, fallback)
	if err := cmp.Or(files, zone); err != nil {
		return nil, err
	}
	err := b.o.Disk.MkdirAll(b.cfg.State.Dir, 0o700)
	if err == nil {
		err = b.o.Disk.Mkdir(x.dir, 0o700)
	}
	if err != nil {
		return nil, issuer.Refusal{Kind: issuer.KindStore, Reason: "the directory of the account: " + err.Error()}
	}
	return x, nil
}

// acmeClient is acmeCA without the directory of the account: nothing is written. files and zone say why the files of
// issuer.acme, and the section dns, cannot be used; x has the rest nevertheless.
func (b *base) acmeClient(tell func(step string), fallback bool) (x *acmeAsker, files, zone error) {
	c, section := b.cfg.Issuer.ACME, "issuer.acme."
	if fallback {
		c, section = c.AtFallback(), section+"fallback."
	}
	x = &acmeAsker{dir: b.statePath(acmeDir)}
	x.o = acme.Options{Directory: c.Directory, AgreeTOS: c.AgreeTOS, Contact: c.Contact, Profile: c.Profile,
		Challenge: c.Challenge, Listener: acme.Listener{Listen: c.HTTP.Listen, Webroot: c.HTTP.Webroot},
		Command: c.Command, PreferredChain: c.PreferredChain, Store: acmeStore{b.o.Disk, x.dir}, Dir: x.dir,
		Now: b.o.Now, Progress: tell, Proxy: b.o.Proxy, Agent: "mailcertd", Patience: b.o.OrderFor,
		Log: func(text string) { b.log(Warn, text, "reason", string(plan.ACMEOrder)) }}
	x.o.EAB, files = readEAB(c, section+"eab.hmac_file")
	if c.CAFile != "" {
		n := durable.Read(c.CAFile, maxCAFile)
		if n.Err != nil || !n.Exists {
			files = cmp.Or(files, refusedFile(issuer.KindAway, section+"ca_file", n))
		}
		if n.Err == nil && n.Exists && !x509.NewCertPool().AppendCertsFromPEM(n.Data) {
			files = cmp.Or(files, error(issuer.Refusal{Kind: issuer.KindAway, Reason: section + "ca_file " + n.Path +
				": contains no certificate in PEM"}))
		}
		x.o.CAs = n.Data
	}
	if c.Challenge == config.ChallengeDNS || c.Challenge == config.ChallengeDNSPersist {
		z, err := b.zone()
		if err != nil {
			return x, files, err
		}
		x.o.DNS, x.o.Lookup = z, z.lookup
	}
	return x, files, nil
}

// readEAB reads the external account binding; the zero value where none is configured.
func readEAB(c config.ACME, setting string) (acme.EAB, error) {
	if c.EAB.KID == "" {
		return acme.EAB{}, nil
	}
	n := durable.Read(c.EAB.HMACFile, maxHMACFile)
	if n.Err != nil || !n.Exists {
		return acme.EAB{}, refusedFile(issuer.KindEAB, setting, n)
	}
	hmac, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(n.Data)), "="))
	if err != nil || len(hmac) == 0 {
		return acme.EAB{}, issuer.Refusal{Kind: issuer.KindEAB, Reason: setting + " " + c.EAB.HMACFile +
			// The cause is left out: it would show a part of the key.
			": must contain the key in base64url, as the CA gives it"}
	}
	return acme.EAB{KID: c.EAB.KID, HMAC: hmac}, nil
}

func refusedFile(kind issuer.Kind, setting string, n durable.Node) error {
	why := "does not exist"
	if n.Err != nil {
		why = n.Err.Error()
	}
	return issuer.Refusal{Kind: kind, Reason: setting + " " + n.Path + ": " + why}
}

// alone calls ask with the account, while no other mailcertd uses it: two at the same time would place two orders.
func (x *acmeAsker) alone(ask func(*acme.Issuer) error) error {
	return x.turn().alone(func() error {
		i, err := acme.New(x.o)
		if err != nil {
			return err
		}
		return ask(i)
	})
}

func (x *acmeAsker) turn() turn { return turn{x.dir, cmp.Or(x.o.Patience, acme.DefaultPatience)} }

// Ask implements issuer.Issuer.
func (x *acmeAsker) Ask(ctx context.Context, r issuer.Request) (reply issuer.Reply, err error) {
	if err = x.turn().after(ctx); err != nil {
		return reply, err
	}
	err = x.alone(func(i *acme.Issuer) error {
		reply, err = i.Ask(ctx, r)
		return err
	})
	return reply, err
}

// taken removes the note of the order for r. It is called when the answer is on the disk.
func (x *acmeAsker) taken(r issuer.Request) error {
	return x.alone(func(i *acme.Issuer) error { return i.Taken(r) })
}

// window asks the CA when the leaf a.Poll should be renewed.
func (x *acmeAsker) window(ctx context.Context, a plan.Ask) (w renewal, err error) {
	if err = x.turn().after(ctx); err != nil {
		return w, err
	}
	err = x.alone(func(i *acme.Issuer) error {
		w.Renewal, w.known, err = i.RenewalInfo(ctx, a.Poll)
		return err
	})
	return w, err
}

// renewal is the time in which an ACME CA wants a leaf to be renewed. known is false where the CA names none.
type renewal struct {
	acme.Renewal
	known bool
}

// pollEvery is the time until the next question to a CA that has named no time of renewal.
const pollEvery = 24 * time.Hour

// takeWindow writes into the state when a leaf is to be renewed, or that the CA did not say.
func (as *asker) takeWindow(ctx context.Context, a answer, of plan.Host) error {
	now, pair := as.o.Now(), a.ask.Pair
	host, _ := plan.HostName(as.cfg, of)
	as.state.change(ctx, func(s *state.State) {
		key := plan.PollFailure(pair)
		if a.err != nil {
			fail(s, key, a.err, now)
			as.log(Warn, "the CA did not say when to renew", "reason", string(plan.RenewalAsk), "error", a.err.Error(),
				"next", s.Failures[key].Next.Format(time.RFC3339))
			return
		}
		delete(s.Failures, key)
		m := s.ACME[pair.Name].About(pki.Fingerprint(a.ask.Poll))
		m.Start, m.End, m.Renew, m.Why = time.Time{}, time.Time{}, time.Time{}, ""
		m.Poll = now.UTC().Truncate(time.Second).Add(pollEvery)
		if w := a.renewal; w.known {
			m.Start, m.End, m.Poll, m.Why = w.Start.UTC(), w.End.UTC(), w.RetryAfter.UTC().Truncate(time.Second),
				w.ExplanationURL
			m.Renew = plan.MomentIn(m.Start, m.End, host, a.ask.Poll)
		}
		setACME(s, pair, m)
	})
	return a.err
}

// takeOrder stores the answer to an order, or notes the failure.
func (as *asker) takeOrder(ctx context.Context, a answer) error {
	now, pair := as.o.Now(), a.ask.Pair
	if a.err == nil {
		a.err = as.candidates.keepOrder(pair, a.reply)
	}
	failure := plan.ObtainFailureOf(pair)
	if a.ask.Fallback {
		failure = plan.FallbackFailure(pair)
	}
	as.state.change(ctx, func(s *state.State) {
		if a.err != nil {
			by := as.directory(a.ask)
			if a.acme != nil { // the configuration may have changed since it was asked
				by = a.acme.o.Directory
			}
			failBy(by, s, failure, a.err, now)
			f := s.Failures[failure]
			as.log(Fail, "the CA gave no certificate", "directory", as.directory(a.ask), "reason",
				string(plan.RefusalReason(issuer.Kind(f.Kind))),
				"error", a.err.Error(), "next", f.Next.Format(time.RFC3339))
			return
		}
		delete(s.Failures, plan.ObtainFailureOf(pair))
		delete(s.Failures, plan.FallbackFailure(pair))
		// What the state says about the installed certificate stays true until that certificate is replaced.
		m := s.ACME[pair.Name]
		m.Sent, m.SentBy, m.Answered = pki.Fingerprint(a.reply.Leaf), a.acme.o.Directory,
			now.UTC().Truncate(time.Second)
		setACME(s, pair, m)
	})
	if a.err != nil {
		return a.err
	}
	// The next order then finds the note, and the CA answers it with the same certificate.
	if err := a.acme.taken(a.request); err != nil {
		as.log(Warn, "the note of a finished order could not be removed", "reason", string(plan.StateUnwritable),
			"error", err.Error())
	}
	return nil
}

// directory is the ACME CA that a question goes to.
func (as *asker) directory(ask plan.Ask) string {
	if ask.Fallback {
		return as.cfg.Issuer.ACME.Fallback.Directory
	}
	return as.cfg.Issuer.ACME.Directory
}

func setACME(s *state.State, pair certdir.Pair, m state.ACME) {
	if s.ACME == nil {
		s.ACME = map[string]state.ACME{}
	}
	s.ACME[pair.Name] = m
}

// orderOf names the file in candidates/ with the last answer to an order for a pair: the leaf, then its chain.
func orderOf(p certdir.Pair) string { return "acme-" + p.Name + ".pem" }

// keepOrder writes an answer to the disk. The order is forgotten only after that, so that a crash loses no certificate.
func (c *candidates) keepOrder(p certdir.Pair, r issuer.Reply) error {
	return c.write(orderOf(p), encoded(append([]*x509.Certificate{r.Leaf}, r.CAs...)))
}

// observeOrders reads the last answers of the ACME CA.
func (c *candidates) observeOrders(obs *plan.Observed) {
	obs.Orders, obs.OrderErrs = map[string]issuer.Reply{}, map[string]error{}
	store := acmeStore{c.o.Disk, c.statePath(acmeDir)}
	// An account that cannot be read is reported by the next order.
	if a, err := acme.ReadAccount(c.cfg.Issuer.ACME.Directory, store); err == nil {
		obs.AtCA = plan.CAAccount{URL: a.URL, Profile: a.Profile}
	}
	for _, p := range certdir.Pairs() {
		n := durable.Read(c.path(orderOf(p)), issuer.MaxReply)
		switch {
		case n.Err != nil:
			obs.OrderErrs[p.Name] = n.Err
			continue
		case !n.Exists:
			continue
		}
		f := pki.ReadCertFile(n.Data)
		if f.Err != nil || len(f.Certs) == 0 {
			obs.OrderErrs[p.Name] = fmt.Errorf("%s: %w", n.Path, f.Err)
			continue
		}
		obs.Orders[p.Name] = issuer.Reply{Status: issuer.Signed, Leaf: f.Certs[0], CAs: f.Certs[1:]}
	}
}
