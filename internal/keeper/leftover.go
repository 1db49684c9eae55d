package keeper

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// observeLeftovers looks for files in the state directory, the backups and the CA directory that nothing uses:
// temporary files of interrupted writes, copies of files that could not be parsed, incomplete backups. Packages ca and
// inbox look for their own temporary files.
func (ob *observer) observeLeftovers(obs *plan.Observed) {
	in := func(dir string, see func(name string, n durable.Node)) {
		names, err := durable.Names(dir, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			obs.LeftoversErr = errors.Join(obs.LeftoversErr, err)
		}
		for _, name := range names {
			if _, temporary := durable.TempOf(name); !temporary && !strings.Contains(name, ".bad-") {
				continue
			}
			switch n := durable.Look(filepath.Join(dir, name)); n.Kind {
			case durable.Unknown:
				obs.LeftoversErr = errors.Join(obs.LeftoversErr, n.Err)
			// mailcertd makes only regular files with such names; anything else belongs to somebody else.
			case durable.File:
				see(name, n)
			}
		}
	}
	add := func(l plan.Leftover) { obs.Leftovers = append(obs.Leftovers, l) }
	// guarded is what only the holder of the lock writes. If this process holds it, nobody is writing that now.
	guarded := func(l plan.Leftover, n durable.Node) {
		if !ob.locked {
			l.Since = n.Changed
		}
		add(l)
	}
	in(ob.cfg.State.Dir, func(name string, n durable.Node) {
		switch base, temporary := durable.TempOf(name); {
		case temporary && base == state.FileName:
			guarded(plan.Leftover{Kind: plan.Unwritten, Path: n.Path}, n)
		case state.Aside(name):
			add(plan.Leftover{Kind: plan.StateAside, Path: n.Path, Since: n.Changed})
		}
	})
	in(ob.statePath(candidatesDir), func(name string, n durable.Node) {
		if base, _ := durable.TempOf(name); slices.Contains(candidateNames(), base) {
			add(plan.Leftover{Kind: plan.Unwritten, Path: n.Path, Since: n.Changed})
		}
	})
	in(ob.statePath(acmeDir), func(name string, n durable.Node) {
		if _, temporary := durable.TempOf(name); temporary {
			add(plan.Leftover{Kind: plan.Unwritten, Path: n.Path, Since: n.Changed})
		}
	})
	if plan.Obtains(ob.cfg, config.IssuerLocal) && obs.CA.Err == nil {
		in(ob.cfg.CA.Dir, func(name string, n durable.Node) {
			if ca.Aside(name) {
				add(plan.Leftover{Kind: plan.DatabaseAside, Path: n.Path, Since: n.Changed})
			}
		})
	}
	if n := durable.Look(ca.Beside(ob.cfg.CA.Dir)); n.Kind == durable.Directory {
		guarded(plan.Leftover{Kind: plan.UnmadeCA, Path: n.Path}, n)
	} else if n.Kind == durable.Unknown {
		obs.LeftoversErr = errors.Join(obs.LeftoversErr, n.Err)
	}
	backups := ob.backups()
	cut, err := backups.Unfinished()
	obs.LeftoversErr = errors.Join(obs.LeftoversErr, err)
	for _, id := range cut {
		path := backups.UnfinishedPath(id)
		guarded(plan.Leftover{Kind: plan.Unwritten, Path: path, ID: id}, durable.Look(path))
	}
	for _, g := range obs.Backups {
		dir := backups.Path(g.ID)
		if g.Damaged {
			parts, err := backups.Content(g.ID)
			add(plan.Leftover{Kind: plan.DamagedBackup, Path: dir, ID: g.ID, Parts: parts, Err: err})
			continue
		}
		in(dir, func(name string, n durable.Node) {
			if durable.TempOfManifest(name) {
				guarded(plan.Leftover{Kind: plan.Unwritten, Path: n.Path}, n)
			}
		})
	}
}

// clear removes one leftover.
func (ap *applier) clear(ctx context.Context, act plan.Action) error {
	backups := ap.backups()
	switch {
	case act.ID != "" && act.Reason == plan.BackupDamaged:
		return backups.RemoveDamaged(act.ID, act.Parts)
	case act.ID != "":
		return backups.RemoveUnfinished(act.ID)
	case act.Path == ca.Beside(ap.cfg.CA.Dir):
		return ca.RemoveBeside(ctx, ap.o.Disk, ap.cfg.CA.Dir)
	}
	if err := ap.o.Disk.Remove(act.Path); err != nil {
		return err
	}
	return ap.o.Disk.SyncDir(filepath.Dir(act.Path))
}
