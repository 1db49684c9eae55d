package given

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"crypto/x509"
	"crypto/x509/pkix"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
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

// NoCAFile deletes cacert.pem.
func NoCAFile() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.CA.Node, &h.Seen.Certs.CA.File.Err) })
}

// BadCAFile is a cacert.pem that OpenSSL cannot load.
func BadCAFile(err error) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.CA
		e.File, e.Digest = pki.CertFile{Err: err}, digest(err.Error())
		for i := range h.Seen.Certs.Links {
			h.Seen.Certs.Links[i].Loads, h.Seen.Certs.Links[i].Right = false, false
		}
	})
}

// CAFilePassed is a cacert.pem with a part that Go cannot read.
func CAFilePassed() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.CA.File.Passed, o.Certs.CA.File.Err = 1, pki.ErrUnsupported
		o.Certs.CA.Digest = digest("passed")
	})
}

// CAFile sets the CAs in cacert.pem, by their labels.
func CAFile(labels ...string) Fact {
	return func(h *host) {
		h.cacert = labels
		for _, l := range labels {
			if h.cas[l] == nil {
				h.cas[l] = rootOf(l, subjectOf("Others", l), h.Now.Add(-300*Day), h.Now.Add(3000*Day))
			}
		}
		h.since = append(h.since, func(h *host) { h.Seen.Certs.CA.Digest = digest(strings.Join(labels, " ")) })
	}
}

// CAFileIsLink is a cacert.pem that a person has replaced by a link to a bundle.
func CAFileIsLink() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.CA.Node.Kind, o.Certs.CA.Node.Target = durable.Link, "/etc/ssl/bundle.pem"
		o.Certs.CA.Digest = digest("a bundle")
	})
}

// NoLinks deletes the hash links.
func NoLinks() Fact { return Seeing(func(o *plan.Observed) { o.Certs.Links = nil }) }

// StaleLink is a link to cacert.pem with the hash of another subject.
func StaleLink() Fact {
	return later(func(h *host) {
		l := h.hashLink("0a1b2c3d.0", 0x0a1b2c3d, certdir.CAName, nil)
		l.Right = false
		h.Seen.Certs.Links = append(h.Seen.Certs.Links, l)
	})
}

// LinkIsFIFO is a FIFO with the name of a hash link.
func LinkIsFIFO() Fact {
	return Seeing(func(o *plan.Observed) {
		n := durable.Node{Path: Certs + "/0a1b2c3d.0", Kind: durable.Other, Exists: true, Waits: true}
		o.Certs.Links = append(o.Certs.Links, certdir.Link{Name: "0a1b2c3d.0", Hash: 0x0a1b2c3d, Node: n})
	})
}

// LinkIsDirectory is a directory with the name of a hash link.
func LinkIsDirectory() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.Links = append(o.Certs.Links, certdir.Link{Name: "0a1b2c3d.0", Hash: 0x0a1b2c3d,
			Node: directory(Certs+"/0a1b2c3d.0", 0o755)})
	})
}

// NoDH deletes dh.param.
func NoDH() Fact { return later(func(h *host) { h.gone(&h.Seen.Certs.DH.Node, new(error)) }) }

// DH sets the content of dh.param: the name of an RFC 7919 group, or any text.
func DH(text string) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs.DH
		d.Node.Data = []byte(text)
		if g, err := dh.Group(text); err == nil {
			d.Node.Data = g.PEM()
		}
		d.Node.Size, d.Digest = int64(len(d.Node.Data)), digest(string(d.Node.Data))
	})
}

// Group configures `dh`.
func Group(name string) Fact { return Configured(func(c *config.Config) { c.DH = name }) }

// DHIsLink makes dh.param a link to a file elsewhere.
func DHIsLink() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.DH.Node.Kind, o.Certs.DH.Node.Target = durable.Link, "/etc/dh.pem" })
}

// AskedGroup is a wish for these Diffie-Hellman parameters.
func AskedGroup(name string) Fact { return Wish(func(w *plan.Wish) { w.Group, w.Once = name, true }) }

// Trusts configures a bundle in `trust:` with the CAs of these labels; the file changed so long ago.
func Trusts(age time.Duration, labels ...string) Fact {
	return later(func(h *host) {
		s := plan.TrustSource{Name: "/etc/ssl/partners.pem", Bundle: certdir.Bundle{Path: "/etc/ssl/partners.pem",
			Changed: h.Now.Add(-age)}}
		for _, l := range labels {
			s.Certs = append(s.Certs, partner(l))
		}
		h.Seen.Trust = append(h.Seen.Trust, s)
	})
}

func partner(label string) *x509.Certificate {
	return rootOf(label, pkix.Name{Organization: []string{"Partner"}, CommonName: label}, Now.Add(-500*Day),
		Now.Add(2000*Day))
}

// TrustSource changes that bundle.
func TrustSource(change func(*plan.TrustSource)) Fact {
	return Seeing(func(o *plan.Observed) { change(&o.Trust[0]) })
}

// Linked puts the CAs of these labels into trust/ and makes their links, as mailcertd does.
func Linked(labels ...string) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs
		d.TrustNode = directory(Certs+"/trust", 0o755)
		for _, l := range labels {
			c := partner(l)
			e := h.certs(plan.TrustFile(c), pki.ReadCertFile, c)
			d.Trust = append(d.Trust, e)
		}
		h.link()
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
