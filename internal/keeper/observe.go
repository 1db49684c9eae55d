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
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// observer reads everything that a decision is based on: the disk, the private CA, sendmail, and the state.
type observer struct {
	*base
	run        *run
	state      *stateFile
	candidates *candidates
	ca         *PrivateCA
	// rc says how rc.conf starts sendmail, as of the last full look.
	rc mta.RC
	// locked says that this process holds the lock of the changes, so that no other one writes what it guards.
	locked bool
}

// observe reads everything that a decision may be based on. It changes nothing and decides nothing.
func (ob *observer) observe(ctx context.Context) plan.Observed {
	obs := plan.Observed{Build: ob.o.Build, Root: ob.o.UID == 0, Host: ob.o.Host(ctx)}
	ob.rc = obs.Host.Sendmail
	ob.observeParts(ctx, &obs, everything)
	return obs
}

// observeParts reads these parts again and leaves the others as they are.
func (ob *observer) observeParts(ctx context.Context, obs *plan.Observed, parts part) {
	obs.FailedNow = ob.run.failed
	if parts&certsPart != 0 {
		ob.observeCerts(obs)
	}
	if parts&statePart != 0 {
		ob.observeState(obs)
	}
	if parts&issuerPart != 0 {
		name, _ := plan.HostName(ob.cfg, obs.Host)
		filter := ca.Filter{Name: name, Serving: leaves(*obs)}
		if ob.o.Overview {
			filter.Overview = ob.o.Now()
		}
		obs.CA = ob.ca.database.Observe(ob.cfg.CA.Dir, filter)
		ob.observeCA(obs)
	}
	if parts&(statePart|issuerPart) != 0 {
		obs.Leftovers, obs.LeftoversErr = nil, nil
		ob.observeLeftovers(obs)
	}
	if parts&sendmailPart != 0 {
		obs.CF = ob.readCF()
		if submit := mta.ReadCF(filepath.Join(filepath.Dir(obs.CF.Path), "submit.cf")); submit.Node.Exists &&
			submit.Node.Err == nil {
			obs.Submit = &submit
		} else {
			obs.Submit = nil
		}
		obs.Access = mta.AccessMap{}
		if plan.Obtains(ob.cfg, config.IssuerACME) {
			obs.Access = mta.ReadAccess(obs.CF)
		}
	}
	// A sendmail that was started since the last look has to be told too.
	if parts&sendmailPart != 0 || !obs.MTA.Same() {
		ob.observeSendmail(ctx, obs)
		obs.Accept = ob.acceptance(*obs) // sendmail.cf says whom sendmail runs as and trusts
	}
	obs.Accept.Now = ob.o.Now()
	if ob.cfg.Root != "" && parts&certsPart != 0 && !plan.NamesOurs(obs.CF, obs.Certs) {
		// With --root, the directories above it do not belong to the system that is looked at.
		obs.Certs.Parents = below(obs.Certs.Parents, ob.cfg.Root)
	}
}

// part is a set of bits. Each bit is a part of the observation that is read again after an action may have changed it.
type part uint

// The parts. The host's name and the settings of rc.conf are in none of them: they are asked once in a run.
const (
	certsPart    part = 1 << iota // The certs directory, its staging area, the bundles of `trust:`.
	statePart                     // the state directory and the backups
	issuerPart                    // the CA directory and its inbox; the answers of an issuer on another host
	sendmailPart                  // sendmail.cf and the sendmail that runs
	everything   = certsPart | statePart | issuerPart | sendmailPart
)

// touchedBy returns the parts that these actions may have changed, whether they succeeded, failed or were interrupted.
func touchedBy(actions []plan.Action) (parts part) {
	for _, act := range actions {
		switch act.Kind {
		case plan.StageKey, plan.Unstage:
			parts |= certsPart
		case plan.Obtain, plan.InitCA, plan.RedateCA, plan.NextCA, plan.PromoteCA, plan.PruneCA, plan.WriteCRL,
			plan.ReconcileCA,
			plan.MakeInbox, plan.Answer, plan.AcceptCA:
			parts |= issuerPart
		case plan.PruneBackup, plan.DeleteOldKey, plan.MoveBackups:
			parts |= statePart
		case plan.Install: // Install marks a certificate as installed, which changes what is asked of the CA
			parts |= certsPart | statePart | issuerPart
		default: // for example a mode: it may have been changed anywhere
			parts |= everything
		}
	}
	return parts | statePart
}

