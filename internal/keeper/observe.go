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
	obs := plan.Observed{Build: k.o.Build, Root: k.o.UID == 0, Host: k.o.Host(ctx)}
	k.rc = obs.Host.Sendmail
	k.observeParts(ctx, &obs, everything)
	return obs
}

// observeParts reads these parts again; the others stay what they are.
func (k *Keeper) observeParts(ctx context.Context, obs *plan.Observed, parts part) {
	obs.FailedNow = k.failedNow
	if parts&certsPart != 0 {
		k.observeCerts(obs)
	}
	if parts&statePart != 0 {
		k.observeState(obs)
	}
	if parts&issuerPart != 0 {
		name, _ := plan.HostName(k.cfg, obs.Host)
		obs.CA = k.database.Observe(k.cfg.CA.Dir, ca.Filter{Name: name, Serving: leaves(*obs)})
		k.observeCA(obs)
	}
	if parts&(statePart|issuerPart) != 0 {
		obs.Leftovers, obs.LeftoversErr = nil, nil
		k.observeLeftovers(obs)
	}
	if parts&sendmailPart != 0 {
		obs.CF = k.readCF()
		if submit := mta.ReadCF(filepath.Join(filepath.Dir(obs.CF.Path), "submit.cf")); submit.Node.Exists &&
			submit.Node.Err == nil {
			obs.Submit = &submit
		} else {
			obs.Submit = nil
		}
	}
	if parts&sendmailPart != 0 || !obs.MTA.Same() { // a sendmail that was started meanwhile is told too
		k.observeSendmail(ctx, obs)
		obs.Accept = k.acceptance(*obs) // whom it runs as and trusts, its sendmail.cf says
	}
	obs.Accept.Now = k.o.Now()
	if k.cfg.Root != "" && parts&certsPart != 0 && !plan.NamesOurs(obs.CF, obs.Certs) {
		// Below --root, what is above it is not part of the system looked at.
		obs.Certs.Parents = below(obs.Certs.Parents, k.cfg.Root)
	}
}

// part is a part of what is observed: what an action changes is read again after it.
type part uint

// The parts. What the system and rc.conf say of this host is asked once in a run.
const (
	certsPart    part = 1 << iota // the certs directory, its staging area, the bundles of trust
	statePart                     // the state directory, the backups
	issuerPart                    // the CA directory and its inbox; what another host's CA has answered
	sendmailPart                  // sendmail.cf and the sendmail that runs
	everything   = certsPart | statePart | issuerPart | sendmailPart
)

// touchedBy is what these actions may have changed, whether they were carried out, failed, or were cut short.
func touchedBy(actions []plan.Action) (parts part) {
	for _, act := range actions {
		switch act.Kind {
		case plan.StageKey, plan.Unstage:
			parts |= certsPart
		case plan.Obtain, plan.InitCA, plan.RedateCA, plan.NextCA, plan.PromoteCA, plan.PruneCA, plan.WriteCRL,
			plan.ReconcileCA,
			plan.MakeInbox, plan.Answer, plan.AcceptCA:
			parts |= issuerPart
		case plan.PruneBackup, plan.DeleteOldKey:
			parts |= statePart
		case plan.Install: // the CA is asked about the certificate that is served
			parts |= certsPart | statePart | issuerPart
		default: // such as a mode, which any of them may have
			parts |= everything
		}
	}
	return parts | statePart
}

func (k *Keeper) observeCerts(obs *plan.Observed) {
	var files certdir.Reader
	obs.Certs = files.Observe(k.cfg.Certs.Dir)
	obs.Trust = k.sources(&files)
	set := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	pending, err := set.Pending()
	if err == nil {
		err = pending.Err // nobody knows whether a change is committed: nothing is touched
	}
	if err != nil && obs.Certs.Err == nil {
		obs.Certs.Err = err
	}
	obs.Pending = pending
	obs.Staged, obs.StagedErr, obs.OtherStaged = pki.KeyFile{}, nil, nil
	for _, p := range certdir.Pairs() {
		if !slices.Contains(pending.Staged, p.KeyFile) {
			continue
		}
		if n := set.Staged(p.KeyFile); n.Err == nil {
			obs.SetStaged(p, plan.StagedKey{Key: pki.ReadKeyFile(n.Data)})
		} else if n.Unread() {
			obs.SetStaged(p, plan.StagedKey{Err: n.Err})
		}
	}
	obs.Host.Certified = ""
	if leaf := leafOf(*obs); leaf != nil {
		obs.Host.Certified = plan.CertNames(leaf)[0]
	}
}

func (k *Keeper) observeState(obs *plan.Observed) {
	obs.StateDir = durable.Look(k.cfg.State.Dir)
	obs.State, obs.Loaded = k.loadState()
	if obs.StateErr = k.stateErr; obs.StateErr == nil && obs.StateDir.Exists {
		obs.StateErr = durable.Writable(k.cfg.State.Dir)
	}
	obs.Archive, obs.ArchiveErr = durable.OpenArchive(k.o.Disk, k.archiveDir()).List()
}

// observeSendmail identifies the process that the pid file names. Below --root
// without a sendmail.cf there is nothing to identify.
func (k *Keeper) observeSendmail(ctx context.Context, obs *plan.Observed) {
	obs.RunningCF = nil
	if obs.CF.Missing && k.cfg.Root != "" {
		return
	}
	obs.MTA = mta.Identify(ctx, k.identifyOptions(obs.CF))
	// A stale pid file, or one of somebody else, names no cf that anybody reads.
	if cf := obs.MTA.CF; obs.MTA.Status.Serving() && cf != "" &&
		(cf != obs.CF.Path || !mta.SameOptions(obs.MTA.Argv, k.rc.Argv())) {
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
	o := mta.IdentifyOptions{PidFile: k.cfg.Sendmail.PidFile, Program: k.program(), Procname: k.rc.Procname,
		DefaultCF: k.cfg.Sendmail.CF}
	if o.PidFile == "" {
		// sendmail writes the one of its cf. rc.d/sendmail looks at its own, which has a default in
		// /etc/defaults/rc.conf: another value was set by somebody.
		if o.PidFile, o.Also = cf.PidFile, k.rc.PidFile; o.Also != "" && o.Also != mta.DefaultPidFile {
			o.PidFile, o.Also = o.Also, o.PidFile
		}
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
	acc := plan.Acceptance{Root: k.o.UID == 0, OwnersOK: []uint32{0}, Libssl: systemLibssl(mta.OpenSSLConf),
		Now: k.o.Now()}
	if k.o.UID != 0 {
		acc.OwnersOK = append(acc.OwnersOK, k.o.UID)
	}
	cf := obs.UsedCF()
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
