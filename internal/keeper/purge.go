package keeper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// Purged is one thing that Purge removes, or leaves and why.
type Purged struct {
	Path string
	Kept string // "" when it is removed; else why it stays
}

// PurgeList says what Purge would remove and what it would leave. What
// mailcertd did not make stays, and so do the copies of it.
func (k *Keeper) PurgeList(ctx context.Context) []Purged {
	obs := k.observe(ctx)
	p := plan.Make(k.cfg, obs, plan.Wish{}, k.o.Now())
	var out []Purged
	add := func(n durable.Node, ours bool) {
		switch {
		case n.Kind == durable.Missing:
		case ours:
			out = append(out, Purged{Path: n.Path})
		default:
			out = append(out, Purged{Path: n.Path, Kept: "mailcertd did not make it"})
		}
	}
	known := func(sum [32]byte) bool { _, ok := obs.State.Ours[plan.FileID(sum)]; return ok }
	d := obs.Certs
	mine := p.Facts.Owner == plan.Ours || p.Facts.Owner == plan.Interim
	for _, l := range d.Links {
		if l.Local {
			out = append(out, Purged{Path: l.Node.Path})
		}
	}
	add(d.Cert.Node, mine || known(d.Cert.Digest))
	add(d.Key.Node, known(d.Key.Digest))
	add(d.CA.Node, known(d.CA.Digest))
	add(d.DH.Node, known(d.DH.Digest))
	add(d.CRL.Node, known(d.CRL.Digest))
	for name, target := range d.CRLLinks {
		if target == certdir.CRLName && known(d.CRL.Digest) {
			out = append(out, Purged{Path: filepath.Join(d.Path, name)})
		}
	}
	if n := durable.Look(filepath.Join(k.cfg.CA.Inbox, "in")); n.Kind == durable.Directory {
		out = append(out, Purged{Path: k.cfg.CA.Inbox})
	}
	for _, e := range d.Trust {
		add(e.Node, known(e.Digest) || plan.OwnTrust(e))
	}
	if n := durable.Look(filepath.Join(d.Path, certdir.StagingDir)); n.Kind != durable.Missing {
		out = append(out, Purged{Path: n.Path})
	}
	if n := durable.Look(k.cfg.CA.Dir); n.Kind != durable.Missing {
		switch {
		case n.Kind == durable.Link:
			out = append(out, Purged{Path: n.Path, Kept: "it is a link"})
		case ca.MadeHere(k.cfg.CA.Dir):
			out = append(out, Purged{Path: n.Path})
		default:
			out = append(out, Purged{Path: n.Path, Kept: "the CA was made by hand"})
		}
	}
	foreign := false
	for _, g := range obs.Archive {
		if g.Foreign || g.Damaged {
			foreign = true
			out = append(out, Purged{Path: filepath.Join(k.archiveDir(), g.ID), Kept: "it holds copies of files that mailcertd did not make"})
		}
	}
	if n := durable.Look(k.cfg.State.Dir); n.IsDir && n.Kind != durable.Link {
		if foreign {
			for _, g := range obs.Archive {
				if !g.Foreign && !g.Damaged {
					out = append(out, Purged{Path: filepath.Join(k.archiveDir(), g.ID)})
				}
			}
			out = append(out, Purged{Path: filepath.Join(k.cfg.State.Dir, "state.json")})
		} else {
			out = append(out, Purged{Path: n.Path})
		}
	}
	return out
}

// Purge removes everything mailcertd made. It returns what was removed and
// what was left.
func (k *Keeper) Purge(ctx context.Context) ([]Purged, error) {
	daemon, err := k.LockDaemon()
	if err != nil {
		return nil, fmt.Errorf("stop the daemon first (service mailcertd stop): %w", err)
	}
	if daemon != nil {
		defer daemon.Unlock()
	}
	lock, err := k.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	list := k.PurgeList(ctx)
	for _, p := range list {
		if p.Kept != "" {
			continue
		}
		if err := os.RemoveAll(p.Path); err != nil {
			return list, err
		}
	}
	// The directories themselves go when nothing is left in them.
	for _, dir := range []string{filepath.Join(k.cfg.Certs.Dir, certdir.TrustDir), k.cfg.Certs.Dir, filepath.Join(k.archiveDir()), k.cfg.State.Dir} {
		_ = os.Remove(dir)
	}
	_ = k.o.Disk.SyncDir(filepath.Dir(k.cfg.Certs.Dir))
	k.memory = nil
	return list, nil
}
