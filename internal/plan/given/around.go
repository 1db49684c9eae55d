package given

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Wish sets what a person asks for, about the installed certificate.
func Wish(do func(*plan.Wish)) Fact {
	return later(func(h *host) {
		if cs := h.Seen.Certs.Cert.File.Certs; len(cs) > 0 {
			h.World.Wish.From = pki.Fingerprint(cs[0])
		}
		h.World.Wish.FromKey = pki.KeyFingerprint(h.Seen.Certs.Key.Key.Public)
		do(&h.World.Wish)
	})
}

// Renew asks for a renewal.
func Renew() Fact { return Wish(func(w *plan.Wish) { w.Renew, w.Once = true, true }) }

// Rekey asks for a new key.
func Rekey() Fact { return Wish(func(w *plan.Wish) { w.Renew, w.Rekey, w.Once = true, true, true }) }

// Force asks for a renewal that also replaces a set of another CA.
func Force() Fact { return Wish(func(w *plan.Wish) { w.Renew, w.Force, w.Once = true, true, true }) }

// Once is a verb that looks once and ends, in place of the daemon.
func Once() Fact { return Wish(func(w *plan.Wish) { w.Once = true }) }

// TrustClock is `renew --trust-clock`: a person says that the clock is right.
func TrustClock() Fact { return Wish(func(w *plan.Wish) { w.TrustClock = true }) }

// NoIssuer configures `issuer: none`.
func NoIssuer() Fact { return Configured(func(c *config.Config) { c.Issuer.Kind = config.IssuerNone }) }

// HostName configures host.name.
func HostName(name string) Fact { return Configured(func(c *config.Config) { c.Host.Name = name }) }

// System sets the system's host name.
func System(name string) Fact { return Seeing(func(o *plan.Observed) { o.Host.System = name }) }

// NameSeenFor notes in the state that the system has had this name for so long.
func NameSeenFor(name string, d time.Duration) Fact {
	return later(func(h *host) { h.Seen.State.Name = state.NameSeen{Name: name, Since: h.Now.Add(-d)} })
}

// RCUnreadable makes sysrc fail, which reads rc.conf.
func RCUnreadable() Fact {
	return Seeing(func(o *plan.Observed) { o.Host.RCErr, o.Host.Certified = errors.New("sysrc: exit status 1"), Name })
}

// ClockIs makes the clock wrong by off.
func ClockIs(off time.Duration) Fact {
	return later(func(h *host) { h.Now = h.Now.Add(off); h.Seen.Accept.Now = h.Now })
}

// DoubtLasted notes in the state that the clock has been doubted for so long.
func DoubtLasted(word string, d time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.State.Clock = state.Clock{Doubt: word, Since: h.Now.Add(-d), Seen: h.Now.Add(-time.Minute),
			Lasted: int(d / time.Second)}
	})
}

// MarkAgo sets the last time that was believed.
func MarkAgo(d time.Duration) Fact {
	return later(func(h *host) { h.Seen.State.HighWater = h.Now.Add(-d) })
}

// StateLost empties the state.
func StateLost() Fact { return Seeing(func(o *plan.Observed) { o.State = state.State{} }) }

// Loaded sets the result of reading the state file.
func Loaded(l state.Loaded) Fact { return Seeing(func(o *plan.Observed) { o.Loaded = l }) }

// StateUnwritable puts the state directory on a read-only file system.
func StateUnwritable() Fact {
	return Seeing(func(o *plan.Observed) { o.StateErr = &fs.PathError{Op: "open", Path: StateDir, Err: syscall.EROFS} })
}

// StateDirIs changes the state directory itself.
func StateDirIs(change func(*durable.Node)) Fact {
	return Seeing(func(o *plan.Observed) { change(&o.StateDir) })
}

// StateInMemory puts the state directory on a memory file system.
func StateInMemory() Fact { return Seeing(func(o *plan.Observed) { o.StateInMemory = "tmpfs" }) }

// ACMEFile is a file in the directory of the accounts at ACME CAs; change makes it other than it must be.
func ACMEFile(change func(*durable.Node)) Fact {
	return Seeing(func(o *plan.Observed) {
		if o.ACMEFiles == nil {
			o.ACMEFiles = []durable.Node{directory(StateDir+"/acme", 0o700)}
		}
		n := durable.Node{Path: StateDir + "/acme/ca.example.key", Kind: durable.File, Exists: true, IsRegular: true,
			Mode: 0o600, Nlink: 1}
		change(&n)
		o.ACMEFiles = append(o.ACMEFiles, n)
	})
}

// Failed is an action that has failed count times and is tried again after next.
func Failed(key string, count int, next time.Duration) Fact {
	return later(func(h *host) {
		if h.Seen.State.Failures == nil {
			h.Seen.State.Failures = map[string]state.Failure{}
		}
		h.Seen.State.Failures[key] = state.Failure{Count: count, First: h.Now.Add(-time.Hour),
			Last: h.Now.Add(-time.Minute), Next: h.Now.Add(next), Error: "input/output error"}
	})
}

// FailedNow is an action that has failed in this very run.
func FailedNow(key string) Fact {
	return Seeing(func(o *plan.Observed) { o.FailedNow = map[string]bool{key: true} })
}

// Remembers changes the state where no other fact does.
func Remembers(do func(*state.State)) Fact { return Seeing(func(o *plan.Observed) { do(&o.State) }) }

// Sendmail sets the result of identifying the running sendmail.
func Sendmail(status mta.Status) Fact {
	return Seeing(func(o *plan.Observed) {
		o.MTA.Status, o.MTA.Detail = status, status.String()
		if status == mta.NotRunning {
			o.MTA = mta.Identity{PidFile: o.MTA.PidFile}
		}
	})
}

