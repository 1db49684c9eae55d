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

// systemTrust are the places of FreeBSD's public CAs, the first that is there
// counts: certctl(8)'s directory, what it is made from, and security/ca_root_nss's
// or FreeBSD 15's single file.
var systemTrust = []string{"/etc/ssl/certs", "/usr/share/certs/trusted", "/etc/ssl/cert.pem"}

// trustPlaces are the paths that one entry of `trust:` may mean, in order.
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

// TrustPaths are all the files and directories that `trust:` depends on,
// whether or not they are there.
func TrustPaths(cfg config.Config) []string {
	var out []string
	for _, name := range cfg.Trust {
		out = append(out, trustPlaces(cfg, name)...)
	}
	return out
}

// sources reads what `trust:` names.
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

// stillOwn leaves out what is no longer exactly the certificate after which it
// is called: somebody has written to it since it was looked at.
func (in *installer) stillOwn(names []string) []string {
	var out []string
	for _, name := range names {
		e := certdir.ReadCert(filepath.Join(in.cfg.Certs.Dir, name))
		if e.Node.Kind == durable.Missing || plan.OwnTrust(e) {
			out = append(out, name)
		}
	}
	return out
}
