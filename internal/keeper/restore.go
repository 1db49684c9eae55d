package keeper

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pickup"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// ErrNoBackup says that there is no backup of a certificate, or that the named backup contains none of the
// set's files.
var ErrNoBackup = errors.New("there are no backups of a certificate yet")

// Backups lists the backups, newest first.
func (k *Keeper) Backups() ([]durable.Backup, error) {
	return k.backups().List()
}

// Restore installs a backup; an empty id means the newest one with a certificate. Before that, sendmail's rules are
// applied to it, and the present files are backed up. The restored certificate is then kept until its renewal is due. A
// key that TLSA records speak against is restored only with force.
func (k *Keeper) Restore(ctx context.Context, id string, force bool) (Result, error) {
	k.lookIfGoverned(ctx)
	lock, err := k.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	begun := k.o.Now()
	obs := k.observer.observe(ctx)
	w, err := k.restoration(obs, id, force)
	if err == nil {
		err = k.installer.install(obs, &w.state, w.action(k.cfg.Certs.Dir), begun)
	}
	lock.Unlock()
	if err != nil {
		return Result{View: pickup.View{Observed: obs}}, err
	}
	r, err := k.Settle(ctx, plan.Wish{Once: true})
	if r.Plan.Facts.Set != plan.SetID(obs.Certs) {
		k.pickup.SeenByDaemon(&r.View, begun)
	}
	return r, err
}

// restoration is a backup that can be restored.
type restoration struct {
	id        string
	obs       plan.Observed
	change    *plan.Change
	state     state.State // after it
	overruled []string    // what spoke against it, and force has overruled
}

// action is what installs it.
func (w restoration) action(certs string) plan.Action {
	return plan.Action{Kind: plan.Install, Reason: plan.Held, Path: certs,
		Text: plan.ToRestore.With("backup " + w.id), Change: w.change}
}

// restoration finds the backup, and checks that it can be restored. It changes nothing.
func (k *Keeper) restoration(obs plan.Observed, id string, force bool) (w restoration, err error) {
	if err := unseen(obs); err != nil {
		return w, err
	}
	ar := k.backups()
	if id == "" {
		gens, err := ar.List()
		if err != nil {
			return w, err
		}
		for _, g := range gens {
			if g.Err != nil { // it may be the newest one
				return w, fmt.Errorf(
					"nothing was changed, because mailcertd does not know which backup is the newest: %w; name one "+
						"of those that `mailcertd restore --list` shows", g.Err)
			}
			if !g.Damaged && holdsCert(g) {
				id = g.ID
				break
			}
		}
		if id == "" {
			return w, fmt.Errorf("%w in %s", ErrNoBackup, k.backupsDir())
		}
	}
	_, items, err := ar.Load(id)
	if err != nil {
		return w, err
	}
	c := &plan.Change{Pickup: true}
	for _, it := range items {
		if it.LinkTo != "" || len(it.Data) == 0 {
			continue
		}
		mode := it.Mode
		of, ofSet := certdir.FileOf(it.Name)
		if of.Kind == certdir.KindKey {
			mode = 0o600
		}
		if ofSet && of.Kind != certdir.KindCRL { // the CRL is not restored, because the CA can make a newer one
			c.Files = append(c.Files, plan.File{Name: it.Name, Mode: mode, Data: it.Data, Reason: plan.Held})
		}
	}
	if len(c.Files) == 0 {
		return w, fmt.Errorf("backup %s contains none of the files that sendmail reads: %w", id, ErrNoBackup)
	}
	after := obs.Certs
	for _, f := range c.Files {
		after.Put(f.Name, durable.Node{Exists: true, IsRegular: true, Data: f.Data})
	}
	c.Files = append(ownKeys(ar, &after, c.Files), c.Files...)
	st := obs.State.Clone()
	holds := func(p certdir.Pair) bool {
		return slices.ContainsFunc(c.Files, func(f plan.File) bool {
			return f.Name == p.KeyFile || f.Name == p.CertFile
		})
	}
	for _, p := range certdir.Pairs() {
		e := after.Pair(p)
		if !holds(p) && (p != certdir.Host || slices.ContainsFunc(certdir.Pairs(), holds)) {
			continue // a backup without a key or certificate contains CA certificates; they belong to host.cert
		}
		if !belongs(e) {
			return w, fmt.Errorf(
				"the certificate in %s of backup %s does not belong to the key that would be used with it, and no "+
					"backup that can be read contains its own key", p.CertFile, id)
		}
		err := plan.TLSAObjection(k.cfg, obs, e.Key.Key.Public, p, k.o.Now())
		switch {
		case err != nil && !force:
			return w, fmt.Errorf("backup %s is not restored: %w (to restore it anyway, use --force)", id, err)
		case err != nil:
			w.overruled = append(w.overruled, err.Error())
		}
		held := st.Pair(p.Name)
		held.Hold = pki.Fingerprint(e.Cert.File.Certs[0])
		st.SetPair(p.Name, held)
	}
	c.Copies = append(c.Copies, plan.CopiesFor(obs, c.Files)...)
	w.id, w.obs, w.change, w.state = id, obs, c, st
	return w, nil
}

