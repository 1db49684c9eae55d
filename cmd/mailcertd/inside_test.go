package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With --root, a link never leads a change out of the root: it is followed as chroot(2) would, or refused.
func TestRootHoldsLinks(t *testing.T) {
	for _, name := range []string{"etc/mail/certs", "etc/mail/CA", "var/db/mailcertd", "etc/mail",
		"etc/mail/CA/newcerts", "etc/mail/CA/next", "var/db/mailcertd/backups", "var/db/mailcertd/archive",
		"var/db/mailcertd/candidates", "var/db/mailcertd/acme"} {
		for _, there := range []bool{true, false} { // the target of the link exists within the root
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			root, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
			link := filepath.Join(root, name)
			dirs := []string{outside, filepath.Dir(link), filepath.Join(root, "usr/local/etc")}
			if there {
				dirs = append(dirs, filepath.Join(root, outside))
			}
			for _, d := range dirs {
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
			if err := os.WriteFile(conf, []byte("host: {name: mail.example.org}\nkey: {type: ecdsa-p256}\n"),
				0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, link); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			status := newApp(strings.NewReader(""), &out, &out).execute(context.Background(),
				[]string{"--root", root, "ensure"})
			if left, _ := os.ReadDir(outside); len(left) != 0 {
				t.Errorf("%s: %d entries outside the root", name, len(left))
			}
			switch within, _ := os.ReadDir(filepath.Join(root, outside)); {
			case there && !strings.HasPrefix(name, "etc/mail/CA/") && !strings.HasPrefix(name, "var/db/mailcertd/"):
				if status != exitFine || len(within) == 0 {
					t.Errorf("%s: exit %d, %d entries within the root: %s", name, status, len(within), &out)
				}
			case status != exitUsage || !strings.Contains(out.String(), "points outside of "+root):
				t.Errorf("%s: exit %d: %s", name, status, &out)
			}
			if strings.Contains(out.String(), "no sendmail runs") {
				t.Errorf("ensure reports at every boot that sendmail does not run, which is normal then: %s", &out)
			}
		}
	}
}

// A link whose target does not exist delays nothing else where mailcertd only reads, or would make a directory of its
// own: it counts as a missing file.
func TestRootWithLinksToNothing(t *testing.T) {
	for _, name := range []string{"etc/mail/sendmail.cf", "var/run/sendmail.pid", "etc/mail/certs/trust",
		"etc/mail/CA/private", "var/db/mailcertd/backups"} {
		for _, target := range []string{"/nonexistent/x", filepath.Base(name)} {
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			conf, link := filepath.Join(root, "mailcertd.yaml"), filepath.Join(root, name)
			if err := os.WriteFile(conf, []byte("host: {name: mail.example.org}\nkey: {type: ecdsa-p256}\n"),
				0o644); err != nil {
				t.Fatal(err)
			}
			ensure := func() (int, string) {
				var out bytes.Buffer
				status := newApp(strings.NewReader(""), &out, &out).execute(context.Background(),
					[]string{"--root", root, "--config", conf, "ensure"})
				return status, out.String()
			}
			if status, out := ensure(); status != exitFine {
				t.Fatal(out)
			}
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			cert := filepath.Join(root, "etc/mail/certs/host.cert")
			if err := os.Remove(cert); err != nil {
				t.Fatal(err)
			}
			status, out := ensure()
			if _, err := os.Stat(cert); err != nil || status == exitUsage {
				t.Errorf("%s to %s: status %d, %v\n%s", name, target, status, err, out)
			}
		}
	}
}
