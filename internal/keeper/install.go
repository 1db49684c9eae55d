package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// install carries out one transaction, in the durable order: archive copies,
// staging, sendmail's rules over what is staged, the debt, the commit.
func (k *Keeper) install(ctx context.Context, obs plan.Observed, st *state.State, act plan.Action) error {
	c := act.Change
	now := k.o.Now()
	set := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	files, err := k.contents(obs, c, now)
	if err != nil {
		return err
	}
	if err := k.archive(obs, st, c, string(act.Reason), now); err != nil {
		return err
	}
	after, err := k.stage(set, obs, files)
	if err != nil {
		return err
	}
	if slices.Contains(c.Drop, certdir.CRLName) {
		after.CRL = certdir.DHEntry{}
	}
	unstage := func() {
		for _, f := range files {
			if f.Source != plan.FromStaging {
				_ = set.Unstage(f.Name)
			}
		}
	}
	if err := k.acceptable(obs, after); err != nil {
		unstage()
		return err
	}
	for _, f := range files {
		if f.Name != certdir.CertName {
			note(st, f, plan.Lying(obs.Certs), now)
		}
	}
	if c.Pickup {
		k.owe(obs, st, after, now)
	}
	if err := k.rememberBefore(obs.State, *st); err != nil {
		return err
	}
	todo := steps(files, c.Links)
	for _, name := range append(k.stillOwn(c.Remove), c.Drop...) { // after their links
		todo = append(todo, durable.Step{Op: durable.OpRemove, Name: name})
	}
	if err := k.unchanged(obs, files); err != nil {
		unstage()
		return err
	}
	err = set.Commit(todo)
	if err != nil && !errors.Is(err, durable.ErrCommitted) {
		unstage()
		return err
	}
	// A certificate counts as installed only when it is: one that a crash kept
	// out is still there to be used.
	for _, f := range files {
		if f.Name == certdir.CertName {
			note(st, f, plan.Lying(obs.Certs), now)
		}
	}
	k.log(Info, act.Text, k.describe(act, files)...)
	return err
}

// errChanged says that somebody wrote a file while it was about to be replaced. Test with errors.Is.
var errChanged = errors.New("somebody is writing it, so nothing was changed")

// unchanged looks again at what is about to be replaced: it must be what was copied and judged. A mode that was set
// meanwhile, by this plan too, is no change of it.
func (k *Keeper) unchanged(obs plan.Observed, files []staged) error {
	for _, f := range files {
		was, known := obs.Replaced(f.Name)
		if !known {
			continue
		}
		is := durable.Look(filepath.Join(k.cfg.Certs.Dir, f.Name))
		if is.Err != nil {
			return is.Err
		}
		if is.Kind != was.Kind || is.Exists != was.Exists || is.Dev != was.Dev || is.Ino != was.Ino || is.Size != was.Size || !is.Modified.Equal(was.Modified) {
			return fmt.Errorf("%s: %w", is.Path, errChanged)
		}
	}
	return nil
}

// staged is one file of a transaction with its content.
type staged struct {
	plan.File
	data []byte // nil for FromStaging: it lies there
	sum  [32]byte
}

// contents works out what each file will hold.
func (k *Keeper) contents(obs plan.Observed, c *plan.Change, now time.Time) ([]staged, error) {
	var out []staged
	var self []byte
	set := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	for _, f := range c.Files {
		s := staged{File: f, data: f.Data}
		switch f.Source {
		case plan.FromStaging:
			n := set.Staged(f.Name)
			if n.Err != nil {
				return nil, n.Err
			}
			s.sum = sha256.Sum256(n.Data)
			out = append(out, s)
			continue
		case plan.FromStripped:
			n := durable.Read(filepath.Join(k.cfg.Certs.Dir, f.Name), 1<<20)
			if n.Err != nil {
				return nil, n.Err
			}
			s.data = pki.StripCertificates(n.Data)
			if pki.ReadKeyFile(s.data).Err != nil {
				return nil, fmt.Errorf("%s: without its certificates no key would be left", n.Path)
			}
		case plan.FromSelf:
			if self == nil {
				var err error
				if self, err = k.selfSigned(c, now); err != nil {
					return nil, err
				}
			}
			s.data = self
		}
		s.sum = sha256.Sum256(s.data)
		out = append(out, s)
	}
	return out, nil
}

