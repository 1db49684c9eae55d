package keeper

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// ErrNoGeneration says that the archive holds nothing of that name, or
// nothing at all.
var ErrNoGeneration = errors.New("no such archived generation")

// Archive lists the archived generations, newest first.
func (k *Keeper) Archive() ([]durable.Generation, error) {
	return durable.OpenArchive(k.o.Disk, k.archiveDir()).List()
}

// Restore brings an archived set back: "" is the newest. What lies there now
// is archived first; sendmail's rules are asked before anything changes; the
// restored certificate is then kept until its renewal is due.
func (k *Keeper) Restore(ctx context.Context, id string) (Result, error) {
	lock, err := k.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	obs := k.observe(ctx)
	err = k.restore(ctx, obs, id)
	lock.Unlock()
	if err != nil {
		return Result{Observed: obs}, err
	}
	return k.Settle(ctx, plan.Wish{Once: true})
}

func (k *Keeper) restore(ctx context.Context, obs plan.Observed, id string) error {
	if err := unseen(obs); err != nil {
		return err
	}
	ar := durable.OpenArchive(k.o.Disk, k.archiveDir())
	if id == "" {
		gens, err := ar.List()
		if err != nil {
			return err
		}
		for _, g := range gens {
			if !g.Damaged && holdsCert(g) {
				id = g.ID
				break
			}
		}
		if id == "" {
			return fmt.Errorf("%s: %w", k.archiveDir(), ErrNoGeneration)
		}
	}
	_, items, err := ar.Load(id)
	if err != nil {
		return err
	}
	c := &plan.Change{Pickup: true}
	for _, it := range items {
		if it.LinkTo != "" || len(it.Data) == 0 {
			continue
		}
		mode := it.Mode
		if it.Name == certdir.KeyName {
			mode = 0o600
		}
		switch it.Name {
		case certdir.KeyName, certdir.CertName, certdir.CAName, certdir.DHName:
			c.Files = append(c.Files, plan.File{Name: it.Name, Mode: mode, Data: it.Data, Reason: plan.Held})
		}
	}
	if len(c.Files) == 0 {
		return fmt.Errorf("generation %s holds none of the files that sendmail reads: %w", id, ErrNoGeneration)
	}
	after := obs.Certs
	for _, f := range c.Files {
		switch f.Name {
		case certdir.KeyName:
			after.Key.Key = pki.ReadKeyFile(f.Data)
		case certdir.CertName:
			after.Cert.File = pki.ReadLeafFile(f.Data)
		}
	}
	if cs := after.Cert.File.Certs; len(cs) == 0 || after.Key.Key.Public == nil || !pki.SamePublicKey(cs[0].PublicKey, after.Key.Key.Public) {
		return fmt.Errorf("the certificate of generation %s does not belong to the key that would be there: its own key is not archived any more", id)
	}
	k.copiesFor(obs, c)
	st := obs.State.Clone()
	st.Hold = plan.LeafID(after.Cert.File.Certs[0])
	return k.install(ctx, obs, &st, plan.Action{Kind: plan.Install, Reason: plan.Held, Path: k.cfg.Certs.Dir, Text: "restore generation " + id, Change: c})
}

func holdsCert(g durable.Generation) bool {
	for _, f := range g.Files {
		if f.Name == certdir.CertName {
			return true
		}
	}
	return false
}

// unseen is why a person's file must not be installed now: what it would replace,
// or what it is judged by, could not be looked at, or another change comes first.
func unseen(obs plan.Observed) error {
	if obs.Pending.Journal {
		return durable.ErrUnfinished
	}
	d := obs.Certs
	for _, err := range []error{d.Err, d.Node.Err, obs.StagedErr, d.TrustNode.Err} {
		if err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	for _, n := range []durable.Node{d.Key.Node, d.Cert.Node, d.CA.Node, d.DH.Node} {
		if n.Unread() {
			return fmt.Errorf("nothing was changed: %w", n.Err)
		}
	}
	if obs.Loaded.Unread {
		return fmt.Errorf("nothing was changed: %w", obs.Loaded.Problem)
	}
	return nil
}

// copiesFor notes a copy of everything that a restoration replaces.
func (k *Keeper) copiesFor(obs plan.Observed, c *plan.Change) {
	nodes := map[string]durable.Node{certdir.KeyName: obs.Certs.Key.Node, certdir.CertName: obs.Certs.Cert.Node,
		certdir.CAName: obs.Certs.CA.Node, certdir.DHName: obs.Certs.DH.Node}
	sums := map[string][32]byte{certdir.KeyName: obs.Certs.Key.Digest, certdir.CertName: obs.Certs.Cert.Digest,
		certdir.CAName: obs.Certs.CA.Digest, certdir.DHName: obs.Certs.DH.Digest}
	for _, f := range c.Files {
		n := nodes[f.Name]
		if n.Kind == durable.Missing || n.Kind == durable.File && n.Size == 0 {
			continue
		}
		_, ours := obs.State.Ours[plan.FileID(sums[f.Name])]
		c.Archive = append(c.Archive, plan.Archived{Name: f.Name, Foreign: !ours || n.Kind == durable.Link, Secret: f.Name == certdir.KeyName})
	}
}

// ChooseGroup remembers a group for dh.param that holds until the
// configuration says another.
func (k *Keeper) ChooseGroup(ctx context.Context, group string) {
	k.change(ctx, func(s *state.State) { s.DH = state.DHChoice{Group: group, Config: k.cfg.DH} })
}

// Path is the path of a file in the certs directory.
func (k *Keeper) Path(name string) string { return filepath.Join(k.cfg.Certs.Dir, name) }
