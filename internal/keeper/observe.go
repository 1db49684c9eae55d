package keeper

import (
	"context"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// archiveDir is where replaced files go: the state directory, or, where there
// is none, the certs directory's own staging area.
func (k *Keeper) archiveDir() string { return filepath.Join(k.cfg.State.Dir, archiveDir) }

const archiveDir = "archive"

// observe reads everything that a decision may rest on. It changes nothing and
// decides nothing.
func (k *Keeper) observe(ctx context.Context) plan.Observed {
	cfg := k.cfg
	obs := plan.Observed{Build: k.o.Build, Root: k.o.UID == 0, FailedNow: k.failedNow}
	k.known.Begin(k.o.Now())
	obs.Certs = k.known.Observe(cfg.Certs.Dir)
	obs.Trust = k.sources()
	set := durable.OpenSet(k.o.Disk, cfg.Certs.Dir)
	pending, err := set.Pending()
	if err == nil {
		err = pending.Err // nobody knows whether a change is committed: nothing is touched
	}
	if err != nil && obs.Certs.Err == nil {
		obs.Certs.Err = err
	}
	obs.Pending = pending
	if slices.Contains(pending.Staged, certdir.KeyName) {
		if n := set.Staged(certdir.KeyName); n.Err == nil {
			obs.Staged = pki.ReadKeyFile(n.Data)
		} else if n.Unread() {
			obs.StagedErr = n.Err
		}
	}
	obs.StateDir = durable.Look(cfg.State.Dir)
	obs.State, obs.Loaded = k.loadState()
	obs.Archive, obs.ArchiveErr = durable.OpenArchive(k.o.Disk, k.archiveDir()).List()
	obs.Host = k.o.Host(ctx)
	name, _ := plan.HostName(cfg, obs.Host)
	obs.CA = k.database.Observe(cfg.CA.Dir, ca.Filter{Name: name, Key: obs.Certs.Key.Key.Public, Serving: leafOf(obs)})
	k.observeCA(&obs)
	k.rc = obs.Host.Sendmail
	obs.CF = k.readCF()
	k.observeSendmail(ctx, &obs)
	if submit := mta.ReadCF(filepath.Join(filepath.Dir(obs.CF.Path), "submit.cf")); submit.Node.Exists && submit.Node.Err == nil {
		obs.Submit = &submit
	}
	obs.Accept = k.acceptance(obs)
	if cfg.Root != "" && !plan.NamesOurs(obs.CF, obs.Certs) {
		// Below --root, what lies above it is not part of the system looked at.
		obs.Certs.Parents = below(obs.Certs.Parents, cfg.Root)
	}
	return obs
}

// observeSendmail identifies the process that the pid file names. Below --root
// without a sendmail.cf there is nothing to identify.
func (k *Keeper) observeSendmail(ctx context.Context, obs *plan.Observed) {
	if obs.CF.Missing && k.cfg.Root != "" {
		return
	}
	obs.MTA = mta.Identify(ctx, k.identifyOptions(obs.CF))
	if cf := obs.MTA.CF; cf != "" && (cf != obs.CF.Path || obs.MTA.Status.Serving() && !mta.SameOptions(obs.MTA.Argv, k.rc.Argv())) {
		running := mta.ReadCF(cf, obs.MTA.Argv...)
		obs.RunningCF = &running
	}
}

// readCF reads the sendmail.cf that a sendmail that is started now would read,
// with the options that it would be started with. What mailcertd.yaml says comes
// before rc.conf, and rc.conf before the defaults.
func (k *Keeper) readCF() mta.CF {
	path, argv := k.cfg.Sendmail.CF, k.rc.Argv()
	if named := mta.ConfigFile(argv); named != "" && path == config.Default(k.cfg.Root).Sendmail.CF {
		path = named
	}
	return mta.ReadCF(path, argv...)
}

func (k *Keeper) identifyOptions(cf mta.CF) mta.IdentifyOptions {
	o := mta.IdentifyOptions{PidFile: k.cfg.Sendmail.PidFile, Program: k.program(), Procname: k.rc.Procname, DefaultCF: k.cfg.Sendmail.CF}
	if o.PidFile == "" {
		o.PidFile = k.rc.PidFile
	}
	if o.PidFile == "" {
		o.PidFile = cf.PidFile
	}
	return o
}

// program is the sendmail that is configured: it alone is ever run.
func (k *Keeper) program() string {
	if p := k.cfg.Sendmail.Program; p != config.Default("").Sendmail.Program || k.rc.Program == "" {
		return p
	}
	return k.rc.Program
}

// acceptance says who may own the files: root, and whom sendmail.cf trusts or
// runs as. An unprivileged mailcertd serves an unprivileged sendmail.
func (k *Keeper) acceptance(obs plan.Observed) plan.Acceptance {
	acc := plan.Acceptance{Root: k.o.UID == 0, OwnersOK: []uint32{0}, Libssl: libssl()}
	if k.o.UID != 0 {
		acc.OwnersOK = append(acc.OwnersOK, k.o.UID)
	}
	cf := obs.CF
	if obs.RunningCF != nil {
		cf = *obs.RunningCF
	}
	for _, name := range []string{cf.RunAsUser, cf.TrustedUser} {
		if uid, ok := lookupUID(name); ok && !slices.Contains(acc.OwnersOK, uid) {
			acc.OwnersOK = append(acc.OwnersOK, uid)
		}
	}
	return acc
}

// lookupUID takes a name, a number, or "user:group" as RunAsUser allows.
func lookupUID(name string) (uint32, bool) {
	for i, r := range name {
		if r == ':' || r == '.' {
			name = name[:i]
			break
		}
	}
	if name == "" {
		return 0, false
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), true
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err == nil
}

func below(parents []durable.Node, root string) []durable.Node {
	resolved := durable.Look(root).Resolved
	for i, n := range parents {
		if n.Resolved == resolved || n.Path == root {
			return parents[:i]
		}
	}
	return parents
}
