package config

import (
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// systems are directories in which other programs have their files, hier(7).
// ca.dir and state.dir are closed to all but root, so they must be none of these.
var systems = []string{"/bin", "/boot", "/dev", "/etc", "/etc/mail", "/etc/ssl", "/home", "/lib", "/libexec", "/media", "/mnt", "/opt", "/proc",
	"/rescue", "/root", "/sbin", "/tmp", "/usr", "/usr/home", "/usr/local", "/usr/local/etc", "/usr/local/etc/ssl", "/var", "/var/cache", "/var/cron",
	"/var/db", "/var/empty", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/tmp"}

// places checks the directories of a configuration against each other and
// against the system's.
func (r *reader) places(n *yaml.Node, c *Config) {
	type place struct {
		key, dir, section string
		closed            bool // 0700
	}
	certs := place{"certs.dir", c.Certs.Dir, "certs", false}
	authority, state := place{"ca.dir", c.CA.Dir, "ca", true}, place{"state.dir", c.State.Dir, "state", true}
	all := []place{certs, authority, state}
	for _, p := range all {
		if within(c.CA.Inbox, p.dir) || within(p.dir, c.CA.Inbox) {
			r.fail(at(n, "ca"), "ca.inbox", "must lie neither within %s nor above it: an unprivileged user writes there", p.key)
		}
	}
	if slices.Contains(systems, c.shown(c.CA.Inbox)) {
		r.fail(at(n, "ca"), "ca.inbox", "%s holds files of others: want a directory of its own", c.shown(c.CA.Inbox))
	}
	if c.Certs.Dir == c.CA.Dir || c.Certs.Dir == c.State.Dir || c.CA.Dir == c.State.Dir {
		r.fail(at(n, "certs", "ca", "state"), "certs.dir", "certs.dir, ca.dir and state.dir must be three different directories")
		return
	}
	for _, p := range []place{authority, state} {
		if slices.Contains(systems, c.shown(p.dir)) {
			r.fail(at(n, p.section), p.key, "%s holds files of others, and would be closed to them: want a directory of its own", c.shown(p.dir))
			continue
		}
		for _, in := range all {
			if in.key != p.key && within(in.dir, p.dir) {
				r.fail(at(n, p.section), p.key, "must not lie above %s: it is closed to all but root", in.key)
			}
		}
		// The names that mailcertd gives in the certs directory.
		for _, name := range []string{".mailcertd", "trust"} {
			if within(p.dir, filepath.Join(c.Certs.Dir, name)) {
				r.fail(at(n, p.section), p.key, "must not lie in %s of certs.dir, which mailcertd uses itself", name)
			}
		}
	}
}

// within says that path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
