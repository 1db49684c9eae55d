package keeper

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/parcel"
	"mailcertd/internal/pickup"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// carriedLasts is how long a new key waits for a certificate that a person
// carries.
const carriedLasts = 30 * 24 * time.Hour

// Request is a certificate request for this host in PEM: over the key of a pair, or over
// a new one that waits in the staging area.
func (k *Keeper) Request(ctx context.Context, p certdir.Pair, rekey bool) ([]byte, error) {
	if err := plan.Requestable(k.cfg, p); err != nil {
		return nil, err
	}
	obs := k.observer.observe(ctx)
	name, _ := plan.HostName(k.cfg, obs.Host)
	if name == "" {
		return nil, errors.New("the host name cannot be certified: set host.name, or the host name")
	}
	if p != certdir.Host && obs.Certs.Pair(p).Key.Node.Kind == durable.Missing {
		rekey = true // ensure makes none without an issuer
	}
	if rekey {
		if err := k.stageKey(ctx, p, plan.RequestedKey(k.cfg, obs, p)); err != nil {
			return nil, err
		}
	}
	key, err := k.pairKey(p, rekey)
	if err != nil {
		return nil, fmt.Errorf("no key to request a certificate for (`mailcertd ensure` makes one): %w", err)
	}
	return pki.CreateRequest(key, name, k.cfg.Host.AltNames, k.o.Rand)
}

// stageKey makes a new key beside the old one, or keeps the one that waits.
func (k *Keeper) stageKey(ctx context.Context, p certdir.Pair, t pki.KeyType) error {
	lock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	set := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	key, err := k.pairKey(p, true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoKey) {
		return err // it is there, and may be waiting for its certificate
	}
	if err != nil {
		if key, err = k.newKey(ctx, t); err != nil {
			return err
		}
		data, err := pki.MarshalKey(key)
		if err != nil {
			return err
		}
		if err := set.Stage(p.KeyFile, data, 0o600); err != nil {
			return err
		}
	}
	before, _ := k.state.loadState()
	after := before.Clone()
	plan.RequestOut(&after, p, key.Public(), k.o.Now(), carriedLasts)
	if err := k.state.remember(before, after); err != nil { // else the next ensure deletes the unused key
		return fmt.Errorf("no request was made, because its key cannot be stored: %w", err)
	}
	return nil
}

// Incoming is a file that a person wants installed.
type Incoming struct {
	Data []byte
	Path string // what it is called, for messages; "" when that is not known
	// Passphrase asks for that of an encrypted key; nil: there is nobody to ask.
	Passphrase parcel.Passphrase
	Force      bool // although its name, dates or chain are wrong
	DryRun     bool // check it alone
}

// InstallFile installs a certificate that a person carried here, with its key
// or over the one that is here, and tells sendmail: the same transaction as
// everything else. With the CA on another host a file of CA certificates alone
// says that they are right.
func (k *Keeper) InstallFile(ctx context.Context, in Incoming) (Result, []string, error) {
	p, err := parcel.Read(in.Data, in.Path, in.Passphrase)
	if err != nil {
		return Result{}, nil, err
	}
	unlock := func() {}
	if !in.DryRun { // the lock makes the certs directory, to have something to hold
		lock, err := k.lock(ctx)
		if err != nil {
			return Result{}, nil, err
		}
		unlock = lock.Unlock
	}
	begun := k.o.Now()
	obs := k.observer.observe(ctx)
	notes, err := k.installParcel(obs, p, in)
	if p.DER {
		notes = append([]string{"the file contains a certificate in DER, which is read like PEM"}, notes...)
	}
	unlock()
	if err != nil || in.DryRun {
		return Result{View: pickup.View{Observed: obs}}, notes, err
	}
	r, err := k.Settle(ctx, plan.Wish{Once: true})
	if r.Plan.Facts.Set != plan.SetID(obs.Certs) {
		k.pickup.SeenByDaemon(&r.View, begun)
	}
	if p.Leaf != nil && !installed(obs, p.Leaf) {
		r.Done = append([]plan.Action{{Kind: plan.Install, Reason: plan.Installed, Path: k.cfg.Certs.Dir,
			Text: plan.ToInstall.With("certificate " + serial(p.Leaf) + " for " +
				strings.Join(plan.CertNames(p.Leaf), ", "))}}, r.Done...)
	} else if err == nil && len(r.Done) == 0 && r.Observed.Certs.CA.Digest != obs.Certs.CA.Digest {
		r.Done = []plan.Action{{Kind: plan.Install, Reason: plan.Installed, Path: r.Observed.Certs.CA.Node.Path,
			Text: plan.ToInstall.With(certdir.CAName)}}
	}
	return r, notes, err
}

// installed says that a certificate was that of a pair.
func installed(obs plan.Observed, leaf *x509.Certificate) bool {
	return slices.ContainsFunc(certdir.Pairs(), func(p certdir.Pair) bool {
		cs := obs.Certs.Pair(p).Cert.File.Certs
		return len(cs) > 0 && cs[0].Equal(leaf)
	})
}

func (k *Keeper) installParcel(obs plan.Observed, p parcel.Parcel, in Incoming) ([]string, error) {
	if err := unseen(obs); err != nil {
		return nil, err
	}
	c := plan.Carried{Leaf: p.Leaf, Middle: p.Middle, Roots: p.Roots}
	if p.Key != nil {
		c.Key = p.Key.Public()
	}
	t, err := plan.Take(k.cfg, obs, c, in.Force, k.o.Now())
	if err != nil || in.DryRun {
		return t.Notes, err
	}
	if t.Accept != nil {
		if err := k.candidates.accept(t.Accept); err != nil {
			return t.Notes, err
		}
	}
	if p.Leaf == nil {
		return t.Notes, nil
	}
	for i := range t.Change.Files {
		if f := &t.Change.Files[i]; f.Source == plan.FromCarried {
			f.Source, f.Data = plan.FromData, p.KeyPEM
		}
	}
	st := obs.State.Clone()
	if t.Pair == certdir.Host {
		st.Carried = state.Seen{Digest: pki.Fingerprint(p.Leaf), Since: k.o.Now().UTC().Truncate(time.Second)}
	}
	if len(t.Change.Files) == 0 { // it is what is here
		k.state.remember(obs.State, st)
		return t.Notes, nil
	}
	err = k.installer.install(obs, &st, plan.Action{Kind: plan.Install, Reason: plan.Installed, Path: k.cfg.Certs.Dir,
		Text: plan.ToInstall.With("the given certificate"), Change: &t.Change}, k.o.Now())
	return t.Notes, err
}
