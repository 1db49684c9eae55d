package test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// usedSite is a CA host on which everything has happened once: a member, older and next generations of the CA, replaced
// certificates, a revocation, a state file that was set aside, an openssl command, an inbox.
func usedSite(t *testing.T, m string) string {
	root := site(t)
	must := func(args ...string) {
		t.Helper()
		if out, code := command(m, root, args...); code != 0 {
			t.Fatalf("%s: %d\n%s", args, code, out)
		}
	}
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	text, err := os.ReadFile(conf)
	if err == nil {
		err = os.WriteFile(conf, append(text, "ca: {account: nobody}\n"...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	must("ensure")
	must("ca", "enrol", "dhcp.example.test", "--from", "192.0.2.1")
	must("renew")
	must("ca", "rollover", "--now")
	must("ca", "rollover")
	must("issue", "--yes", "x.example.test", "-o", filepath.Join(t.TempDir(), "x.pem"))
	must("revoke", "x.example.test")
	dir := filepath.Join(root, "etc/mail/CA")
	if out, err := exec.Command("sh", "-c", "cd "+dir+
		` && openssl req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=y.example.test -out "$1" && openssl ca -batch -config openssl.cnf -in "$1" -out /dev/null`, "sh", filepath.Join(t.TempDir(), "csr")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(root, "var/db/mailcertd/state.json.bad-20260101T000000Z"), []byte("{"),
		0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/mail/CA/index.txt.old", "etc/mail/CA/gen-1/cakey.pem",
		"etc/mail/CA/next/cakey.pem", "var/spool/mailcertd/in", "var/db/mailcertd/backups"} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	return root
}

// entries returns every file and directory below root, with the content of the files.
func entries(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		switch {
		case d.IsDir():
			all[rel+"/"] = ""
		case d.Type().IsRegular():
			data, err := os.ReadFile(p)
			all[rel] = string(data)
			return err
		default:
			to, err := os.Readlink(p)
			all[rel] = "-> " + to
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// purge must remove everything that mailcertd made, and nothing else that is in our directories, however it came there.
func TestPurge(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	m := bed.Binary(t, "")
	const config = "usr/local/etc/mailcertd.yaml"
	for _, c := range []struct{ name, put, holds string }{ // a name with / is a directory
		{name: "nothing else"},
		{name: "notes in the CA", put: "etc/mail/CA/NOTES.txt", holds: "x"},
		{name: "another key in the CA", put: "etc/mail/CA/other-ca-key.pem", holds: "x"},
		{name: "a directory in the CA", put: "etc/mail/CA/backup/cakey.pem", holds: "x"},
		{name: "an empty directory in the CA", put: "etc/mail/CA/backup/"},
		{name: "a link in the CA", put: "etc/mail/CA/crl.pem", holds: "-> /etc/passwd"},
		{name: "a file of an older generation", put: "etc/mail/CA/gen-1/host.key", holds: "x"},
		{name: "a directory like a generation", put: "etc/mail/CA/gen-01/cakey.pem", holds: "x"},
		{name: "a file in newcerts", put: "etc/mail/CA/newcerts/a.key", holds: "x"},
		{name: "a file with the name of a directory", put: "etc/mail/CA/gen-9", holds: "x"},
		{name: "a file in the state directory", put: "var/db/mailcertd/README.admin", holds: "x"},
		{name: "a file among the backups", put: "var/db/mailcertd/backups/mine", holds: "x"},
		{name: "a directory among the backups", put: "var/db/mailcertd/backups/mine/host.key", holds: "x"},
		{name: "a file among the answers", put: "var/db/mailcertd/candidates/mine", holds: "x"},
		{name: "a file in the spool", put: "var/spool/mailcertd/mine", holds: "x"},
		{name: "a file in the inbox", put: "var/spool/mailcertd/in/mine", holds: "x"},
		{name: "a file in certs", put: "etc/mail/certs/own.pem", holds: "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := usedSite(t, m)
			want := []string{config}
			if c.put != "" {
				p := filepath.Join(root, c.put)
				to, link := strings.CutPrefix(c.holds, "-> ")
				var err error
				_ = os.MkdirAll(filepath.Dir(p), 0o700)
				switch {
				case link:
					_ = os.Remove(p)
					err = os.Symlink(to, p)
				case strings.HasSuffix(c.put, "/"):
					err = os.Mkdir(p, 0o700)
				default:
					err = os.WriteFile(p, []byte(c.holds), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, c.put)
			}
			plan, code := command(m, root, "purge", "--dry-run")
			out, code2 := command(m, root, "purge", "--yes")
			if code+code2 != 0 || !strings.HasPrefix(out, plan) {
				t.Fatalf("%d, %d\n%s\n%s", code, code2, plan, out)
			}
			if c.put != "" && c.put != "etc/mail/certs/own.pem" &&
				!strings.Contains(plan, "keep    "+strings.TrimSuffix(filepath.Join(root, c.put), "/")) &&
				!strings.Contains(plan, "keep    "+filepath.Dir(filepath.Join(root, c.put))) {
				t.Errorf("does not say what stays:\n%s", plan)
			}
			left := entries(t, root)
			for name := range left {
				if len(want) > 1 && strings.HasSuffix(name, "/") && strings.HasPrefix(want[1], name) { // its directory
					delete(left, name)
				}
			}
			for _, dir := range []string{"./", "etc/", "etc/mail/", "usr/", "usr/local/", "usr/local/etc/", "var/",
				"var/db/", "var/spool/"} {
				delete(left, dir)
			}
			for _, name := range want {
				if c.put == name && left[name] != c.holds {
					t.Errorf("%s holds %q", name, left[name])
				}
				delete(left, name)
			}
			for name := range left {
				t.Errorf("left: %s", name)
			}
		})
	}
}

// A CA that was made by hand stays, also one that lacked an openssl.cnf and one that has had a rollover.
func TestPurgeKeepsAdopted(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	m := bed.Binary(t, "")
	for _, c := range []struct {
		name string
		then [][]string
	}{
		{"as it was", nil},
		{"mended and used", [][]string{{"ca", "init"}, {"ensure"}}},
		{"a rollover since", [][]string{{"ca", "init"}, {"ensure"}, {"ca", "rollover", "--now"}, {"ensure"}}},
		{"its openssl.cnf lost again", [][]string{{"ensure"}, {"rm"}, {"ensure"}}},
		{"a key alone", [][]string{{"alone"}, {"ensure"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := site(t)
			dir := filepath.Join(root, "etc/mail/CA")
			if out, err := exec.Command("sh", "-ec", `mkdir -p -m 700 "$1/newcerts"; cd "$1"; umask 077; echo 01 >serial; : >index.txt
openssl req -x509 -newkey rsa:2048 -nodes -keyout cakey.pem -out cacert.pem -subj "/O=Hand/CN=Hand CA" -days 3650 -addext basicConstraints=critical,CA:TRUE`, "sh", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, args := range c.then {
				switch args[0] {
				case "rm":
					_ = os.Remove(filepath.Join(dir, "openssl.cnf"))
				case "alone":
					for _, name := range []string{"cacert.pem", "serial", "index.txt", "newcerts"} {
						_ = os.Remove(filepath.Join(dir, name))
					}
				default:
					if out, code := command(m, root, args...); code != 0 {
						t.Fatalf("%s: %d\n%s", args, code, out)
					}
				}
			}
			was := entries(t, dir)
			if out, code := command(m, root, "purge", "--yes"); code != 0 ||
				!strings.Contains(out, "the CA was made by hand") {
				t.Errorf("%d\n%s", code, out)
			}
			now := entries(t, dir)
			for name, data := range was {
				if got, there := now[name]; !there || got != data {
					t.Errorf("%s is gone or another", name)
				}
			}
			if _, err := os.Stat(filepath.Join(root, "var/db/mailcertd/state.json")); err == nil {
				t.Error("the state is still there")
			}
		})
	}
}

// A user who may not read the directories gets no incomplete list, and a refusal is printed before any list.
func TestPurgeRefuses(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "setpriv")
	m := bed.Binary(t, "")
	root := usedSite(t, m)
	for dir := filepath.Dir(m); dir != "/" && len(dir) > 1; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&0o005 != 0o005 {
			t.Skipf("needs a directory of programs that everybody may enter: %s", dir)
		}
	}
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	was := entries(t, root)
	for _, arg := range []string{"--dry-run", "--yes"} {
		b, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", m, "--root", root,
			"purge", arg).CombinedOutput()
		if out := string(b); err == nil || strings.Contains(out, "remove  ") || strings.Contains(out, "keep  ") ||
			!strings.Contains(out, "permission denied") {
			t.Errorf("%s: %v\n%s", arg, err, out)
		}
	}
	if now := entries(t, root); len(now) != len(was) {
		t.Errorf("%d entries became %d", len(was), len(now))
	}
}

// After purge was killed at any point, the next purge must finish the work.
func TestPurgeKilled(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl", "cp")
	m, armed := bed.Binary(t, ""), bed.Binary(t, "crashpoints")
	used := usedSite(t, m)
	for n := 1; ; n++ {
		root := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "-a", used, root).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if out, st := run(t, armed, root, []string{fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n)}, "purge",
			"--yes"); !bed.Killed(st) {
			if !st.Success() || n < 30 {
				t.Errorf("point %d: %v\n%s", n, st, out)
			}
			return
		}
		if out, code := command(m, root, "purge", "--yes"); code != 0 {
			t.Fatalf("%d: %s", n, out)
		}
		for name := range entries(t, root) {
			if !strings.HasSuffix(name, "/") && name != "usr/local/etc/mailcertd.yaml" {
				t.Errorf("killed at point %d: left %s", n, name)
			}
		}
	}
}
