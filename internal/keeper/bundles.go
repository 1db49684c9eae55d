package keeper

import (
	"errors"
	"io/fs"
	"path/filepath"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// systemTrust are the places of FreeBSD's public CAs. The first one that exists is used: the directory that certctl(8)
// fills, the directory that it reads, and the single file of security/ca_root_nss or of FreeBSD 15.
var systemTrust = []string{"/etc/ssl/certs", "/usr/share/certs/trusted", "/etc/ssl/cert.pem"}

// trustPlaces returns the paths that one entry of `trust:` may mean, in the order in which they are tried.
func trustPlaces(cfg config.Config, name string) []string {
	if name != "system" {
		return []string{name}
	}
	var out []string
	for _, p := range systemTrust {
		out = append(out, filepath.Join(cfg.Root, p))
	}
	return out
}

// TrustPaths returns all files and directories on which `trust:` depends, whether or not they exist.
func TrustPaths(cfg config.Config) []string {
	var out []string
	for _, name := range cfg.Trust {
		out = append(out, trustPlaces(cfg, name)...)
	}
	return out
}

// sources reads the CA certificates that `trust:` names.
func (ob *observer) sources(files *certdir.Reader) []plan.TrustSource {
	var out []plan.TrustSource
	for _, name := range ob.cfg.Trust {
		s := plan.TrustSource{Name: name}
		for _, path := range trustPlaces(ob.cfg, name) {
			s.Bundle = files.Bundle(path)
			if !errors.Is(s.Err, fs.ErrNotExist) {
				break
			}
		}
		out = append(out, s)
	}
	return out
}

// stillOwn returns the names in trust/ that may be removed: a file that is gone, or one that still contains exactly the
// certificate whose digest is in its name. A file that somebody has changed since the last look is left out.
func (in *installer) stillOwn(names []string) []string {
	var out []string
	for _, name := range names {
		e := certdir.ReadCert(in.Path(name))
		if e.Node.Kind == durable.Missing || plan.OwnTrust(e) {
			out = append(out, name)
		}
	}
	return out
}
