package keeper

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/dane"
	"mailcertd/internal/durable"
	"mailcertd/internal/inbox"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// PurgeList lists what Purge would remove and what it would leave. Files that mailcertd did not make stay, and so do
// their backups.
func (k *Keeper) PurgeList(ctx context.Context) ([]Purged, error) {
	obs := k.observer.observe(ctx)
	if obs.Loaded.Unread { // without the state it is not known which files are ours
		return nil, fmt.Errorf("nothing was removed: %w", obs.Loaded.Problem)
	}
	for _, err := range []error{obs.Certs.Err, obs.BackupsErr, obs.CA.Err, obs.Certs.TrustNode.Err, obs.Certs.CRLErr,
		obs.Staged[certdir.Host.Name].Err} {
		if err != nil {
			return nil, fmt.Errorf("nothing was removed: %w", err)
		}
	}
	for _, n := range append(setNodes(obs.Certs), obs.Certs.Node, obs.CA.Key, obs.StateDir) {
		if n.Unread() {
			return nil, n.Err
		}
	}
	for _, g := range obs.Backups {
		if g.Err != nil {
			return nil, g.Err
		}
	}
	p := plan.Make(k.cfg, obs, plan.Wish{}, k.o.Now())
	var out []Purged
	add := func(n durable.Node, ours bool) {
		switch {
		case n.Kind == durable.Missing:
		case ours:
			out = append(out, Purged{Path: n.Path})
		default:
			out = append(out, Purged{Path: n.Path, Kept: notOurs})
		}
	}
	known := func(sum [32]byte) bool { _, ok := obs.State.Ours[plan.FileID(sum)]; return ok }
	d := obs.Certs
	mine := map[certdir.Pair]bool{}
	for _, one := range p.Facts.Pairs {
		mine[one.Pair] = one.Owner == plan.Ours || one.Owner == plan.Interim
	}
	for _, l := range d.Links {
		if l.Local {
			out = append(out, Purged{Path: l.Node.Path})
		}
	}
	for _, f := range slices.Backward(certdir.Files()) {
		n, sum := d.File(f.Name)
		if cert, _ := d.File(f.Pair.CertFile); f.Kind == certdir.KindKey && known(sum) && cert.Exists &&
			!mine[f.Pair] && !known(d.Pair(f.Pair).Cert.Digest) && belongs(d.Pair(f.Pair)) {
			// A bought certificate is lost without its key, although mailcertd made the key for its request.
			out = append(out, Purged{Path: n.Path, Kept: "it is the key of " + cert.Path + ", which stays"})
			continue
		}
		add(n, known(sum) || f.Kind == certdir.KindCert && mine[f.Pair])
	}
	for name, target := range d.CRLLinks {
		if target == certdir.CRLName && known(d.CRL.Digest) {
			out = append(out, Purged{Path: filepath.Join(d.Path, name)})
		}
	}
	for _, e := range d.Trust {
		add(e.Node, known(e.Digest) || plan.OwnTrust(e))
	}
	var failed error
	below := func(dir string, owns func(rel string, dir bool) bool) {
		parts, err := remnant(dir, owns)
		out, failed = append(out, parts...), errors.Join(failed, err)
	}
	if n := durable.Look(filepath.Join(d.Path, certdir.StagingDir)); n.Err != nil {
		return nil, n.Err
	} else if n.Kind == durable.Directory {
		below(n.Path, func(string, bool) bool { return true })
	}
	if n := durable.Look(k.cfg.CA.Dir); n.Kind != durable.Missing {
		made, err := ca.MadeHere(k.cfg.CA.Dir)
		if err == nil && !made { // an interrupted purge removes the mark before the directory
			names, nerr := durable.NamesNoFollow(k.cfg.CA.Dir, 1)
			made = nerr == nil && len(names) == 0
		}
		if err = errors.Join(n.Err, err); err != nil {
			return nil, err
		}
		switch {
		case n.Kind == durable.Link:
			out = append(out, Purged{Path: n.Path, Kept: "it is a link"})
		case n.Kind == durable.Directory && made:
			below(n.Path, ca.Owns)
		default:
			out = append(out, Purged{Path: n.Path, Kept: "the CA was made by hand"})
		}
	}
	if n := durable.Look(ca.Beside(k.cfg.CA.Dir)); n.Kind == durable.Directory {
		below(n.Path, ca.Owns)
	}
	made, err := inbox.Made(k.cfg.CA.Inbox)
	if err != nil {
		return nil, err
	}
	if made {
		below(k.cfg.CA.Inbox, inbox.Owns)
	}
	copies := map[string]bool{} // the backups that may be removed
	for _, g := range obs.Backups {
		if copies[g.ID] = !g.Foreign && !g.Damaged; !copies[g.ID] {
			out = append(out, Purged{Path: k.backups().Path(g.ID),
				Kept: "it contains backups of files that mailcertd did not make"})
		}
	}
	if n := durable.Look(k.cfg.State.Dir); n.Err != nil {
		return nil, n.Err
	} else if n.Kind == durable.Directory {
		below(n.Path, func(rel string, isDir bool) bool {
			dir, rest, within := strings.Cut(rel, "/")
			switch {
			case isDir && !within:
				return isBackups(dir) || dir == candidatesDir || dir == acmeDir
			case isBackups(dir):
				id, _, _ := strings.Cut(rest, "/")
				// A file is replaced only after its backup is complete, so an unfinished backup is not the only copy.
				_, unfinished := durable.TempOf(id)
				return isDir || copies[id] || unfinished
			case dir == acmeDir: // only mailcertd writes there
				return !isDir
			case dir == candidatesDir:
				return !isDir && slices.Contains(candidateNames(), tidy(rest))
			}
			return tidy(rel) == state.FileName
		})
	}
	out = append(out, orphans(obs, out)...)
	// The backup as a whole is in the list already, with the reason why it stays.
	return slices.DeleteFunc(out, func(p Purged) bool {
		rel, err := filepath.Rel(k.cfg.State.Dir, filepath.Dir(filepath.Dir(p.Path)))
		return err == nil && p.Kept == notOurs && isBackups(rel)
	}), failed
}