// archive copies what is replaced or removed, before anything is touched.
func (k *Keeper) archive(obs plan.Observed, st *state.State, c *plan.Change, reason string, now time.Time) error {
	if len(c.Archive) == 0 {
		return nil
	}
	var foreign, own []durable.Item
	for _, a := range c.Archive {
		path := filepath.Join(k.cfg.Certs.Dir, a.Name)
		n := durable.Look(path)
		if n.Err != nil && n.Kind != durable.Link { // of a link its text is copied
			return fmt.Errorf("nothing was changed: what would be replaced cannot be copied: %w", n.Err)
		}
		if n.Kind == durable.Missing {
			continue // it went meanwhile
		}
		it := durable.Item{Name: a.Name, Foreign: a.Foreign, Secret: a.Secret, Mode: n.Mode.Perm()}
		if n.Kind == durable.Link && n.Target == "" {
			why := n.Err
			if why == nil {
				why = fmt.Errorf("%s: is a link that names nothing", path)
			}
			return fmt.Errorf("nothing was changed: what would be replaced cannot be copied: %w", why)
		}
		if n.Kind == durable.Link {
			it.LinkTo = n.Target
		} else {
			r := durable.Read(path, 16<<20)
			if r.Err != nil {
				return fmt.Errorf("nothing was changed: what would be replaced cannot be copied: %w", r.Err)
			}
			if !r.Exists {
				continue
			}
			it.Data = r.Data
		}
		if a.Foreign {
			foreign = append(foreign, it)
		} else {
			own = append(own, it)
		}
	}
	_ = k.o.Disk.MkdirAll(k.cfg.State.Dir, 0o700) // else the archive makes it, open to others; Add tells of an error
	ar := durable.OpenArchive(k.o.Disk, k.archiveDir())
	for _, items := range [][]durable.Item{foreign, own} {
		if len(items) == 0 {
			continue
		}
		id, err := ar.Add(now, reason, items)
		if err != nil && !items[0].Foreign { // newcerts has our certificates, and a key of ours is not lost but old
			k.log(Warn, "no copy of what is replaced", "reason", string(plan.StateUnwritable), "error", err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("nothing was changed: no copy of what would be replaced: %w", err)
		}
		k.log(Info, "archived", "generation", id, "reason", reason, "foreign", items[0].Foreign)
		for _, it := range items {
			if it.Secret && !it.Foreign {
				st.OldKeys = append(st.OldKeys, state.OldKey{Generation: id, Name: it.Name})
			}
		}
	}
	return nil
}

// stage puts the files into the staging area and returns the certs directory
// as it will be.
func (k *Keeper) stage(set *durable.Set, obs plan.Observed, files []staged) (certdir.Dir, error) {
	after := obs.Certs
	for _, f := range files {
		if f.Source != plan.FromStaging {
			if err := set.Stage(f.Name, f.data, f.Mode); err != nil {
				return after, err
			}
		}
		n := set.Staged(f.Name)
		if n.Err != nil {
			return after, n.Err
		}
		n.Path = filepath.Join(obs.Certs.Path, f.Name)
		switch f.Name {
		case certdir.KeyName:
			after.Key = certdir.KeyEntry{Key: pki.ReadKeyFile(n.Data), Digest: f.sum}
			n.Data = nil
			after.Key.Node = n
		case certdir.CertName:
			after.Cert = certdir.CertEntry{Node: n, File: pki.ReadLeafFile(n.Data), Digest: f.sum}
		case certdir.CAName:
			after.CA = certdir.CertEntry{Node: n, File: pki.ReadCertFile(n.Data), Digest: f.sum}
		case certdir.DHName:
			after.DH = certdir.DHEntry{Node: n, Digest: f.sum}
		case certdir.CRLName:
			after.CRL = certdir.DHEntry{Node: n, Digest: f.sum}
		}
	}
	return after, nil
}

// ErrRefused says that sendmail would refuse a candidate set.
var ErrRefused = errors.New("sendmail would refuse the new set, so it was not installed")

// acceptable runs sendmail's rules over the candidate. What is refused already
// and not by the candidate's doing does not speak against it, and neither do
// the directories that hold it: no file in them would be accepted.
func (k *Keeper) acceptable(obs plan.Observed, after certdir.Dir) error {
	before := mta.Judge(obs.CF, plan.Files(obs.Certs, obs.Accept))
	then := mta.Judge(obs.CF, plan.Files(after, obs.Accept))
	for _, c := range then.Complaints {
		if !c.Fatal || filepath.Dir(c.Path) != obs.Certs.Path {
			continue
		}
		known := false
		for _, b := range before.Complaints {
			known = known || b.Fatal && b.Path == c.Path && b.Text == c.Text
		}
		if !known {
			return fmt.Errorf("%w: %s: %s", ErrRefused, c.Path, c.Text)
		}
	}
	return nil
}

// owe notes the debt of a running sendmail before the first file changes.
func (k *Keeper) owe(obs plan.Observed, st *state.State, after certdir.Dir, now time.Time) {
	cf := obs.CF
	if obs.RunningCF != nil {
		cf = *obs.RunningCF
	}
	set := plan.SetID(after)
	for _, argv := range k.cfg.Notify { // whoever else reads the files, sendmail or not
		oweNotify(st, argv, set)
	}
	if !plan.NamesOurs(cf, obs.Certs) || !plan.MayRun(obs.MTA) {
		return
	}
	if st.Delivered.Set == set && st.Delivered.Instance == plan.InstanceID(plan.Instance(obs.MTA)) {
		return // what sendmail serves comes back as it was
	}
	leaf := ""
	if cs := after.Cert.File.Certs; len(cs) > 0 {
		leaf = plan.LeafID(cs[0])
	}
	stamp := now.UTC().Truncate(time.Second)
	d := state.Debt{Set: set, Leaf: leaf, Since: stamp, Instance: plan.Instance(obs.MTA), WasUp: true}
	if st.Debt != nil { // an older debt of the same instance goes on, with its signals
		d.Since, d.HUPs, d.Started = st.Debt.Since, st.Debt.HUPs, st.Debt.Started
	}
	st.Debt = &d
}

// rememberBefore writes the debt durably. Where there is no state directory
// the daemon's memory has to do.
func (k *Keeper) rememberBefore(before, after state.State) error {
	k.remember(before, after)
	return nil
}

// note marks the content of a file as ours. What was restored is whose it was.
func note(st *state.State, f staged, installed []string, now time.Time) {
	if f.Reason == plan.Held || f.Reason == plan.Installed || f.Reason == plan.TrustAdded {
		return // and a CA's own file says itself whose it is
	}
	kind := map[string]string{certdir.KeyName: "key", certdir.CertName: "cert", certdir.CAName: "ca", certdir.DHName: "dh", certdir.CRLName: "crl"}[f.Name]
	if kind == "" {
		kind = "trust"
	}
	st.AddOurs(hex.EncodeToString(f.sum[:]), kind, now, installed...)
}

func steps(files []staged, links []certdir.LinkChange) []durable.Step {
	var out []durable.Step
	install := func(f staged) {
		out = append(out, durable.Step{Op: durable.OpInstall, Name: f.Name, Digest: hex.EncodeToString(f.sum[:])})
	}
	// Trust first, then the key, then the certificate: whoever reads in between
	// finds what the new certificate needs.
	for _, f := range files {
		if f.Name != certdir.KeyName && f.Name != certdir.CertName {
			install(f)
		}
	}
	for _, l := range links {
		if l.Target != "" {
			out = append(out, durable.Step{Op: durable.OpLink, Name: l.Name, Target: l.Target})
		}
	}
	for _, want := range []string{certdir.KeyName, certdir.CertName} {
		for _, f := range files {
			if f.Name == want {
				install(f)
			}
		}
	}
	for _, l := range links {
		if l.Target == "" {
			out = append(out, durable.Step{Op: durable.OpRemove, Name: l.Name})
		}
	}
	return out
}

func (k *Keeper) describe(act plan.Action, files []staged) []any {
	kv := []any{"reason", string(act.Reason)}
	for _, f := range files {
		if f.Name != certdir.CertName {
			continue
		}
		if cs := pki.ReadLeafFile(f.data).Certs; len(cs) > 0 {
			kv = append(kv, "serial", serial(cs[0]), "ends", cs[0].NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return kv
}
