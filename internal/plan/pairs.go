package plan

import (
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// Wanted returns the configured pairs, the host's own first.
func Wanted(cfg config.Config) []certdir.Pair {
	out := []certdir.Pair{certdir.Host}
	if cfg.Key.Second != "" {
		out = append(out, certdir.HostECDSA)
	}
	if cfg.Client.Kind == config.ClientOwn {
		out = append(out, certdir.Client)
	}
	return out
}

// Replaced names the certificate and key of one pair that a wish replaces.
type Replaced struct {
	Leaf string // pki.Fingerprint, "" for none
	Key  string // pki.KeyFingerprint, "" for none
}

// PairFacts are the Facts of one pair.
type PairFacts struct {
	Pair   certdir.Pair
	Wanted bool // the configuration asks for it
	Named  bool // sendmail.cf names it in the options for this pair
	Owner  Owner
	LeafID string
	KeyID  string
	// Renewed is what a renewal replaces: LeafID, or the leaf that comes back in its place.
	Renewed string
	// Due is when the installed certificate is renewed, and By what that follows from; zero: mailcertd does not renew
	// it.
	Due time.Time
	By  DueBy
	// Public says that an ACME CA is asked for this pair, and Window is what it has said of the installed certificate;
	// zero: nothing yet.
	Public bool
	Window state.ACME
}

// Replace returns the wish w, extended to all installed pairs.
func (f Facts) Replace(w Wish) Wish {
	w.From, w.FromKey, w.Others = f.Renewed, f.KeyID, map[string]Replaced{}
	for _, p := range f.Pairs {
		if p.Pair != certdir.Host {
			w.Others[p.Pair.Name] = Replaced{Leaf: p.Renewed, Key: p.KeyID}
		}
	}
	return w
}

// maySign reports whether a certificate may be signed for the pair now: always where the installed one is of no use,
// otherwise only by a believed clock.
func (p *pair) maySign() bool {
	if p.is == certdir.Host {
		return p.assessment.maySign()
	}
	return p.clock == clockFine || !p.matches || p.owner == Interim
}

// namesPair reports whether cf names both files of a pair in the options for it.
func namesPair(cf mta.CF, d certdir.Dir, p certdir.Pair) bool {
	at := func(names []string, n int, file string) bool { return n < len(names) && leadsTo(cf, names[n], d, file) }
	switch p {
	case certdir.HostECDSA: // sendmail loads both pairs, in either order
		return slices.ContainsFunc([]int{0, 1}, func(n int) bool {
			return at(cf.ServerCert, n, p.CertFile) && at(cf.ServerKey, n, p.KeyFile) &&
				(n == 1 || at(cf.ServerCert, 1, certdir.CertName))
		})
	case certdir.Client:
		return at(cf.ClientCert, 0, p.CertFile) && at(cf.ClientKey, 0, p.KeyFile)
	}
	return NamesOurs(cf, d)
}

// mentions reports whether any TLS option of cf names a file of the pair.
func mentions(cf mta.CF, d certdir.Dir, p certdir.Pair) bool {
	return slices.ContainsFunc(slices.Concat(cf.ServerCert, cf.ServerKey, cf.ClientCert, cf.ClientKey),
		func(name string) bool {
			return leadsTo(cf, name, d, p.CertFile) || leadsTo(cf, name, d, p.KeyFile)
		})
}

// used reports whether a sendmail.cf, the configured one or that of the running sendmail, names a file of the pair. A
// cf that cannot be read may name one.
func (p *pair) used() bool {
	cfs := []mta.CF{p.obs.CF}
	if p.obs.RunningCF != nil {
		cfs = append(cfs, *p.obs.RunningCF)
	}
	return slices.ContainsFunc(cfs, func(cf mta.CF) bool {
		return cf.Node.Err != nil || mentions(cf, p.obs.Certs, p.is)
	})
}

// read reports whether the running sendmail may still use a pair that its sendmail.cf no longer names, because it read
// cf when it started.
func read(p *pair) bool {
	inst := Instance(p.obs.MTA)
	return MayRun(p.obs.MTA) && !inst.Started.After(p.cf().Node.Changed)
}

// others decides about all pairs except the host's own.
func others(a *assessment, sofar finding) (out outcome) {
	for _, p := range a.pairs[1:] {
		with := sofar.and(out.finding)
		switch {
		case !p.wanted && !p.exists():
			if slices.Contains(p.obs.Pending.Staged, p.is.KeyFile) {
				out = out.and(finishStaged(p))
			}
		case !p.wanted && !p.kept():
			out = out.and(unwanted(p))
		case p.is == certdir.Client && p.wanted && a.issuer.remote() && p.cfg.Client.Issuer.Kind == config.IssuerSSH &&
			p.cfg.Client.Issuer.SSH.Target != p.cfg.Issuer.SSH.Target:
			out.report(Problem{Reason: NoIssuer, Severity: Error, Path: a.cfg.Path,
				Text: "client.issuer names another CA host than issuer: no client pair is made",
				Hint: "name the same CA host in both"})
		default:
			if !p.wanted {
				out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p),
					Text: "is not configured any more, but sendmail.cf still names it, so mailcertd keeps and " +
						"renews it",
					Hint: "remove it from the host's .mc file, then run `make -C /etc/mail install restart`; " +
						"mailcertd " +
						"removes the pair after that"})
			}
			o := pairSection(p, with)
			if with.ask != nil { // the CA host is asked for one certificate at a time
				o.ask = nil
			}
			out = out.and(o).and(strip(p, o.change))
		}
	}
	return out
}

