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
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// applier carries out planned actions. The caller holds the lock on the certs directory.
type applier struct {
	*base
	run        *run
	state      *stateFile
	candidates *candidates
	ca         *PrivateCA
	installer  *installer
}

// apply carries out a plan in its order, essential actions first. An action that fails is logged once and gets its own
// backoff; actions that need it are skipped, and all others are carried out. apply returns the actions that succeeded
// and the errors of essential ones.
func (ap *applier) apply(ctx context.Context, obs plan.Observed, p plan.Plan) (done []plan.Action, err error) {
	st := p.State
	var essential []error
	var failed []plan.Kind
	for _, act := range p.Actions {
		if err := ctx.Err(); err != nil {
			ap.state.remember(obs.State, st)
			return done, err
		}
		if slices.ContainsFunc(failed, act.Needs) {
			continue
		}
		err := ap.act(ctx, obs, &st, act, p)
		if errors.Is(err, errUseless) { // obtain has logged it already. The next round plans without a new certificate.
			continue
		}
		if err == nil {
			if act.Kind != plan.Obtain { // the next round says whether the new certificate can be used
				delete(st.Failures, act.FailureKey())
			}
			done = append(done, act)
			// install and obtain log a line of their own, which says more.
			if act.Kind != plan.Install && act.Kind != plan.Obtain {
				ap.log(Info, act.Text.Did(), "reason", string(act.Reason))
			}
			if act.Kind == plan.Recover {
				break // the other actions were decided on an incomplete set
			}
			continue
		}
		if ctx.Err() != nil { // the process was told to stop, so this is not a failure of the action
			ap.state.remember(obs.State, st)
			return done, ctx.Err()
		}
		// This is not a failure: the files are no longer those on which the plan was based.
		if errors.Is(err, errChanged) && ap.run.changed < maxChanged {
			ap.run.changed++
			ap.log(Info, "checking again before anything is changed", "reason", string(act.Reason), "why", err.Error())
			break
		}
		level := Warn
		if act.Class() == plan.Essential {
			level = Fail
			essential = append(essential, fmt.Errorf("%s: %w", act.Text.CouldNot(), err))
		}
		if act.Kind != plan.Obtain { // obtain notes its own failures
			fail(&st, act.FailureKey(), err, ap.o.Now())
		}
		ap.run.failed[act.FailureKey()] = true
		ap.log(level, act.Text.CouldNot(), "reason", string(act.Reason), "error", err.Error(),
			"next", st.Failures[act.FailureKey()].Next.Format(time.RFC3339))
		failed = append(failed, act.Kind)
		// The next round finishes the transaction; nothing else is decided before that.
		if errors.Is(err, durable.ErrCommitted) {
			break
		}
	}
	ap.state.holdBack(obs.State, st)
	return done, errors.Join(essential...)
}

// maxChanged is how often in one run a transaction begins again because another program has written one of its files.
const maxChanged = 3

// recover finishes an interrupted change, or removes what the change left behind, and logs what cannot be finished.
func (ap *applier) recover(set *durable.Set) error {
	r, err := set.Recover(certdir.KeyFiles()...)
	if r.Dropped {
		ap.log(Warn,
			"the journal of an interrupted change was damaged, so it was removed; mailcertd completes the set from "+
				"the present files",
			"reason", string(plan.Unfinished), "path", ap.cfg.Certs.Dir)
	}
	if r.Abandoned {
		ap.log(Warn,
			"somebody changed the files of an interrupted change, so the rest of it is dropped; mailcertd completes "+
				"the set from the present files",
			"reason", string(plan.Unfinished), "path", ap.cfg.Certs.Dir)
	}
	return err
}

func (ap *applier) act(ctx context.Context, obs plan.Observed, st *state.State, act plan.Action, p plan.Plan) error {
	disk, set := ap.o.Disk, durable.OpenSet(ap.o.Disk, ap.cfg.Certs.Dir)
	switch act.Kind {
	case plan.Recover:
		return ap.recover(set)
	case plan.MakeDir:
		return disk.MkdirAll(act.Path, act.Mode)
	case plan.Chmod:
		return disk.Chmod(act.Path, act.Mode)
	case plan.Chown:
		return disk.ChownRoot(act.Path)
	case plan.ReconcileCA, plan.InitCA, plan.RedateCA, plan.NextCA, plan.PromoteCA, plan.PruneCA, plan.WriteCRL,
		plan.MakeInbox, plan.Answer:
		return ap.ca.act(ctx, obs, st, act, p.At)
	case plan.AcceptCA:
		ap.candidates.accept(act.Certs)
		return nil
	case plan.Unstage:
		return set.Unstage(act.Path)
	case plan.StageKey:
		key, err := ap.newKey(ctx, act.KeyType)
		if err != nil {
			return err
		}
		data, err := pki.MarshalKey(key)
		if err != nil {
			return err
		}
		return set.Stage(act.Pair.KeyFile, data, 0o600)
	case plan.Obtain:
		return ap.obtain(ctx, obs, st, act, p)
	case plan.Install:
		return ap.installer.install(obs, st, act, p.At)
	case plan.PruneBackup:
		return ap.backups().Remove(act.ID)
	case plan.DeleteOldKey:
		if err := ap.backups().DropItem(act.ID, act.Path); err != nil {
			return err
		}
		st.OldKeys = slices.DeleteFunc(slices.Clone(st.OldKeys), func(o state.OldKey) bool {
			return o.Backup == act.ID && o.Name == act.Path
		})
		return nil
	case plan.MoveBackups:
		return ap.backups().Move()
	case plan.Clear:
		return ap.clear(ctx, act)
	}
	return fmt.Errorf("no such action: %s", act.Kind)
}

