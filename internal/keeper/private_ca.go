package keeper

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// maxSecret is the largest size of the passphrase file in bytes.
const maxSecret = 4096

// unlocked remembers whether a passphrase opened a key, because deriving a key from a passphrase is slow on purpose.
// what is the digest of both, err the result.
type unlocked struct {
	what [32]byte
	err  error
}

// PrivateCA is the CA of this host: its directory, its database, and the passphrase of its key. It has no lock: the
// loop that owns the Keeper owns it too.
type PrivateCA struct {
	*base
	// database keeps the answers from index.txt as long as that file does not change.
	database ca.Memory
	// passphrase was typed by a person; nil means that only the configured file is used.
	passphrase []byte
	unlocked   unlocked
}

// SetPassphrase sets the passphrase of the CA's key to one that a person has typed. It keeps a copy.
func (pc *PrivateCA) SetPassphrase(secret []byte) { pc.passphrase = bytes.Clone(secret) }

// Unlocks returns nil if secret opens the CA's key, and an error that wraps pki.ErrPassphrase if it does not.
func (pc *PrivateCA) Unlocks(secret []byte) error { return ca.Unlocks(pc.cfg.CA.Dir, secret) }

// Observe reads only this host's CA, which is all that signing and listing need and is much faster than a full look.
// asking names the hosts for which certificates will be signed.
func (pc *PrivateCA) Observe(asking ...string) plan.Observed {
	obs := plan.Observed{CA: pc.database.Observe(pc.cfg.CA.Dir, ca.Filter{Asking: asking})}
	pc.observePassphrase(&obs)
	obs.State, obs.Loaded = state.Load(pc.cfg.State.Dir)
	obs.Build = pc.o.Build
	return obs
}

func (pc *PrivateCA) observePassphrase(obs *plan.Observed) {
	p := &obs.Passphrase
	p.Path = pc.cfg.CA.PassphraseFile
	if !obs.CA.KeyInfo.Encrypted || pc.passphrase == nil && p.Path == "" {
		return
	}
	secret, err := pc.readSecret()
	if err != nil {
		p.Problem = err.Error()
		return
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %d\n", obs.CA.Key.Dev, obs.CA.Key.Ino, obs.CA.Key.Changed.UnixNano(), len(secret))
	h.Write(secret)
	what := [32]byte(h.Sum(nil))
	if pc.unlocked.what != what {
		pc.unlocked = unlocked{what, ca.Unlocks(pc.cfg.CA.Dir, secret)}
	}
	if err := pc.unlocked.err; errors.Is(err, pki.ErrPassphrase) {
		p.Problem = "the passphrase in it does not open " + obs.CA.Key.Path + ": correct its first line"
		return
	} else if err != nil {
		p.Problem = "does not open the CA's key: " + err.Error()
		return
	}
	p.Ready = true
}

// secret returns the passphrase of the CA's key; nil means that the key has none or that it is not known.
func (pc *PrivateCA) secret(obs plan.Observed) []byte {
	if pc.passphrase != nil && (obs.CA.Status == ca.Absent || obs.CA.KeyInfo.Encrypted) {
		return pc.passphrase
	}
	if !obs.CA.KeyInfo.Encrypted || !obs.Passphrase.Ready {
		return nil
	}
	secret, err := pc.readSecret()
	if err != nil {
		return nil
	}
	return secret
}

// ConfiguredPassphrase returns the passphrase in ca.passphrase_file; nil means that no file is configured.
func (pc *PrivateCA) ConfiguredPassphrase() ([]byte, error) {
	if pc.cfg.CA.PassphraseFile == "" {
		return nil, nil
	}
	return pc.readSecret()
}

// readSecret returns the passphrase that a person has typed, else the first line of ca.passphrase_file.
func (pc *PrivateCA) readSecret() ([]byte, error) {
	if pc.passphrase != nil {
		return pc.passphrase, nil
	}
	path := pc.cfg.CA.PassphraseFile
	n := durable.Read(path, maxSecret)
	switch {
	case n.Err != nil:
		return nil, fmt.Errorf("cannot be read: %w", n.Err)
	case !n.Exists:
		return nil, fmt.Errorf("cannot be read: %w", fs.ErrNotExist)
	case n.Mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("is refused: its mode is %04o, and others must not be able to read it (chmod 0600 %s)",
			n.Mode.Perm(), path)
	case n.UID != 0 && n.UID != pc.o.UID:
		return nil, fmt.Errorf("is refused: it belongs to the user %d, not to root", n.UID)
	}
	line, _, _ := bytes.Cut(n.Data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, errors.New("its first line is empty")
	}
	return line, nil
}

// Options returns the options for operations of package ca, with the passphrase.
func (pc *PrivateCA) Options(obs plan.Observed) ca.Options {
	name, _ := plan.HostName(pc.cfg, obs.Host)
	s := pc.cfg.CA.Subject
	return ca.Options{
		Dir: pc.cfg.CA.Dir, Key: pc.cfg.CA.Key, Days: pc.cfg.CA.Days, Host: name,
		Subject: ca.Subject{Country: s.Country, State: s.State, Locality: s.Locality, Organization: s.Organization,
			OrganizationalUnit: s.OrganizationalUnit, CommonName: s.CommonName},
		PermittedDomains: pc.cfg.CA.PermittedDomains, CRLDays: pc.cfg.CRL.Days,
		Passphrase: pc.secret(obs), Memory: &pc.database,
	}
}
