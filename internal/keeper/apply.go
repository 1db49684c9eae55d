package keeper

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// apply executes a plan in its order, essential actions first. What fails is noted with a backoff of its own and told
// once; what needs it is passed over, and all else goes on. It returns what was done, and the errors of essential
// actions.
func (k *Keeper) apply(ctx context.Context, obs plan.Observed, p plan.Plan) (done []plan.Action, err error) {
	st := p.State
	var essential []error
	var failed []plan.Kind
	for _, act := range p.Actions {
		if err := ctx.Err(); err != nil {
			k.remember(obs.State, st)
			return done, err
		}
		if slices.ContainsFunc(failed, act.Needs) {
			continue
		}
		err := k.act(ctx, obs, &st, act)
		if err == nil {
			if act.Kind != plan.Obtain { // whether what was signed serves, the next round says
				delete(st.Failures, act.FailureKey())
			}
			done = append(done, act)
			if act.Kind != plan.Install { // a transaction tells its own
				k.log(Info, act.Text, "reason", string(act.Reason))
			}
			if act.Kind == plan.Recover {
				break // everything else was decided on half a set
			}
			continue
		}
		if ctx.Err() != nil { // it was told to stop, and did not fail
			k.remember(obs.State, st)
			return done, ctx.Err()
		}
		level := Warn
		if act.Class() == plan.Essential {
			level = Fail
			essential = append(essential, fmt.Errorf("could not %s: %w", act.Text, err))
		}
		if act.Kind != plan.Obtain { // which notes its own
			fail(&st, act.FailureKey(), err, k.o.Now())
		}
		k.failedNow[act.FailureKey()] = true
		k.log(level, "could not "+act.Text, "reason", string(act.Reason), "error", err.Error(),
			"next", st.Failures[act.FailureKey()].Next.Format(time.RFC3339))
		failed = append(failed, act.Kind)
		if errors.Is(err, durable.ErrCommitted) { // the next round finishes it, and nothing is decided before that
			break
		}
	}
	k.remember(obs.State, st)
	return done, errors.Join(essential...)
}

func (k *Keeper) act(ctx context.Context, obs plan.Observed, st *state.State, act plan.Action) error {
	disk, set := k.o.Disk, durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	switch act.Kind {
	case plan.Recover:
		_, err := set.Recover(certdir.KeyName)
		return err
	case plan.MakeDir:
		return disk.MkdirAll(act.Path, act.Mode)
	case plan.Chmod:
		return disk.Chmod(act.Path, act.Mode)
	case plan.Chown:
		return disk.ChownRoot(act.Path)
	case plan.ReconcileCA:
		_, err := ca.Reconcile(ctx, disk, k.cfg.CA.Dir, leafOf(obs))
		return err
	case plan.InitCA:
		defer k.working(act.Text, 0)()
		c, err := ca.Init(ctx, disk, k.caOptions(obs), k.o.Rand, k.o.Now())
		if err == nil {
			st.CA = plan.PublicID(c.PublicKey)
		}
		return err
	case plan.NextCA:
		defer k.working(act.Text, 0)()
		_, err := ca.StartNext(ctx, disk, k.caOptions(obs), k.o.Rand, k.o.Now())
		return err
	case plan.PromoteCA:
		c, err := ca.Promote(ctx, disk, k.caOptions(obs))
		if err == nil {
			st.CA = plan.PublicID(c.PublicKey)
		}
		return err
	case plan.PruneCA:
		return ca.Prune(ctx, disk, k.cfg.CA.Dir, k.o.Now())
	case plan.WriteCRL:
		return ca.WriteCRL(ctx, disk, k.caOptions(obs), k.o.Rand, k.o.Now())
	case plan.MakeInbox:
		return issuer.MakeBox(disk, k.cfg.CA.Inbox, obs.Account.GID)
	case plan.Answer:
		return k.answerMembers(ctx, obs, act.Hold)
	case plan.AcceptCA:
		return k.accept(act.Certs)
	case plan.Unstage:
		return set.Unstage(act.Path)
	case plan.StageKey:
		key, err := k.newKey(ctx, act.KeyType)
		if err != nil {
			return err
		}
		data, err := pki.MarshalKey(key)
		if err != nil {
			return err
		}
		return set.Stage(certdir.KeyName, data, 0o600)
	case plan.Obtain:
		return k.obtain(ctx, obs, st, act)
	case plan.Install:
		return k.install(ctx, obs, st, act)
	case plan.PruneArchive:
		return durable.OpenArchive(disk, k.archiveDir()).Remove(act.ID)
	case plan.DeleteOldKey:
		if err := durable.OpenArchive(disk, k.archiveDir()).DropItem(act.ID, act.Path); err != nil {
			return err
		}
		st.OldKeys = slices.DeleteFunc(slices.Clone(st.OldKeys), func(o state.OldKey) bool { return o.Generation == act.ID && o.Name == act.Path })
		return nil
	}
	return fmt.Errorf("no such action: %s", act.Kind)
}