// kept reports whether a pair that the configuration does not name is kept nevertheless: sendmail uses it, or a person
// restored it.
func (p *pair) kept() bool {
	return p.owner.mine() && (p.used() || p.held())
}

// unwanted decides about an unused pair. Our files are removed, with a backup as of every replaced file; a person's
// files stay.
func unwanted(p *pair) (out outcome) {
	for _, n := range []durable.Node{p.keyFile.Node, p.certFile.Node} {
		if n.Unread() || n.Exists && !n.IsRegular {
			return outcome{finding: blocked(n)}
		}
	}
	certOurs := p.owner.mine() || p.fileIsOurs(p.certFile.Digest)
	keyOurs := p.keyIsOurs()
	if p.certFile.Node.Exists && !certOurs || p.keyFile.Node.Exists && !keyOurs ||
		p.keyFile.Node.Kind == durable.Link ||
		p.certFile.Node.Kind == durable.Link {
		out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p),
			Text: "mailcertd did not make it, and mailcertd.yaml asks for no such pair: it is left alone, and nobody " +
				"renews it",
			Hint: "if nothing uses these files, remove them; key.second and client in mailcertd.yaml configure such " +
				"pairs"})
		return out
	}
	if read(p) {
		out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p),
			Text: "is not configured any more: mailcertd removes the pair when sendmail has restarted, " +
				"because it may have read a sendmail.cf that named it"})
		return out
	}
	for _, f := range []struct {
		name   string
		n      durable.Node
		secret bool
	}{{p.is.CertFile, p.certFile.Node, false}, {p.is.KeyFile, p.keyFile.Node, true}} {
		if f.n.Kind == durable.Missing {
			continue
		}
		out.change.Drop = append(out.change.Drop, f.name)
		if worthKeeping(f.n) {
			out.change.Archive = append(out.change.Archive, Archived{Name: f.name, Secret: f.secret})
		}
	}
	out.report(Problem{Reason: PairUnwanted, Severity: Notice, Path: certPath(p), Repairable: true,
		Text: "is not configured any more, and sendmail.cf does not name it: mailcertd removes the pair, with a " +
			"backup"})
	return out
}

// remembered is the state of the pair.
func (p *pair) remembered() state.Pair { return p.obs.State.Pair(p.is.Name) }

// replaces reports whether the wish asks for another certificate, and for another key, in place of those installed.
func (w Wish) replaces(p certdir.Pair, i installed) (leaf, key bool) {
	from, asked := w.Others[p.Name]
	if p == certdir.Host {
		from, asked = Replaced{Leaf: w.From, Key: w.FromKey}, true
	}
	leaf = (w.Renew || w.Rekey) && asked && pki.Fingerprint(i.leaf) == from.Leaf
	key = w.Rekey && asked && pki.KeyFingerprint(i.key) == from.Key
	return leaf, key
}
