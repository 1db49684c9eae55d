package keeper

import (
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
	"mailcertd/internal/pickup"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// installer replaces files of the certs directory: all files of a change, or none.
type installer struct {
	*base
	state *stateFile
}

// install carries out one transaction. The order of its steps makes a crash harmless after each of them: backups,
// staging, sendmail's rules on the staged files, the note that a pickup is pending, the commit. at is the time that is
// believed; the validity of an interim certificate begins with it.
func (in *installer) install(obs plan.Observed, st *state.State, act plan.Action, at time.Time) error {
	c := act.Change
	now := in.o.Now()
	set := durable.OpenSet(in.o.Disk, in.cfg.Certs.Dir)
	files, err := in.contents(c, at)
	if err != nil {
		return err
	}
	if err := in.save(obs, st, c, string(act.Reason), now); err != nil {
		return err
	}
	after, err := in.stage(set, obs, files)
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
	if err := in.acceptable(obs, after); err != nil {
		unstage()
		return err
	}
	was := st.Clone()
	undo := func() { // nothing was changed, so no pickup is pending
		unstage()
		in.state.remember(*st, was)
		*st = was
	}
	for _, f := range files {
		note(st, f, plan.Lying(obs.Certs), now)
	}
	if c.Pickup {
		in.notePickup(obs, st, after, now)
	}
	// The note must be on the disk before the commit. Without a state directory only this process remembers it.
	in.state.remember(obs.State, *st)
	todo := steps(files, c.Links)
	for _, name := range append(in.stillOwn(c.Remove), c.Drop...) { // the files are removed after the links to them
		todo = append(todo, durable.Step{Op: durable.OpRemove, Name: name})
	}
	if err := in.unchanged(obs, files); err != nil {
		undo()
		return err
	}
	err = set.Commit(todo)
	if err != nil && !errors.Is(err, durable.ErrCommitted) {
		undo()
		return err
	}
	msg := act.Text.Did()
	if err != nil { // the change is committed; the next look finishes it
		msg = act.Text.Doing()
	}
	in.log(Info, msg, in.describe(act, files)...)
	return err
}

// errChanged says that another program wrote a file while it was about to be replaced. Test for it with errors.Is.
var errChanged = errors.New("another program is writing it, so nothing was changed")

// unchanged looks again at the files that are about to be replaced. Their content must still be what was backed up and
// judged. A changed mode does not count: an action of this plan may have set it.
func (in *installer) unchanged(obs plan.Observed, files []staged) error {
	for _, f := range files {
		was, known := obs.Replaced(f.Name)
		if !known {
			continue
		}
		is := durable.Look(in.Path(f.Name))
		if is.Err != nil {
			return is.Err
		}
		if !is.SameContent(was) {
			return fmt.Errorf("%s: %w", is.Path, errChanged)
		}
	}
	return nil
}

// staged is one file of a transaction with its content.
type staged struct {
	plan.File
	data []byte // nil for FromStaging: the file is staged already
	sum  [32]byte
}

// contents returns the content of each file of a change.
func (in *installer) contents(c *plan.Change, at time.Time) ([]staged, error) {
	var out []staged
	self := map[certdir.Pair][]byte{}
	set := durable.OpenSet(in.o.Disk, in.cfg.Certs.Dir)
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
			n := durable.Read(in.Path(f.Name), certdir.MaxFile)
			if n.Err != nil {
				return nil, n.Err
			}
			s.data = pki.StripCertificates(n.Data)
			if pki.ReadKeyFile(s.data).Err != nil {
				return nil, fmt.Errorf("%s: without its certificates no key would be left", n.Path)
			}
		case plan.FromSelf:
			pair := certdir.Host // cacert.pem contains the interim certificate of the host's own pair
			if of, _ := certdir.FileOf(f.Name); of.Kind == certdir.KindCert {
				pair = of.Pair
			}
			if self[pair] == nil {
				var err error
				if self[pair], err = in.selfSigned(c, pair, at); err != nil {
					return nil, err
				}
			}
			s.data = self[pair]
		}
		s.sum = sha256.Sum256(s.data)
		out = append(out, s)
	}
	return out, nil
}

