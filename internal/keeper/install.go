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

// installer replaces files of the certs directory, all of a set or none.
type installer struct {
	*base
	state *stateFile
}

// install carries out one transaction, in the order in which a crash does no harm: backups, staging, sendmail's rules
// over what is staged, the note that a pickup is pending, the commit. at is the time that is believed; an interim
// certificate begins by it.
func (in *installer) install(obs plan.Observed, st *state.State, act plan.Action, at time.Time) error {
	c := act.Change
	now := in.o.Now()
	set := durable.OpenSet(in.o.Disk, in.cfg.Certs.Dir)
	files, err := in.contents(c, at)
	if err != nil {
		return err
	}
	if err := in.archive(obs, st, c, string(act.Reason), now); err != nil {
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
	in.state.remember(obs.State, *st) // durably; where there is no state directory the daemon's memory has to do
	todo := steps(files, c.Links)
	for _, name := range append(in.stillOwn(c.Remove), c.Drop...) { // after their links
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
	if err != nil { // the next look finishes it
		msg = act.Text.Doing()
	}
	in.log(Info, msg, in.describe(act, files)...)
	return err
}

// errChanged says that somebody wrote a file while it was about to be replaced. Test with errors.Is.
var errChanged = errors.New("another program is writing it, so nothing was changed")

// unchanged looks again at what is about to be replaced: it must be what was copied and judged. A mode that was set
// meanwhile, by this plan too, is no change of it.
func (in *installer) unchanged(obs plan.Observed, files []staged) error {
	for _, f := range files {
		was, known := obs.Replaced(f.Name)
		if !known {
			continue
		}
		is := durable.Look(filepath.Join(in.cfg.Certs.Dir, f.Name))
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
	data []byte // nil for FromStaging: it is there
	sum  [32]byte
}

// contents works out what each file will hold.
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
			n := durable.Read(filepath.Join(in.cfg.Certs.Dir, f.Name), certdir.MaxFile)
			if n.Err != nil {
				return nil, n.Err
			}
			s.data = pki.StripCertificates(n.Data)
			if pki.ReadKeyFile(s.data).Err != nil {
				return nil, fmt.Errorf("%s: without its certificates no key would be left", n.Path)
			}
		case plan.FromSelf:
			pair := certdir.Host // cacert.pem holds the one of the host's own pair
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

// archive copies what is replaced or removed, before anything is touched.
func (in *installer) archive(obs plan.Observed, st *state.State, c *plan.Change, reason string, now time.Time) error {
	if len(c.Archive) == 0 {
		return nil
	}
	var foreign, own []durable.Item
	for _, a := range c.Archive {
		path := filepath.Join(in.cfg.Certs.Dir, a.Name)
		n := durable.Look(path)
		if n.Err != nil && n.Kind != durable.Link { // of a link its text is copied
			return fmt.Errorf("nothing was changed, because no backup could be made: %w", n.Err)
		}
		if n.Kind == durable.Missing {
			continue // it went meanwhile
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
	_ = in.o.Disk.MkdirAll(in.cfg.State.Dir, 0o700) // else the archive makes it, open to others; Add tells of an error
	ar := durable.OpenArchive(in.o.Disk, in.archiveDir())
	for _, items := range [][]durable.Item{foreign, own} {
		if len(items) == 0 {
			continue
		}
		id, err := ar.Add(now, reason, items)
		if err != nil && !items[0].Foreign { // newcerts has our certificates, and a key of ours is not lost but old
			in.log(Warn, "no backup of what is replaced", "reason", string(plan.StateUnwritable), "error", err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("nothing was changed, because no backup could be made: %w", err)
		}
		in.log(Info, "archived", "backup", id, "reason", reason, "foreign", items[0].Foreign)
		for _, it := range items {
			if it.Secret && !it.Foreign {
				st.OldKeys = append(st.OldKeys, state.OldKey{Backup: id, Name: it.Name})
			}
		}
	}
	return nil
}

// stage puts the files into the staging area and returns the certs directory
// as it will be.
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

// ErrRefused says that sendmail would refuse a candidate set.
var ErrRefused = errors.New("sendmail would refuse the new set, so it was not installed")

// acceptable runs sendmail's rules over the candidate. What is refused already
// and not by the candidate's doing does not speak against it, and neither do
// the directories that hold it: no file in them would be accepted.
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

// notePickup notes, before the first file changes, that a running sendmail has to pick up the set.
func (in *installer) notePickup(obs plan.Observed, st *state.State, after certdir.Dir, now time.Time) {
	set := plan.SetID(after)
	for _, argv := range in.cfg.Notify { // whoever else reads the files, sendmail or not
		pickup.OweNotify(st, argv, set)
	}
	if !plan.NamesOurs(obs.UsedCF(), obs.Certs) || !plan.MayRun(obs.MTA) {
		return
	}
	if st.PickedUp.Set == set && st.PickedUp.Instance == plan.InstanceID(plan.Instance(obs.MTA)) {
		return // what sendmail serves comes back as it was
	}
	leaf := ""
	if cs := after.Cert.File.Certs; len(cs) > 0 {
		leaf = pki.Fingerprint(cs[0])
	}
	stamp := now.UTC().Truncate(time.Second)
	d := state.Pickup{Set: set, Leaf: leaf, Since: stamp, Instance: plan.Instance(obs.MTA), WasUp: true}
	if st.Pickup != nil { // an older pending pickup of the same instance goes on, with its signals
		d.Since, d.HUPs, d.Started = st.Pickup.Since, st.Pickup.HUPs, st.Pickup.Started
	}
	st.Pickup = &d
}

// note marks the content of a file as ours. What was restored is whose it was. A certificate counts as installed only
// when it is: one that a crash kept out is still there to be used.
func note(st *state.State, f staged, installed []string, now time.Time) {
	if f.Reason == plan.Held || f.Reason == plan.Installed || f.Reason == plan.TrustAdded {
		return // and a CA's own file says itself whose it is
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

// kindOf is "" for a file in trust/.
func kindOf(f staged) certdir.Kind {
	of, _ := certdir.FileOf(f.Name)
	return of.Kind
}

func steps(files []staged, links []certdir.LinkChange) []durable.Step {
	var out []durable.Step
	install := func(f staged) {
		out = append(out, durable.Step{Op: durable.OpInstall, Name: f.Name, Digest: hex.EncodeToString(f.sum[:])})
	}
	// Trust first, then each pair's key and its certificate: whoever reads in between
	// finds what the new certificate needs.
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