func (ob *observer) observeCerts(obs *plan.Observed) {
	var files certdir.Reader
	obs.Certs = files.Observe(ob.cfg.Certs.Dir)
	obs.Trust = ob.sources(&files)
	set := durable.OpenSet(ob.o.Disk, ob.cfg.Certs.Dir)
	pending, err := set.Pending()
	if err == nil {
		err = pending.Err // nobody knows whether a change was committed, so nothing is changed
	}
	if err != nil && obs.Certs.Err == nil {
		obs.Certs.Err = err
	}
	obs.Pending = pending
	obs.Staged = map[string]plan.StagedKey{}
	for _, p := range certdir.Pairs() {
		if !slices.Contains(pending.Staged, p.KeyFile) {
			continue
		}
		if n := set.Staged(p.KeyFile); n.Err == nil {
			obs.Staged[p.Name] = plan.StagedKey{Key: pki.ReadKeyFile(n.Data)}
		} else if n.Unread() {
			obs.Staged[p.Name] = plan.StagedKey{Err: n.Err}
		}
	}
	obs.Host.Certified = ""
	if leaf := leafOf(*obs); leaf != nil {
		obs.Host.Certified = plan.CertNames(leaf)[0]
	}
}

func (ob *observer) observeState(obs *plan.Observed) {
	obs.StateDir = durable.Look(ob.cfg.State.Dir)
	obs.State, obs.Loaded = ob.state.loadState()
	if obs.StateErr = ob.state.stateErr; obs.StateErr == nil && obs.StateDir.Exists {
		obs.StateErr = durable.Writable(ob.cfg.State.Dir)
	}
	obs.ACMEFiles, obs.StateInMemory, obs.Traces = ob.acmeFiles(), "", nil
	if len(obs.ACMEFiles) > 0 { // notes that cannot be read are reported by the next order
		obs.Traces, _ = acme.Traces(acmeStore{ob.o.Disk, obs.ACMEFiles[0].Path})
	}
	if plan.Obtains(ob.cfg, config.IssuerACME) && ob.cfg.Root == "" {
		obs.StateInMemory = durable.InMemory(ob.cfg.State.Dir)
	}
	backups := ob.backups()
	obs.Backups, obs.BackupsErr = backups.List()
	if obs.FormerBackups = ""; backups.Former() {
		obs.FormerBackups = ob.statePath(state.FormerBackupsDir)
	}
}

// observeCA reads what else a CA needs: on the CA host the passphrase, the inbox and the members' account, and with an
// issuer on another host that issuer's answers.
func (ob *observer) observeCA(obs *plan.Observed) {
	obs.Passphrase, obs.Inbox, obs.Account = plan.Passphrase{}, inbox.Box{}, plan.Account{GID: -1}
	obs.Reply, obs.ReplyErr, obs.OtherReplies, obs.Accepted, obs.AcceptedErr = issuer.Reply{}, nil, nil, nil, nil
	if plan.Obtains(ob.cfg, config.IssuerSSH) {
		ob.candidates.observeAnswer(obs)
	}
	obs.Orders, obs.OrderErrs = nil, nil
	if plan.Obtains(ob.cfg, config.IssuerACME) {
		ob.candidates.observeOrders(obs)
	}
	if !plan.Obtains(ob.cfg, config.IssuerLocal) {
		return
	}
	ob.ca.observePassphrase(obs)
	members := len(obs.CA.Members) > 0
	if members || durable.Look(ob.cfg.CA.Inbox).IsDir {
		if members && ob.cfg.Root == "" {
			obs.Account = account(ob.cfg.CA.Account)
		}
		obs.Inbox = inbox.Look(ob.cfg.CA.Inbox, obs.Account.GID, ob.o.Now())
	}
}

func account(name string) plan.Account {
	a := plan.Account{Name: name, GID: -1}
	u, err := user.Lookup(name)
	if err != nil {
		a.Missing = true
		return a
	}
	if gid, err := strconv.Atoi(u.Gid); err == nil {
		a.GID = gid
	}
	return a
}

func below(parents []durable.Node, root string) []durable.Node {
	resolved := durable.Look(root).Located().Resolved
	for i, n := range parents {
		if n.Resolved == resolved || n.Path == root {
			return parents[:i]
		}
	}
	return parents
}
