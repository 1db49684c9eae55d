package plan

import (
	"path/filepath"
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
)

// leadsTo reports whether a path in cf names a file of the certs directory, directly or through links; file "" is the
// directory itself.
func leadsTo(cf mta.CF, named string, d certdir.Dir, file string) bool {
	clean, real := filepath.Clean(named), cf.Resolved[named]
	if clean == filepath.Join(d.Path, file) {
		return true
	}
	if d.Node.Resolved == "" {
		return false
	}
	ours := filepath.Join(d.Node.Resolved, file)
	there, _ := d.File(file)
	return clean == ours || real == ours || real != "" && real == there.Resolved
}

// NamesOurs reports whether cf names host.cert of this certs directory, directly or through links.
func NamesOurs(cf mta.CF, d certdir.Dir) bool {
	for _, name := range cf.ServerCert {
		if leadsTo(cf, name, d, certdir.CertName) {
			return true
		}
	}
	return false
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