// obtain asks the issuer. The local CA's answer lies in newcerts when this
// returns: the next look finds it there, as it would after a crash.
func (k *Keeper) obtain(ctx context.Context, obs plan.Observed, st *state.State, act plan.Action) error {
	pub := obs.Certs.Key.Key.Public
	if act.Request.Staged {
		n := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir).Staged(certdir.KeyName)
		if n.Err != nil {
			return fmt.Errorf("the staged key: %w", n.Err)
		}
		staged := pki.ReadKeyFile(n.Data)
		if staged.Err != nil {
			return fmt.Errorf("the staged key: %w", staged.Err)
		}
		pub = staged.Public
	}
	if k.obtained { // it would go on for ever, or at every look
		err := fmt.Errorf("the certificate that was just issued does not serve: %s", act.Text)
		fail(st, plan.ObtainFailure, err, k.o.Now())
		k.failedNow[plan.ObtainFailure] = true
		k.log(Fail, "signed for nothing", "reason", string(plan.NoIssuer), "error", err.Error())
		return nil // the next round makes do without
	}
	c, err := ca.Issue(ctx, k.o.Disk, k.caOptions(obs), ca.Request{
		Public: pub, Name: act.Request.Name, AltNames: act.Request.AltNames,
		Days: act.Request.Days, Backdate: time.Hour,
	}, k.o.Rand, k.o.Now())
	if err != nil {
		fail(st, plan.ObtainFailure, err, k.o.Now())
		return err
	}
	k.obtained = true // whether it serves, the next round says
	if st.CA == "" {
		st.CA = plan.PublicID(k.issuerKey(obs))
	}
	k.log(Info, "certificate issued", "serial", serial(c), "name", act.Request.Name, "ends", c.NotAfter.UTC().Format(time.RFC3339))
	return nil
}

func (k *Keeper) issuerKey(obs plan.Observed) any {
	if c := obs.CA.Current.Cert; c != nil {
		return c.PublicKey
	}
	return nil
}

// leafOf is the installed certificate; nil where none can be read.
func leafOf(obs plan.Observed) *x509.Certificate {
	if f := obs.Certs.Cert.File; f.Err == nil && len(f.Certs) > 0 {
		return f.Certs[0]
	}
	return nil
}

func serial(c *x509.Certificate) string { return ca.FormatSerial(c.SerialNumber) }

// fail counts one failure and sets the earliest next attempt.
func fail(st *state.State, what string, err error, now time.Time) {
	f := st.Failures[what]
	if f.Count == 0 {
		f.First = now.UTC().Truncate(time.Second)
	}
	f.Count++
	f.Last = now.UTC().Truncate(time.Second)
	f.Next = f.Last.Add(state.Backoff(f.Count))
	f.Error = err.Error()
	if st.Failures == nil {
		st.Failures = map[string]state.Failure{}
	}
	st.Failures[what] = f
}

// Authority is what the CA of this host needs to know, its passphrase included.
func (k *Keeper) Authority(obs plan.Observed) ca.Options { return k.caOptions(obs) }

func (k *Keeper) caOptions(obs plan.Observed) ca.Options {
	name, _ := plan.HostName(k.cfg, obs.Host)
	s := k.cfg.CA.Subject
	return ca.Options{
		Dir: k.cfg.CA.Dir, Key: k.cfg.CA.Key, Days: k.cfg.CA.Days, Host: name,
		Subject: ca.Subject{Country: s.Country, State: s.State, Locality: s.Locality, Organization: s.Organization,
			OrganizationalUnit: s.OrganizationalUnit, CommonName: s.CommonName},
		PermittedDomains: k.cfg.CA.PermittedDomains, CRLDays: k.cfg.CRL.Days,
		Passphrase: k.secret(obs), Memory: &k.database,
	}
}

// remember writes the state when it differs. Where it cannot be written it is
// kept in memory, and the disk is tried again at the next change.
func (k *Keeper) remember(before, after state.State) {
	if after.Equal(before) && k.memory == nil {
		return
	}
	if k.unread { // what it says is not known: it is not written over
		k.apart = k.apart || k.memory == nil
		m := after.Clone()
		k.memory = &m
		return
	}
	if err := state.Save(k.o.Disk, k.cfg.State.Dir, after); err != nil {
		if k.memory == nil {
			k.log(Warn, "the state cannot be written: what it remembers is lost with this process", "reason", string(plan.StateUnwritable), "error", err.Error())
		}
		m := after.Clone()
		k.memory = &m
		return
	}
	k.memory = nil
}
