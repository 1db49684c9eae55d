package keeper

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
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
	obs.Passphrase, obs.Inbox, obs.Account = plan.Passphrase{}, inbox.Box{}, plan.Account{GID: -1}
	obs.Reply, obs.ReplyErr, obs.OtherReplies, obs.Accepted, obs.AcceptedErr = issuer.Reply{}, nil, nil, nil, nil
	if plan.Obtains(k.cfg, config.IssuerSSH) {
		k.observeAnswer(obs)
	}
	if !plan.Obtains(k.cfg, config.IssuerLocal) {
		return
	}
	k.observePassphrase(obs)
	members := len(obs.CA.Members) > 0
	if members || durable.Look(k.cfg.CA.Inbox).IsDir {
		if members && k.cfg.Root == "" {
			obs.Account = account(k.cfg.CA.Account)
		}
		obs.Inbox = inbox.Look(k.cfg.CA.Inbox, obs.Account.GID, k.o.Now())
	}
}

// ObserveCA looks at this host's CA alone: what signing and listing need,
// and soon over. asking are the hosts for which something will be signed.
func (k *Keeper) ObserveCA(asking ...string) plan.Observed {
	obs := plan.Observed{CA: k.database.Observe(k.cfg.CA.Dir, ca.Filter{Asking: asking})}
	k.observePassphrase(&obs)
	obs.State, obs.Loaded = state.Load(k.cfg.State.Dir)
	obs.Build = k.o.Build
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
	if err := k.unlocked.err; errors.Is(err, pki.ErrPassphrase) {
		p.Problem = "the passphrase in it does not open " + obs.CA.Key.Path + ": correct its first line"
		return
	} else if err != nil {
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
		return nil, fmt.Errorf("is refused: its mode is %04o, and others must not be able to read it (chmod 0600 %s)",
			n.Mode.Perm(), path)
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