// errUseless says that a certificate issued in this run could not be used, and that no other one is asked for.
var errUseless = errors.New("the certificate that was just issued cannot be used")

// obtain asks the local CA for a certificate. When it returns, the certificate is in newcerts, and the next look finds
// it there, as it would after a crash.
func (ap *applier) obtain(ctx context.Context, obs plan.Observed, st *state.State, act plan.Action, p plan.Plan) error {
	pub, failure := obs.Certs.Pair(act.Pair).Key.Key.Public, act.FailureKey()
	if act.Request.Staged {
		n := durable.OpenSet(ap.o.Disk, ap.cfg.Certs.Dir).Staged(act.Pair.KeyFile)
		if n.Err != nil {
			return fmt.Errorf("the staged key: %w", n.Err)
		}
		staged := pki.ReadKeyFile(n.Data)
		if staged.Err != nil {
			return fmt.Errorf("the staged key: %w", staged.Err)
		}
		pub = staged.Public
	}
	if ap.run.obtained[act.Pair.Name] { // without this check every look would issue another certificate
		err := fmt.Errorf("the certificate that was just issued cannot be used: mailcertd %s again", act.Text.Would())
		if obs.CA.IssuedErr != nil {
			err = fmt.Errorf("the certificate that was just issued cannot be read: %w", obs.CA.IssuedErr)
		}
		fail(st, failure, err, ap.o.Now())
		ap.run.failed[failure] = true
		ap.log(Fail, "a signed certificate could not be used", "reason", string(plan.NoIssuer), "error", err.Error())
		return errUseless
	}
	c, err := ca.Issue(ctx, ap.o.Disk, ap.ca.Options(obs), ca.Request{
		Public: pub, Name: act.Request.Name, AltNames: act.Request.AltNames,
		Days: act.Request.Days, Backdate: p.Backdate,
	}, ap.o.Rand, p.At)
	if err != nil {
		fail(st, failure, err, ap.o.Now())
		return err
	}
	ap.run.obtained[act.Pair.Name] = true // the next round says whether the certificate can be used
	if st.CA == "" {
		st.CA = pki.KeyFingerprint(issuerKey(obs))
	}
	ap.log(Info, act.Text.Did(), "reason", string(act.Reason), "serial", serial(c), "ends",
		c.NotAfter.UTC().Format(time.RFC3339))
	return nil
}

func issuerKey(obs plan.Observed) any {
	if c := obs.CA.Current.Cert; c != nil {
		return c.PublicKey
	}
	return nil
}

// leafOf returns the installed host certificate; nil means that there is none or that it cannot be read.
func leafOf(obs plan.Observed) *x509.Certificate {
	if f := obs.Certs.Cert.File; f.Err == nil && len(f.Certs) > 0 {
		return f.Certs[0]
	}
	return nil
}

// leaves returns the installed certificates of all pairs that can be read.
func leaves(obs plan.Observed) []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range certdir.Pairs() {
		if f := obs.Certs.Pair(p).Cert.File; f.Err == nil && len(f.Certs) > 0 {
			out = append(out, f.Certs[0])
		}
	}
	return out
}

func serial(c *x509.Certificate) string { return ca.FormatSerial(c.SerialNumber) }

// failBy notes a failure of what, a failure key. by is the issuer on another host that was asked.
func failBy(by string, st *state.State, what string, err error, now time.Time) {
	if st.Failures == nil {
		st.Failures = map[string]state.Failure{}
	}
	st.Failures[what] = plan.Failed(st.Failures[what], by, err, now)
}

// fail is failBy for what no issuer on another host has to do with.
func fail(st *state.State, what string, err error, now time.Time) { failBy("", st, what, err, now) }
