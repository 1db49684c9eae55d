package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// TestMakeInstall installs below a directory and uninstalls again, with both makes. Only directories may remain, and
// the configuration if it was changed.
func TestMakeInstall(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"make", "bmake"} {
		t.Run(tool, func(t *testing.T) {
			bed.Need(t, false, tool)
			// The build writes into the source directory, because the program is built with its PREFIX; so it is a
			// copy.
			src, dest, prefix := t.TempDir(), t.TempDir(), "/opt/mail"
			for _, name := range []string{"Makefile", "release.mk", "go.mod", "go.sum", "cmd", "internal", "etc",
				"rc.d", "man"} {
				from, err := filepath.Abs("../" + name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(from, filepath.Join(src, name)); err != nil {
					t.Fatal(err)
				}
			}
			run := func(target string) {
				t.Helper()
				do(t, src, nil, "sh", "-c", "umask 077; exec "+tool+" "+target+" DESTDIR="+dest+" PREFIX="+prefix)
			}
			files := func() (names []string) {
				for name := range contents(t, dest) {
					if !strings.HasSuffix(name, "/") {
						names = append(names, name)
					}
				}
				return names
			}
			conf := filepath.Join(dest, prefix, "etc/mailcertd.yaml")

			run("install")
			if got := len(files()); got != 7 {
				t.Errorf("%d files are installed, want 7: %v", got, files())
			}
			for name, mode := range contents(t, filepath.Join(dest, prefix)) {
				if strings.HasSuffix(name, "/") && mode != 0o755 && name != "/" {
					t.Errorf("%s has mode %o, want 755", name, mode)
				}
			}
			marks(t, dest, prefix)
			if out := do(t, "", nil, filepath.Join(dest, prefix, "sbin/mailcertd"), "help"); !strings.Contains(out,
				prefix+"/etc/mailcertd.yaml") {
				t.Errorf("the program does not look below its PREFIX:\n%s", out)
			}
			run("deinstall")
			if got := files(); len(got) != 0 {
				t.Errorf("deinstall left %v", got)
			}

			run("install")
			write(t, conf, "log: {level: debug}\n", 0o600)
			cert := filepath.Join(dest, "etc/mail/certs/host.cert")
			if err := os.MkdirAll(filepath.Dir(cert), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, cert, "a certificate\n", 0o644)
			run("install")
			if b, err := os.ReadFile(conf); err != nil || string(b) != "log: {level: debug}\n" {
				t.Errorf("a second install changed the configuration: %q, %v", b, err)
			}
			run("deinstall")
			if got := files(); len(got) != 2 {
				t.Errorf("deinstall left %v, want the changed configuration and the certificate", got)
			}
			run("deinstall")
			if _, err := os.Stat(conf); err != nil {
				t.Errorf("a second deinstall: %v", err)
			}
		})
	}
}

// TestDistRefuses: dist refuses a release that nobody could reproduce, because a file is not committed or a version or
// time has the wrong form. It refuses a time in the future too, with which the program would take every clock for
// wrong.
func TestDistRefuses(t *testing.T) {
	t.Parallel()
	needPort(t, "git")
	repo := checkout(t)
	good, err := os.ReadFile(filepath.Join(repo, "release.mk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"dirty", "# The version", "# Uncommitted: the version", "release.mk"},
		{"future", release(t, "RELEASED"), "2126-01-01T12:00:00Z", "in the future"},
		{"no time", release(t, "RELEASED"), "2026-01-01", "must be a time"},
		{"version", "VERSION = " + release(t, "VERSION"), "VERSION = next", "must be digits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, filepath.Join(repo, "release.mk"), strings.Replace(string(good), c.from, c.to, 1), 0o644)
			if out, err := tryDo(repo, nil, "sh", "scripts/dist.sh"); err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v: %q; want a refusal that says %q", err, out, c.want)
			}
			if _, err := os.Stat(filepath.Join(repo, "dist")); err == nil {
				t.Error("it left a dist/")
			}
		})
	}
}