// save makes backups of the files that will be replaced or removed, before anything is changed. A backup of another
// owner's file must succeed; one of our own files may fail, with a warning.
func (in *installer) save(obs plan.Observed, st *state.State, c *plan.Change, reason string, now time.Time) error {
	if len(c.Copies) == 0 {
		return nil
	}
	var foreign, own []durable.Item
	for _, a := range c.Copies {
		path := in.Path(a.Name)
		n := durable.Look(path)
		// A link may point to nothing, because only its target's path is copied.
		if n.Err != nil && n.Kind != durable.Link {
			return fmt.Errorf("nothing was changed, because no backup could be made: %w", n.Err)
		}
		if n.Kind == durable.Missing {
			continue // it was removed since the plan was made
		}
		it := durable.Item{Name: a.Name, Foreign: a.Foreign, Secret: a.Secret, Mode: n.Mode.Perm()}
		if n.Kind == durable.Link && n.Target == "" {
			why := n.Err
			if why == nil {
				why = fmt.Errorf("%s: is a link without a target", path)
			}
			return fmt.Errorf("nothing was changed, because no backup could be made: %w", why)
		}
		if n.Kind == durable.Link {
			it.LinkTo = n.Target
		} else {
			r := durable.Read(path, 16<<20)
			if r.Err != nil {
				return fmt.Errorf("nothing was changed, because no backup could be made: %w", r.Err)
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
	// Add would make the state directory too, but readable for others. Add reports an error.
	_ = in.o.Disk.MkdirAll(in.cfg.State.Dir, 0o700)
	ar := in.backups()
	for _, items := range [][]durable.Item{foreign, own} {
		if len(items) == 0 {
			continue
		}
		id, err := ar.Add(now, reason, items)
		// This is no loss: newcerts contains our certificates, and nobody needs our replaced key.
		if err != nil && !items[0].Foreign {
			in.log(Warn, "the replaced files have no backup", "reason", string(plan.StateUnwritable), "error",
				err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("nothing was changed, because no backup could be made: %w", err)
		}
		in.log(Info, "made a backup", "backup", id, "reason", reason, "foreign", items[0].Foreign)
		for _, it := range items {
			if it.Secret && !it.Foreign {
				st.OldKeys = append(st.OldKeys, state.OldKey{Backup: id, Name: it.Name})
			}
		}
	}
	return nil
}

// stage puts the files into the staging area. It returns the certs directory as it will be after the commit.
func (in *installer) stage(set *durable.Set, obs plan.Observed, files []staged) (certdir.Dir, error) {
	after := obs.Certs
	for _, f := range files {
		if f.Source != plan.FromStaging {
			if err := set.Lay(f.Name, f.data, f.Mode); err != nil {
				return after, err
			}
		}
		n := set.Staged(f.Name).Located()
		if n.Err != nil {
			return after, n.Err
		}
		n.Path = filepath.Join(obs.Certs.Path, f.Name)
		after.Put(f.Name, n)
	}
	return after, nil
}

// ErrRefused says that sendmail would refuse the new files, and that they were not installed.
var ErrRefused = errors.New("sendmail would refuse the new set, so it was not installed")

// acceptable applies sendmail's rules to the new set. It returns ErrRefused for a file that sendmail would refuse now
// and did not refuse before. Complaints about the directories above do not count, because they concern every file in
// them.
func (in *installer) acceptable(obs plan.Observed, after certdir.Dir) error {
	before := mta.Judge(obs.CF, plan.Files(obs.CF, obs.Certs, obs.Accept))
	then := mta.Judge(obs.CF, plan.Files(obs.CF, after, obs.Accept))
	for _, c := range then.Complaints {
		if !c.Fatal || c.Beyond || filepath.Dir(c.Path) != obs.Certs.Path {
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

// notePickup notes in the state, before the first file changes, that a running sendmail has to read the new set.
func (in *installer) notePickup(obs plan.Observed, st *state.State, after certdir.Dir, now time.Time) {
	set := plan.SetID(after)
	// Other programs that read the files are told too, whether or not sendmail runs.
	for _, argv := range in.cfg.Notify {
		pickup.OweNotify(st, argv, set)
	}
	if !plan.NamesOurs(obs.UsedCF(), obs.Certs) || !plan.MayRun(obs.MTA) {
		return
	}
	if st.PickedUp.Set == set && st.PickedUp.Instance == plan.InstanceID(plan.Instance(obs.MTA)) {
		return // sendmail already serves this set, which has come back
	}
	leaf := ""
	if cs := after.Cert.File.Certs; len(cs) > 0 {
		leaf = pki.Fingerprint(cs[0])
	}
	stamp := now.UTC().Truncate(time.Second)
	d := state.Pickup{Set: set, Leaf: leaf, Since: stamp, Instance: plan.Instance(obs.MTA), WasUp: true}
	// A pickup of the same instance that is already pending continues, with the HUPs that were sent for it.
	if st.Pickup != nil {
		d.Since, d.HUPs, d.Started = st.Pickup.Since, st.Pickup.HUPs, st.Pickup.Started
	}
	st.Pickup = &d
}

// note marks the content of a file as ours in the state. A restored file keeps the owner that it had. A certificate
// counts as ours only once it is installed: after a crash before the commit it can still be used.
func note(st *state.State, f staged, installed []string, now time.Time) {
	if f.Reason == plan.Held || f.Reason == plan.Installed || f.Reason == plan.TrustAdded {
		return // the name of a file in trust/ contains the digest of its CA, which says that it is ours
	}
	kind := kindOf(f)
	if kind == "" {
		kind = "trust"
	}
	if kind == certdir.KindCert {
		st.AddPending(hex.EncodeToString(f.sum[:]), string(kind), now, installed...)
		return
	}
	st.AddOurs(hex.EncodeToString(f.sum[:]), string(kind), now, installed...)
}

// kindOf returns the kind of a file of the set, and "" for a file in trust/.
func kindOf(f staged) certdir.Kind {
	of, _ := certdir.FileOf(f.Name)
	return of.Kind
}

func steps(files []staged, links []certdir.LinkChange) []durable.Step {
	var out []durable.Step
	install := func(f staged) {
		out = append(out, durable.Step{Op: durable.OpInstall, Name: f.Name, Digest: hex.EncodeToString(f.sum[:])})
	}
	// The CA files come first, then each pair's key and its certificate, so that a program that reads in between finds
	// the CAs that the new certificate needs.
	for _, f := range files {
		if k := kindOf(f); k != certdir.KindKey && k != certdir.KindCert {
			install(f)
		}
	}
	for _, l := range links {
		if l.Target != "" {
			out = append(out, durable.Step{Op: durable.OpLink, Name: l.Name, Target: l.Target})
		}
	}
	for _, want := range certdir.Files() {
		for _, f := range files {
			if f.Name == want.Name && want.Pair != (certdir.Pair{}) {
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

func (in *installer) describe(act plan.Action, files []staged) []any {
	kv := []any{"reason", string(act.Reason)}
	for _, f := range files {
		if kindOf(f) != certdir.KindCert {
			continue
		}
		if cs := pki.ReadLeafFile(f.data).Certs; len(cs) > 0 {
			kv = append(kv, "serial", serial(cs[0]), "ends", cs[0].NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return kv
}
