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

// Wish is what a person asks for, about the certificate that is there.
func Wish(do func(*plan.Wish)) Fact {
	return later(func(h *host) {
		if cs := h.Seen.Certs.Cert.File.Certs; len(cs) > 0 {
			h.World.Wish.From = pki.Fingerprint(cs[0])
		}
		h.World.Wish.FromKey = pki.KeyFingerprint(h.Seen.Certs.Key.Key.Public)
		do(&h.World.Wish)
	})
}

// Renew, Rekey, Force and Once are wishes.
func Renew() Fact { return Wish(func(w *plan.Wish) { w.Renew, w.Once = true, true }) }

// Rekey asks for a new key.
func Rekey() Fact { return Wish(func(w *plan.Wish) { w.Renew, w.Rekey, w.Once = true, true, true }) }

// Force asks for a renewal over a foreign set.
func Force() Fact { return Wish(func(w *plan.Wish) { w.Renew, w.Force, w.Once = true, true, true }) }

// Once is a verb, which nobody comes back after.
func Once() Fact { return Wish(func(w *plan.Wish) { w.Once = true }) }

// TrustClock says that the clock is right.
func TrustClock() Fact { return Wish(func(w *plan.Wish) { w.TrustClock = true }) }

// NoIssuer is `issuer: none`.
func NoIssuer() Fact { return Configured(func(c *config.Config) { c.Issuer.Kind = config.IssuerNone }) }

// HostName is host.name in mailcertd.yaml.
func HostName(name string) Fact { return Configured(func(c *config.Config) { c.Host.Name = name }) }

// System is the system's host name.
func System(name string) Fact { return Seeing(func(o *plan.Observed) { o.Host.System = name }) }

// NameSeenFor is since when the system's name has been seen.
func NameSeenFor(name string, d time.Duration) Fact {
	return later(func(h *host) { h.Seen.State.Name = state.NameSeen{Name: name, Since: h.Now.Add(-d)} })
}

// RCUnreadable is an rc.conf that cannot be asked.
func RCUnreadable() Fact {
	return Seeing(func(o *plan.Observed) { o.Host.RCErr, o.Host.Certified = errors.New("sysrc: exit status 1"), Name })
}

// ClockIs moves the clock, from what it should be.
func ClockIs(off time.Duration) Fact {
	return later(func(h *host) { h.Now = h.Now.Add(off); h.Seen.Accept.Now = h.Now })
}

// DoubtLasted is how long a doubted clock has run on, as it is noted.
func DoubtLasted(word string, d time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.State.Clock = state.Clock{Doubt: word, Since: h.Now.Add(-d), Seen: h.Now.Add(-time.Minute),
			Lasted: int(d / time.Second)}
	})
}

// MarkAgo is when the clock was last believed.
func MarkAgo(d time.Duration) Fact {
	return later(func(h *host) { h.Seen.State.HighWater = h.Now.Add(-d) })
}

// StateLost is a host that remembers nothing.
func StateLost() Fact { return Seeing(func(o *plan.Observed) { o.State = state.State{} }) }

// Loaded is what became of the state file.
func Loaded(l state.Loaded) Fact { return Seeing(func(o *plan.Observed) { o.Loaded = l }) }

// StateUnwritable is a state directory in which nothing can be written.
func StateUnwritable() Fact {
	return Seeing(func(o *plan.Observed) { o.StateErr = &fs.PathError{Op: "open", Path: StateDir, Err: syscall.EROFS} })
}

// StateDirIs is the state directory itself.
func StateDirIs(change func(*durable.Node)) Fact {
	return Seeing(func(o *plan.Observed) { change(&o.StateDir) })
}

// Failed is an action that has failed so often and is tried again then.
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

// Remembers changes what is remembered in any other way.
func Remembers(do func(*state.State)) Fact { return Seeing(func(o *plan.Observed) { do(&o.State) }) }

