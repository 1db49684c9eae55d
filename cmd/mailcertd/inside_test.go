package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With --root, no link leads a change outside: it is followed as chroot(2)
// follows it, or refused.
func TestRootHoldsLinks(t *testing.T) {
	for _, name := range []string{"etc/mail/certs", "etc/mail/CA", "var/db/mailcertd", "etc/mail", "etc/mail/CA/newcerts"} {
		for _, there := range []bool{true, false} { // what the link names, seen from within the root
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
			if err := os.WriteFile(conf, []byte("host: {name: mail.example.org}\nkey: {type: ecdsa-p256}\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, link); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			status := newApp(strings.NewReader(""), &out, &out).execute(context.Background(), []string{"--root", root, "ensure"})
			if left, _ := os.ReadDir(outside); len(left) != 0 {
				t.Errorf("%s: %d entries outside the root", name, len(left))
			}
			switch within, _ := os.ReadDir(filepath.Join(root, outside)); {
			case there && name != "etc/mail/CA/newcerts":
				if status != exitFine || len(within) == 0 {
					t.Errorf("%s: exit %d, %d entries within the root: %s", name, status, len(within), &out)
				}
			case status != exitUsage || !strings.Contains(out.String(), "leads out of "+root):
				t.Errorf("%s: exit %d: %s", name, status, &out)
			}
			if strings.Contains(out.String(), "no sendmail runs") {
				t.Errorf("ensure tells at every boot what is so at every boot: %s", &out)
			}
		}
	}
}