// SendmailStarted lets another sendmail process run, which started so long ago.
func SendmailStarted(ago time.Duration) Fact {
	return later(func(h *host) {
		i := &h.Seen.MTA.Instance
		i.PID, i.PIDFileID, i.Started = 4711, "1:2:4", h.Now.Add(-ago)
		h.Seen.MTA.PID = i.PID
	})
}

// PickupPending means that the running sendmail has not picked up the set yet.
func PickupPending(change ...func(*state.Pickup)) Fact {
	return later(func(h *host) {
		i := plan.Instance(h.Seen.MTA)
		d := &state.Pickup{Set: plan.SetID(h.Seen.Certs), Leaf: h.Seen.State.PickedUp.Leaf,
			Since:    h.Now.Add(-time.Hour),
			Instance: i, WasUp: true}
		for _, f := range change {
			f(d)
		}
		h.Seen.State.Pickup = d
		h.Seen.State.PickedUp.Set = "another"
	})
}

// NeverPickedUp means that the state does not say whether sendmail has ever read the set.
func NeverPickedUp() Fact {
	return Seeing(func(o *plan.Observed) { o.State.PickedUp = state.PickedUp{} })
}

// ChangedAgo sets how long ago all files of the set changed.
func ChangedAgo(d time.Duration) Fact { return func(h *host) { h.age = d } }

// NoCF is a host without sendmail.cf.
func NoCF() Fact {
	return Seeing(func(o *plan.Observed) { o.CF = mta.CF{Path: o.CF.Path, Missing: true} })
}

// CF is a sendmail.cf with only these lines.
func CF(lines ...string) Fact {
	return Seeing(func(o *plan.Observed) {
		c := mta.ParseCF([]byte(strings.Join(lines, "\n") + "\n"))
		c.Path, c.Node = o.CF.Path, o.CF.Node
		o.CF = c
	})
}

// CFAlso is a sendmail.cf that names the files of the certs directory and then has these lines.
func CFAlso(lines ...string) Fact {
	return Seeing(func(o *plan.Observed) { o.CF = cf(Certs, lines...) })
}

// CFProblem is a sendmail.cf of which a part could not be read.
func CFProblem(text string) Fact {
	return Seeing(func(o *plan.Observed) { o.CF.Problems = append(o.CF.Problems, text) })
}

// RunningCF lets the running sendmail use another cf, which names the files of dir.
func RunningCF(dir string) Fact {
	return Seeing(func(o *plan.Observed) { c := cf(dir); c.Path = "/etc/mail/other.cf"; o.RunningCF = &c })
}

// SubmitCF is a submit.cf with these lines.
func SubmitCF(lines ...string) Fact {
	return Seeing(func(o *plan.Observed) {
		c := mta.ParseCF([]byte(strings.Join(lines, "\n") + "\n"))
		c.Path = "/etc/mail/submit.cf"
		o.Submit = &c
	})
}

// Libssl sets the OpenSSL release with which sendmail is linked.
func Libssl(l pki.Libssl) Fact { return Seeing(func(o *plan.Observed) { o.Accept.Libssl = l }) }

// Unprivileged lets mailcertd run without root, so that it cannot change owners.
func Unprivileged() Fact { return Seeing(func(o *plan.Observed) { o.Root = false }) }

// Notify configures a command. last is the set for which it last ran: "" means none, "this" means the present one.
func Notify(last string) Fact {
	return func(h *host) {
		h.Config.Notify = append(h.Config.Notify, []string{"service", "dovecot", "reload"})
		h.since = append(h.since, func(h *host) {
			if last == "this" {
				last = plan.SetID(h.Seen.Certs)
			}
			if last != "" {
				h.Seen.State.Notified = map[string]string{"service dovecot reload": last}
			}
		})
	}
}

// NotifyPending is such a command that has failed so often and is tried again in a minute.
func NotifyPending(attempts int) Fact {
	return later(func(h *host) {
		h.Seen.State.Notify = map[string]*state.NotifyPending{"service dovecot reload": {Set: plan.SetID(h.Seen.Certs),
			Attempts: attempts,
			Next:     h.Now.Add(time.Minute), LastError: "exit status 1"}}
	})
}

// Leftover is an unused file in a directory of mailcertd.
func Leftover(l plan.Leftover, age time.Duration) Fact {
	return later(func(h *host) {
		if age > 0 {
			l.Since = h.Now.Add(-age)
		}
		h.Seen.Leftovers = append(h.Seen.Leftovers, l)
	})
}

// Backups is so many backups of our own sets.
func Backups(n int) Fact {
	return Seeing(func(o *plan.Observed) {
		for i := range n {
			o.Backups = append(o.Backups, durable.Backup{ID: "2026-05-" + string(rune('a'+n-i))})
		}
	})
}

// OldKey is a replaced key in a backup that is deleted after that time; zero where sendmail does not use the new key
// yet.
func OldKey(after time.Duration) Fact {
	return later(func(h *host) {
		k := state.OldKey{Backup: "2026-05-01", Name: certdir.KeyName}
		if after != 0 {
			k.After = h.Now.Add(after)
		}
		h.Seen.State.OldKeys = append(h.Seen.State.OldKeys, k)
	})
}

// Interrupted is a change that was interrupted after its commit, with a journal, or before it, with staged files alone.
func Interrupted(committed bool) Fact {
	return Seeing(func(o *plan.Observed) {
		o.Pending = durable.Pending{Journal: committed, Staged: []string{certdir.CertName}}
	})
}

// WithDaemon is asked for by a person, and that is what is known of the daemon.
func WithDaemon(is plan.Daemon) Fact { return later(func(h *host) { h.Seen.Daemon = is }) }