// Sendmail is the sendmail that runs.
func Sendmail(status mta.Status) Fact {
	return Seeing(func(o *plan.Observed) {
		o.MTA.Status, o.MTA.Detail = status, status.String()
		if status == mta.NotRunning {
			o.MTA = mta.Identity{PidFile: o.MTA.PidFile}
		}
	})
}

// SendmailStarted is a sendmail that was started so long ago, with another pid than before.
func SendmailStarted(ago time.Duration) Fact {
	return later(func(h *host) {
		i := &h.Seen.MTA.Instance
		i.PID, i.PIDFileID, i.Started = 4711, "1:2:4", h.Now.Add(-ago)
		h.Seen.MTA.PID = i.PID
	})
}

// PickupPending says that the sendmail that runs has not yet picked up the set.
func PickupPending(change ...func(*state.Pickup)) Fact {
	return later(func(h *host) {
		i := plan.Instance(h.Seen.MTA)
		d := &state.Pickup{Set: plan.SetID(h.Seen.Certs), Leaf: h.Seen.State.Delivered.Leaf,
			Since:    h.Now.Add(-time.Hour),
			Instance: i, WasUp: true}
		for _, f := range change {
			f(d)
		}
		h.Seen.State.Pickup = d
		h.Seen.State.Delivered.Set = "another"
	})
}

// NeverDelivered is a set of which nobody knows whether sendmail reads it.
func NeverDelivered() Fact {
	return Seeing(func(o *plan.Observed) { o.State.Delivered = state.Delivered{} })
}

// ChangedAgo has all files of the set changed so long ago.
func ChangedAgo(d time.Duration) Fact { return func(h *host) { h.age = d } }

// NoCF is a host without sendmail.cf.
func NoCF() Fact {
	return Seeing(func(o *plan.Observed) { o.CF = mta.CF{Path: o.CF.Path, Missing: true} })
}

// CF is a sendmail.cf with these lines alone.
func CF(lines ...string) Fact {
	return Seeing(func(o *plan.Observed) {
		c := mta.ParseCF([]byte(strings.Join(lines, "\n") + "\n"))
		c.Path, c.Node = o.CF.Path, o.CF.Node
		o.CF = c
	})
}

// CFAlso is a sendmail.cf that names what is kept here, and these lines behind it.
func CFAlso(lines ...string) Fact {
	return Seeing(func(o *plan.Observed) { o.CF = cf(Certs, lines...) })
}

// CFProblem is one of which something could not be read.
func CFProblem(text string) Fact {
	return Seeing(func(o *plan.Observed) { o.CF.Problems = append(o.CF.Problems, text) })
}

// RunningCF is the cf of a sendmail that was started with another.
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

// Libssl is the OpenSSL that sendmail is linked with.
func Libssl(l pki.Libssl) Fact { return Seeing(func(o *plan.Observed) { o.Accept.Libssl = l }) }

// Unprivileged is a mailcertd that may not change owners.
func Unprivileged() Fact { return Seeing(func(o *plan.Observed) { o.Root = false }) }

// Notify is a configured command, and the set that it was last told of: "" for none, "this" for the present one.
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

// NotifyPending is one that has failed so often, and is tried again in a minute.
func NotifyPending(attempts int) Fact {
	return later(func(h *host) {
		h.Seen.State.Notify = map[string]*state.NotifyPending{"service dovecot reload": {Set: plan.SetID(h.Seen.Certs),
			Attempts: attempts,
			Next:     h.Now.Add(time.Minute), LastError: "exit status 1"}}
	})
}

// NoCAFile has cacert.pem deleted.
func NoCAFile() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.CA.Node, &h.Seen.Certs.CA.File.Err) })
}

// BadCAFile is a cacert.pem of which OpenSSL can make nothing.
func BadCAFile(err error) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.CA
		e.File, e.Digest = pki.CertFile{Err: err}, digest(err.Error())
		for i := range h.Seen.Certs.Links {
			h.Seen.Certs.Links[i].Loads, h.Seen.Certs.Links[i].Right = false, false
		}
	})
}

