package keeper

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// maxSecret bounds the passphrase file, in bytes.
const maxSecret = 4096

// unlocked remembers which passphrase opened which key: finding out takes as
// long as the key's makers wanted it to take.
type unlocked struct {
	what [32]byte
	err  error
}

// SetPassphrase gives the CA key's passphrase, which a person typed.
func (k *Keeper) SetPassphrase(secret []byte) { k.passphrase = bytes.Clone(secret) }

// Unlocks says whether secret opens the CA's key; pki.ErrPassphrase: no.
func (k *Keeper) Unlocks(secret []byte) error { return ca.Unlocks(k.cfg.CA.Dir, secret) }

// observeCA looks at what belongs to a CA for more than this host: passphrase,
// inbox, account; and, with the CA elsewhere, at what it answered.
func (k *Keeper) observeCA(obs *plan.Observed) {
	obs.Account.GID = -1
	switch k.cfg.Issuer.Kind {
	case config.IssuerSSH:
		k.observeAnswer(obs)
		return
	case config.IssuerNone:
		return
	}
	k.observePassphrase(obs)
	members := len(obs.CA.Members) > 0
	if members || durable.Look(k.cfg.CA.Inbox).IsDir {
		if members && k.cfg.Root == "" {
			obs.Account = account(k.cfg.CA.Account)
		}
		obs.Inbox = issuer.Look(k.cfg.CA.Inbox, obs.Account.GID, k.o.Now())
	}
}

// ObserveAuthority looks at this host's CA alone: what signing and listing need,
// and soon over.
func (k *Keeper) ObserveAuthority() plan.Observed {
	obs := plan.Observed{CA: k.database.Observe(k.cfg.CA.Dir, ca.Filter{Name: "."})}
	k.observePassphrase(&obs)
	return obs
}

func account(name string) plan.Account {
	a := plan.Account{Name: name, GID: -1}
	u, err := user.Lookup(name)
	if err != nil {
		a.Missing = true
		return a
	}
	if gid, err := strconv.Atoi(u.Gid); err == nil {
		a.GID = gid
	}
	return a
}

