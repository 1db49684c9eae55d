package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"mailcertd/internal/durable"
)

// written lists the directories below the configured ones to which mailcertd writes: a link there must not leave Root
// either.
var written = map[string][]string{
	"certs": {"", "trust", ".mailcertd"},
	"ca":    {"newcerts", "private", "next"},
	"state": {"backups", "archive", "candidates", "acme"},
}

// made lists the keys of directories that mailcertd makes if they are missing, and that of the webroot, into which it
// writes.
var made = []string{"certs.dir", "ca.dir", "ca.inbox", "state.dir", webroot}

const webroot = "issuer.acme.http.webroot"

// Follow resolves every path of the configuration with inside. It serves --root: inside follows links as a process in
// chroot(2) Root would, and refuses those that leave it or lead to nothing. An error names the key. A link to nothing
// stays unresolved where mailcertd only reads or makes the directory itself: the later read or write reports it, and
// the rest works.
func (c *Config) Follow(inside func(path string) (string, error)) error {
	type place struct {
		key string
		at  *string
	}
	all := []place{{"certs.dir", &c.Certs.Dir}, {"ca.dir", &c.CA.Dir}, {"ca.inbox", &c.CA.Inbox},
		{"ca.passphrase_file", &c.CA.PassphraseFile},
		{"state.dir", &c.State.Dir}, {"sendmail.cf", &c.Sendmail.CF}, {"sendmail.pid_file", &c.Sendmail.PidFile},
		{"issuer.ssh.identity", &c.Issuer.SSH.Identity}, {"issuer.ssh.known_hosts", &c.Issuer.SSH.KnownHosts},
		{"client.issuer.ssh.identity", &c.Client.Issuer.SSH.Identity},
		{"client.issuer.ssh.known_hosts", &c.Client.Issuer.SSH.KnownHosts},
		{webroot, &c.Issuer.ACME.HTTP.Webroot}, {"issuer.acme.ca_file", &c.Issuer.ACME.CAFile},
		{"issuer.acme.eab.hmac_file", &c.Issuer.ACME.EAB.HMACFile}, {"dns.key_file", &c.DNS.KeyFile},
		{"issuer.acme.fallback.ca_file", &c.Issuer.ACME.Fallback.CAFile},
		{"issuer.acme.fallback.eab.hmac_file", &c.Issuer.ACME.Fallback.EAB.HMACFile}}
	for i := range c.Trust {
		if filepath.IsAbs(c.Trust[i]) {
			all = append(all, place{"trust", &c.Trust[i]})
		}
	}
	for _, p := range all {
		if *p.at == "" {
			continue
		}
		to, err := inside(*p.at)
		if errors.Is(err, durable.ErrNowhere) && !slices.Contains(made, p.key) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.key, err)
		}
		*p.at = to
	}
	for key, dir := range map[string]string{"certs": c.Certs.Dir, "ca": c.CA.Dir, "state": c.State.Dir} {
		for _, name := range written[key] {
			path := filepath.Join(dir, name)
			if to, err := inside(path); errors.Is(err, durable.ErrNowhere) && name != "" {
				continue
			} else if err != nil {
				return fmt.Errorf("%s.dir: %w", key, err)
			} else if to != path {
				return fmt.Errorf(
					"%s.dir: %s: this link points outside of %s, where mailcertd changes nothing; make it a "+
						"relative link", key, path, c.Root)
			}
		}
	}
	return nil
}