// CAFilePassed is a cacert.pem of which a part is of a form that Go cannot read.
func CAFilePassed() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.CA.File.Passed, o.Certs.CA.File.Err = 1, pki.ErrUnsupported
		o.Certs.CA.Digest = digest("passed")
	})
}

// CAFile is what is in cacert.pem, by the labels of the CAs.
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

// CAFileIsLink is a cacert.pem that a person has made a link to a bundle.
func CAFileIsLink() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.CA.Node.Kind, o.Certs.CA.Node.Target = durable.Link, "/etc/ssl/bundle.pem"
		o.Certs.CA.Digest = digest("a bundle")
	})
}

// NoLinks has the hash links deleted.
func NoLinks() Fact { return Seeing(func(o *plan.Observed) { o.Certs.Links = nil }) }

// StaleLink is a link to cacert.pem under another hash.
func StaleLink() Fact {
	return later(func(h *host) {
		l := h.hashLink("0a1b2c3d.0", 0x0a1b2c3d, certdir.CAName, nil)
		l.Right = false
		h.Seen.Certs.Links = append(h.Seen.Certs.Links, l)
	})
}

// LinkIsFIFO is a FIFO under the name of a hash link.
func LinkIsFIFO() Fact {
	return Seeing(func(o *plan.Observed) {
		n := durable.Node{Path: Certs + "/0a1b2c3d.0", Kind: durable.Other, Exists: true, Waits: true}
		o.Certs.Links = append(o.Certs.Links, certdir.Link{Name: "0a1b2c3d.0", Hash: 0x0a1b2c3d, Node: n})
	})
}

// LinkIsDirectory is a directory there.
func LinkIsDirectory() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.Links = append(o.Certs.Links, certdir.Link{Name: "0a1b2c3d.0", Hash: 0x0a1b2c3d,
			Node: directory(Certs+"/0a1b2c3d.0", 0o755)})
	})
}

// NoDH has dh.param deleted.
func NoDH() Fact { return later(func(h *host) { h.gone(&h.Seen.Certs.DH.Node, new(error)) }) }

// DH is what dh.param holds: a group of RFC 7919, or any text.
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

// Group is `dh` in the configuration.
func Group(name string) Fact { return Configured(func(c *config.Config) { c.DH = name }) }

// Trusts is a bundle of `trust:` with the CAs of these labels, changed so long ago.
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

// Linked puts the CAs of these labels into trust/ with their links, as mailcertd puts them there.
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

// Leftover is something that is in a directory of ours and that nobody uses.
func Leftover(l plan.Leftover, age time.Duration) Fact {
	return later(func(h *host) {
		if age > 0 {
			l.Since = h.Now.Add(-age)
		}
		h.Seen.Leftovers = append(h.Seen.Leftovers, l)
	})
}

// Backups are backups of our own.
func Backups(n int) Fact {
	return Seeing(func(o *plan.Observed) {
		for i := range n {
			o.Archive = append(o.Archive, durable.Backup{ID: "2026-05-" + string(rune('a'+n-i))})
		}
	})
}

// OldKey is a replaced key in a backup; after is when it is deleted, from now; zero: its successor is not in use yet.
func OldKey(after time.Duration) Fact {
	return later(func(h *host) {
		k := state.OldKey{Backup: "2026-05-01", Name: certdir.KeyName}
		if after != 0 {
			k.After = h.Now.Add(after)
		}
		h.Seen.State.OldKeys = append(h.Seen.State.OldKeys, k)
	})
}

// Interrupted is a change that was interrupted: its journal is there when committed, else what it staged.
func Interrupted(committed bool) Fact {
	return Seeing(func(o *plan.Observed) {
		o.Pending = durable.Pending{Journal: committed, Staged: []string{certdir.CertName}}
	})
}