func (k *Keeper) observePassphrase(obs *plan.Observed) {
	p := &obs.Passphrase
	p.Path = k.cfg.CA.PassphraseFile
	if !obs.CA.KeyInfo.Encrypted || k.passphrase == nil && p.Path == "" {
		return
	}
	secret, err := k.readSecret()
	if err != nil {
		p.Problem = err.Error()
		return
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %d\n", obs.CA.Key.Dev, obs.CA.Key.Ino, obs.CA.Key.Changed.UnixNano(), len(secret))
	h.Write(secret)
	what := [32]byte(h.Sum(nil))
	if k.unlocked.what != what {
		k.unlocked = unlocked{what, ca.Unlocks(k.cfg.CA.Dir, secret)}
	}
	if err := k.unlocked.err; err != nil {
		p.Problem = "does not open the CA's key: " + err.Error()
		return
	}
	p.Ready = true
}

// secret is the passphrase for the CA's key; nil where the key has none, or
// none is known.
func (k *Keeper) secret(obs plan.Observed) []byte {
	if k.passphrase != nil && (obs.CA.Status == ca.Absent || obs.CA.KeyInfo.Encrypted) {
		return k.passphrase
	}
	if !obs.CA.KeyInfo.Encrypted || !obs.Passphrase.Ready {
		return nil
	}
	secret, err := k.readSecret()
	if err != nil {
		return nil
	}
	return secret
}

// ConfiguredPassphrase is what ca.passphrase_file says; nil when none is configured.
func (k *Keeper) ConfiguredPassphrase() ([]byte, error) {
	if k.cfg.CA.PassphraseFile == "" {
		return nil, nil
	}
	return k.readSecret()
}

// readSecret is what a person typed, else the first line of ca.passphrase_file.
func (k *Keeper) readSecret() ([]byte, error) {
	if k.passphrase != nil {
		return k.passphrase, nil
	}
	path := k.cfg.CA.PassphraseFile
	n := durable.Read(path, maxSecret)
	switch {
	case n.Err != nil:
		return nil, fmt.Errorf("cannot be read: %w", n.Err)
	case !n.Exists:
		return nil, fmt.Errorf("cannot be read: %w", fs.ErrNotExist)
	case n.Mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("is refused: its mode is %04o, others may not read it (chmod 0600 %s)", n.Mode.Perm(), path)
	case n.UID != 0 && n.UID != k.o.UID:
		return nil, fmt.Errorf("is refused: it belongs to the user %d, not to root", n.UID)
	}
	line, _, _ := bytes.Cut(n.Data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, errors.New("its first line is empty")
	}
	return line, nil
}

// answerMembers answers every request in the inbox. What can be refused is
// refused without opening the CA; what has to wait is told so, and the member
// asks again.
func (k *Keeper) answerMembers(ctx context.Context, obs plan.Observed, hold string) error {
	dir := k.cfg.CA.Inbox
	for _, path := range obs.Inbox.Stale {
		if err := k.o.Disk.Remove(path); err != nil {
			k.log(Warn, "could not clear the inbox", "path", path, "error", err.Error())
		}
	}
	c := &counter{k: k, ctx: ctx, obs: obs, hold: hold, heard: map[string]ca.Heard{}}
	defer c.close()
	var replies []issuer.Reply
	for _, sub := range obs.Inbox.Pending {
		replies = append(replies, c.reply(sub))
	}
	if len(c.heard) > 0 { // before the answers: who asks again must not be counted less
		var err error
		if c.session != nil {
			err = c.session.Hear(c.heard)
		} else {
			err = ca.Hear(ctx, k.o.Disk, k.cfg.CA.Dir, c.heard)
		}
		if err != nil {
			k.log(Warn, "what enrolled hosts said cannot be noted", "error", err.Error())
		}
	}
	c.close()
	var failed error
	for i, sub := range obs.Inbox.Pending {
		if err := issuer.Answer(k.o.Disk, dir, sub.ID, replies[i]); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// counter is where members are served: the CA is opened for the first of them
// that wants something signed.
type counter struct {
	k       *Keeper
	ctx     context.Context
	obs     plan.Observed
	hold    string // why nothing is signed now
	session *ca.Session
	heard   map[string]ca.Heard
}

func (c *counter) close() {
	if c.session != nil {
		c.session.Close()
		c.session = nil
	}
}

func (c *counter) authority() ca.Observed {
	if c.session != nil {
		return c.session.Observed()
	}
	return c.obs.CA
}

// reply works out the answer for one request.
func (c *counter) reply(sub issuer.Submission) issuer.Reply {
	k := c.k
	refuse := func(err error) issuer.Reply {
		k.log(Warn, "request refused", "reason", string(plan.InboxRequest), "host", fmt.Sprintf("%.80q", sub.Name), "error", ca.Refusal(err.Error()))
		return issuer.Reply{Status: issuer.Refused, Reason: ca.Refusal(err.Error())}
	}
	m := ca.Find(c.authority().Members, sub.Name)
	if m == nil {
		return refuse(ca.ErrNotEnrolled)
	}
	if sub.Err != nil {
		return refuse(issuer.ErrMessage)
	}
	req, err := issuer.ParseRequest(sub.Data)
	if err != nil {
		return refuse(err)
	}
	h := c.heard[m.Name]
	h.At, h.Trusts = k.o.Now(), req.Trusts
	c.heard[m.Name] = h
	r := issuer.Reply{Status: issuer.Trust}
	if req.CSR != nil {
		cert, again, err := c.sign(m, req)
		switch {
		case errors.Is(err, ca.ErrRefused) || errors.Is(err, pki.ErrRequest):
			return refuse(err)
		case err != nil:
			k.log(Fail, "request failed", "reason", string(plan.InboxRequest), "host", m.Name, "error", err.Error())
			return issuer.Reply{Status: issuer.Failed, Reason: outward(err)}
		}
		r.Leaf, r.Status = cert, issuer.Signed
		if again {
			r.Status = issuer.Again
		} else {
			h.Signed++
			c.heard[m.Name] = h
		}
		k.log(Info, "certificate for an enrolled host", "host", m.Name, "status", r.Status, "serial", serial(cert), "ends", cert.NotAfter.UTC().Format("2006-01-02"))
	}
	o := c.authority()
	if o.Partial() { // the host would drop a generation that lives
		k.log(Fail, "request failed", "reason", string(plan.InboxRequest), "host", m.Name, "error", "a generation of the CA could not be read")
		return issuer.Reply{Status: issuer.Failed, Reason: outward(nil)}
	}
	r.CAs, r.Cross, r.CRLs = ca.Bundle(o, k.o.Now()), crosses(o), nil
	for _, l := range o.CRL.Lists {
		if l.List != nil {
			r.CRLs = append(r.CRLs, l.Raw)
		}
	}
	return r
}

// errHold is why nothing is signed now, for members too.
type errHold string

func (e errHold) Error() string { return string(e) }

// outward is what a member may know of a failure here.
func outward(err error) string {
	var hold errHold
	switch {
	case errors.As(err, &hold):
		return hold.Error()
	case errors.Is(err, ca.ErrLocked):
		return "the CA's key has a passphrase, and nobody is there to type it"
	case errors.Is(err, ca.ErrEnded):
		return "the CA has expired"
	}
	return "the CA cannot sign now; its own log says why"
}

func (c *counter) sign(m *ca.Member, req issuer.Request) (*x509.Certificate, bool, error) {
	r, err := pki.ReadRequest(req.CSR)
	if err != nil {
		return nil, false, err
	}
	if c.hold != "" {
		return nil, false, errHold(c.hold)
	}
	if c.session == nil {
		if c.session, err = ca.Open(c.ctx, c.k.o.Disk, c.k.caOptions(c.obs)); err != nil {
			return nil, false, err
		}
	}
	ask := ca.Ask{Request: r, Name: m.Name, Allowed: m.AltNames, Days: c.k.cfg.Validity.Days, Holds: req.Renew, Signed: c.heard[m.Name].Signed}
	return c.session.Sign(ask, c.k.o.Rand, c.k.o.Now())
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
