package config

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// systems are directories of other programs, see hier(7). ca.dir and state.dir get mode 0700, so they must not be any
// of these.
var systems = []string{"/bin", "/boot", "/dev", "/etc", "/etc/mail", "/etc/ssl", "/home", "/lib", "/libexec", "/media",
	"/mnt", "/opt", "/proc",
	"/rescue", "/root", "/sbin", "/tmp", "/usr", "/usr/home", "/usr/local", "/usr/local/etc", "/usr/local/etc/ssl",
	"/var", "/var/cache", "/var/cron",
	"/var/db", "/var/empty", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/tmp"}

// path reads a path that moves with --root.
func (r sections) path(to *string) func(*yaml.Node, string) {
	return r.in(func(s string) (string, error) {
		s, err := absolutePath(s)
		if err == nil && filepath.Clean(s) == "/" {
			err = errors.New("is the root directory: must be another directory")
		}
		return r.c.below(s), err
	}, to)
}

// optionalPath reads a path; an empty value or the word means none.
func (r sections) optionalPath(to *string, word string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if n.Kind == yaml.ScalarNode && (n.Value == "" || n.Value == word) {
			*to = ""
			return
		}
		r.path(to)(n, key)
	}
}

// places checks the directories of a configuration against each other and
// against the system's.
func (r sections) places(n *yaml.Node) {
	c := r.c
	type place struct {
		key, dir, section string
		closed            bool // 0700
	}
	certs := place{"certs.dir", c.Certs.Dir, "certs", false}
	privateCA, state := place{"ca.dir", c.CA.Dir, "ca", true}, place{"state.dir", c.State.Dir, "state", true}
	all := []place{certs, privateCA, state}
	for _, p := range all {
		if within(c.CA.Inbox, p.dir) || within(p.dir, c.CA.Inbox) {
			r.fail(at(n, "ca"), "ca.inbox",
				"must be neither within %s nor above it, because an unprivileged user writes there", p.key)
		}
	}
	if slices.Contains(systems, c.shown(c.CA.Inbox)) {
		r.fail(at(n, "ca"), "ca.inbox", "%s is used by other programs: it must be a separate directory",
			c.shown(c.CA.Inbox))
	}
	if c.Certs.Dir == c.CA.Dir || c.Certs.Dir == c.State.Dir || c.CA.Dir == c.State.Dir {
		for _, p := range []place{state, privateCA, certs} { // the error goes to the one that the file sets
			if at(n, p.section) != n || p.key == certs.key {
				r.fail(at(n, p.section), p.key,
					"%s: certs.dir, ca.dir and state.dir must be three different directories", c.shown(p.dir))
				return
			}
		}
		return
	}
	for _, p := range []place{privateCA, state} {
		if slices.Contains(systems, c.shown(p.dir)) {
			r.fail(at(n, p.section), p.key,
				"%s is used by other programs, and mailcertd would close it to them: it must be a separate directory",
				c.shown(p.dir))
			continue
		}
		for _, in := range all {
			if in.key != p.key && within(in.dir, p.dir) {
				r.fail(at(n, p.section), p.key,
					"must not contain %s, because mailcertd closes it to all users but root", in.key)
			}
		}
		// These names are mailcertd's own in the certs directory.
		for _, name := range []string{".mailcertd", "trust"} {
			if within(p.dir, filepath.Join(c.Certs.Dir, name)) {
				r.fail(at(n, p.section), p.key,
					"must not be in the directory %s of certs.dir, which mailcertd itself uses", name)
			}
		}
	}
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