// orphans are the TLSA records that were last seen to name a key that is removed. Only the daemon changes the DNS, and
// a record must go a TTL before its key.
func orphans(obs plan.Observed, list []Purged) (out []Purged) {
	for _, f := range certdir.Files() {
		e := obs.Certs.Pair(f.Pair)
		if f.Kind != certdir.KindKey || !f.Pair.Server() || e.Key.Key.Public == nil {
			continue
		}
		r := dane.RecordOf(pki.KeyFingerprint(e.Key.Key.Public), 0)
		if !slices.ContainsFunc(list, func(p Purged) bool { return p.Path == e.Key.Node.Path && p.Kept == "" }) {
			continue
		}
		for _, n := range obs.State.DANE.Names {
			if slices.ContainsFunc(n.Records(), r.Same) {
				out = append(out, Purged{Path: strings.TrimSuffix(n.Name, ".") + " TLSA " + r.String(),
					Kept: "hosts that check TLSA records deliver no mail to this host while this record is in the " +
						"DNS and its key is gone; first set dane: {publish: none}, remove the record there, and " +
						"wait for its TTL"})
			}
		}
	}
	return out
}

// isBackups says whether a directory in the state directory contains backups.
func isBackups(name string) bool { return name == state.BackupsDir || name == state.FormerBackupsDir }

// belongs says whether the key of a pair is the key of its certificate.
func belongs(e *certdir.PairEntry) bool {
	cs := e.Cert.File.Certs
	return len(cs) > 0 && e.Key.Key.Public != nil && pki.SamePublicKey(cs[0].PublicKey, e.Key.Key.Public)
}

// tidy returns the final name of a temporary file, or the former name of a file that was moved aside because it could
// not be parsed.
func tidy(name string) string {
	if base, temporary := durable.TempOf(name); temporary {
		name = base
	}
	name, _, _ = strings.Cut(name, ".bad-")
	return name
}

// stopFirst is the refusal of Purge while a daemon runs.
const stopFirst = "stop the daemon first (service mailcertd stop)"

// Purge removes everything that mailcertd made, if agree returns nil for the list. It holds the locks of the daemon and
// of the certs directory, so that no other mailcertd changes anything meanwhile.
func (k *Keeper) Purge(ctx context.Context, agree func([]Purged) error) error {
	daemon, err := k.LockDaemon()
	if err != nil {
		return fmt.Errorf(stopFirst+": %w", err)
	}
	if daemon != nil {
		defer daemon.Unlock()
	}
	lock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	list, err := k.PurgeList(ctx)
	if err != nil {
		return err
	}
	if err := agree(list); err != nil {
		return err
	}
	touched := map[string]bool{k.cfg.Certs.Dir: true, k.cfg.State.Dir: true}
	for _, p := range list {
		if p.Kept == "" {
			if err := p.remove(k.o.Disk, touched); err != nil {
				return err
			}
		}
	}
	// The directories themselves are removed only when they are empty. A link in their place was made by a person.
	for _, dir := range []string{k.Path(certdir.TrustDir), k.cfg.Certs.Dir, k.backupsDir(),
		k.statePath(state.FormerBackupsDir), k.cfg.State.Dir} {
		if durable.Look(dir).Kind != durable.Directory {
			continue
		}
		if err := (Purged{Path: dir}).remove(k.o.Disk, touched); err != nil {
			return err
		}
	}
	k.state.memory = nil
	return settle(k.o.Disk, touched)
}
