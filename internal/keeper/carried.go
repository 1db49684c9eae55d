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

// carriedLasts is how long a new key waits for a certificate that a person brings. The key is removed after that.
const carriedLasts = 30 * 24 * time.Hour

// Request returns a certificate request for this host in PEM. It is for the installed key of a pair or, with rekey, for
// a new key that waits in the staging area.
func (k *Keeper) Request(ctx context.Context, p certdir.Pair, rekey bool) ([]byte, error) {
	if err := plan.Requestable(k.cfg, p); err != nil {
		return nil, err
	}
	obs := k.observer.observe(ctx)
	name, _ := plan.HostName(k.cfg, obs.Host)
	if name == "" {
		return nil, errors.New("this host has no name that a certificate can be for: set a host name with a domain, " +
			"or host.name in mailcertd.yaml")
	}
	if is := obs.Certs.Pair(p).Key; p != certdir.Host && (is.Node.Kind == durable.Missing || is.IsPlaceholder()) {
		rekey = true // ensure makes no key for this pair without an issuer
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

// stageKey makes a new key in the staging area, unless one waits there already.
func (k *Keeper) stageKey(ctx context.Context, p certdir.Pair, t pki.KeyType) error {
	lock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	set := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	key, err := k.pairKey(p, true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoKey) {
		return err // the staged key exists, and a request for it may have been sent already
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
	after.SetPair(p.Name, plan.Requested(after.Pair(p.Name), key.Public(), k.o.Now(), carriedLasts))
	// Without this note the next ensure would delete the key as unused.
	if err := k.state.remember(before, after); err != nil {
		return fmt.Errorf("no request was made, because its key cannot be stored: %w", err)
	}
	return nil
}

// Incoming is a file that a person wants to install.
type Incoming struct {
	Data []byte
	Path string // the name of the file for messages; "" means that it is not known
	// Passphrase asks a person for the passphrase of an encrypted key; nil means that nobody can be asked.
	Passphrase parcel.Passphrase
	Pair       certdir.Pair // the pair that it becomes; the zero value means that its key decides
	Force      bool         // Install it although its name, dates or chain are wrong
	DryRun     bool         // check the file and install nothing
}

// InstallFile installs a certificate that a person has brought, with its key or for the key that is installed, and
// tells sendmail. It uses the same transaction as a renewal. Where the CA is on another host, a file that contains only
// CA certificates accepts them. Besides the result it returns notes for the person.
func (k *Keeper) InstallFile(ctx context.Context, in Incoming) (Result, []string, error) {
	p, err := parcel.Read(in.Data, in.Path, in.Passphrase)
	if err != nil {
		return Result{}, nil, err
	}
	unlock := func() {}
	if !in.DryRun { // lock makes the certs directory if it is missing, because the lock is held on the directory
		k.lookIfGoverned(ctx)
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

// installed says whether leaf was the certificate of a pair in obs.
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
	t, err := plan.Take(k.cfg, obs, c, in.Pair, in.Force, k.o.Now())
	if err != nil {
		return t.Notes, err
	}
	if t.Accept != nil && !in.DryRun {
		if err := k.candidates.acceptBrought(t.Accept); err != nil {
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
	if in.DryRun {
		return t.Notes, k.installer.try(obs, &t.Change)
	}
	st := obs.State.Clone()
	if t.Pair == certdir.Host {
		st.Carried = state.Seen{Digest: pki.Fingerprint(p.Leaf), Since: k.o.Now().UTC().Truncate(time.Second)}
	}
	if len(t.Change.Files) == 0 { // the given certificate is the one that is installed
		k.state.remember(obs.State, st)
		return t.Notes, nil
	}
	err = k.installer.install(obs, &st, plan.Action{Kind: plan.Install, Reason: plan.Installed, Path: k.cfg.Certs.Dir,
		Text: plan.ToInstall.With("the given certificate"), Change: &t.Change}, k.o.Now())
	return t.Notes, err
}
