package keeper

import (
	"context"
	"os/user"
	"slices"
	"strconv"

	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// observeSendmail identifies the process that the pid file names. With --root and without a sendmail.cf below it there
// is no sendmail to identify.
func (ob *observer) observeSendmail(ctx context.Context, obs *plan.Observed) {
	obs.RunningCF = nil
	if obs.CF.Missing && ob.cfg.Root != "" {
		return
	}
	obs.MTA = mta.Identify(ctx, ob.identifyOptions(obs.CF))
	// The cf named by a stale pid file, or by that of another program, is not read by any sendmail.
	if cf := obs.MTA.CF; obs.MTA.Status.Serving() && cf != "" &&
		(cf != obs.CF.Path || !mta.SameOptions(obs.MTA.Argv, ob.rc.Argv())) {
		running := mta.ReadCF(cf, obs.MTA.Argv...)
		obs.RunningCF = &running
	}
}

// readCF reads the sendmail.cf that a sendmail started now would read, with the options of that start. mailcertd.yaml
// has precedence over rc.conf, and rc.conf over the defaults.
func (ob *observer) readCF() mta.CF {
	path, argv := ob.cfg.Sendmail.CF, ob.rc.Argv()
	if named := mta.ConfigFile(argv); named != "" && path == config.Default(ob.cfg.Root).Sendmail.CF {
		path = named
	}
	return mta.ReadCF(path, argv...)
}

func (ob *observer) identifyOptions(cf mta.CF) mta.IdentifyOptions {
	o := mta.IdentifyOptions{PidFile: ob.cfg.Sendmail.PidFile, Program: ob.program(), Procname: ob.rc.Procname,
		DefaultCF: ob.cfg.Sendmail.CF}
	if o.PidFile == "" {
		// sendmail writes the pid file that its cf names. rc.d/sendmail reads the one of rc.conf, which has a default
		// in /etc/defaults/rc.conf. Any other value there was set by the administrator and is tried first.
		if o.PidFile, o.Also = cf.PidFile, ob.rc.PidFile; o.Also != "" && o.Also != mta.DefaultPidFile {
			o.PidFile, o.Also = o.Also, o.PidFile
		}
	}
	return o
}

// program returns the path of the sendmail that is configured. mailcertd runs no other one.
func (ob *observer) program() string {
	if p := ob.cfg.Sendmail.Program; p != config.Default("").Sendmail.Program || ob.rc.Program == "" {
		return p
	}
	return ob.rc.Program
}

// acceptance says which users may own the files: root, and the users that sendmail.cf trusts or that sendmail runs as.
// If mailcertd itself is unprivileged, its own user may own them too.
func (ob *observer) acceptance(obs plan.Observed) plan.Acceptance {
	acc := plan.Acceptance{Root: ob.o.UID == 0, OwnersOK: []uint32{0}, Libssl: systemLibssl(mta.OpenSSLConf),
		Now: ob.o.Now()}
	if ob.o.UID != 0 {
		acc.OwnersOK = append(acc.OwnersOK, ob.o.UID)
	}
	cf := obs.UsedCF()
	for _, name := range []string{cf.RunAsUser, cf.TrustedUser} {
		if uid, ok := lookupUID(name); ok && !slices.Contains(acc.OwnersOK, uid) {
			acc.OwnersOK = append(acc.OwnersOK, uid)
		}
	}
	return acc
}

// lookupUID returns the user ID for a name, a number, or "user:group" as RunAsUser allows; false means that there is no
// such user.
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