// ownKeys finds the keys of restored certificates in other backups, and adds them to the set that is tried. This is
// needed because a renewal that keeps the key backs up only the certificate. The key is in the backup of the later
// renewal that replaced the key.
func ownKeys(ar *durable.Backups, after *certdir.Dir, restored []plan.File) (keys []plan.File) {
	for _, p := range certdir.Pairs() {
		has := func(name string) bool {
			return slices.ContainsFunc(restored, func(f plan.File) bool { return f.Name == name })
		}
		e := after.Pair(p)
		if !has(p.CertFile) || has(p.KeyFile) || len(e.Cert.File.Certs) == 0 || belongs(e) {
			continue
		}
		if data := keyOf(ar, p.KeyFile, e.Cert.File.Certs[0].PublicKey); data != nil {
			keys = append(keys, plan.File{Name: p.KeyFile, Mode: 0o600, Data: data, Reason: plan.Held})
			after.Put(p.KeyFile, durable.Node{Exists: true, IsRegular: true, Data: data})
		}
	}
	return keys
}

// keyOf returns the private key that belongs to public from the newest backup that contains it under that name; nil
// means that none does. Backups that cannot be read are skipped, and the caller reports that no key was found.
func keyOf(ar *durable.Backups, name string, public crypto.PublicKey) []byte {
	all, err := ar.List()
	if err != nil {
		return nil
	}
	for _, g := range all {
		if g.Err != nil || g.Damaged || !slices.ContainsFunc(g.Files, func(f durable.Saved) bool {
			return f.Name == name && !f.Deleted
		}) {
			continue
		}
		_, items, err := ar.Load(g.ID)
		if err != nil {
			continue
		}
		for _, it := range items {
			if it.Name != name || it.LinkTo != "" {
				continue
			}
			if k := pki.ReadKeyFile(it.Data); k.Public != nil && pki.SamePublicKey(public, k.Public) {
				return it.Data
			}
		}
	}
	return nil
}

func holdsCert(g durable.Backup) bool {
	return slices.ContainsFunc(g.Files, func(f durable.Saved) bool {
		of, _ := certdir.FileOf(f.Name)
		return of.Kind == certdir.KindCert
	})
}

// unseen returns why a person's file must not be installed now: the files that it would replace or that are needed to
// judge it could not be read, or an interrupted change must be finished first. nil means that nothing prevents it.
func unseen(obs plan.Observed) error {
	if obs.Pending.Journal {
		return durable.ErrUnfinished
	}
	d := obs.Certs
	for _, err := range []error{d.Err, d.Node.Err, obs.Staged[certdir.Host.Name].Err, d.TrustNode.Err,
		obs.AcceptedErr} {
		if err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	nodes := setNodes(d)
	for _, t := range d.Trust {
		nodes = append(nodes, t.Node)
	}
	for _, n := range nodes {
		if n.Unread() {
			return fmt.Errorf("nothing was changed: %w", n.Err)
		}
	}
	if obs.Loaded.Unread {
		return fmt.Errorf("nothing was changed: %w", obs.Loaded.Problem)
	}
	return nil
}

// setNodes returns the files of the set except the CRL, which can be made again at any time.
func setNodes(d certdir.Dir) []durable.Node {
	var out []durable.Node
	for _, f := range certdir.Files() {
		if n, _ := d.File(f.Name); f.Kind != certdir.KindCRL {
			out = append(out, n)
		}
	}
	return out
}
