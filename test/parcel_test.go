package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/test/bed"
)

// issue is killed before each durable operation in turn. Its file must be complete or missing, and the same command
// again must make it. The CA must have issued only one certificate.
func TestIssueKilled(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl", "cp")
	m, armed := bed.Binary(t, ""), bed.Binary(t, "crashpoints")
	made := site(t)
	if out, st := run(t, m, made, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	kills := 0
	for n := 1; ; n++ {
		root := filepath.Join(t.TempDir(), "root")
		if out, err := exec.Command("cp", "-a", made, root).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		to := filepath.Join(root, "out")
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(to, "a.pem")
		args := []string{"issue", "a.example.test", "--yes", "-o", file}
		out, st := run(t, armed, root, []string{fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n)}, args...)
		if !bed.Killed(st) {
			if !st.Success() {
				t.Fatalf("point %d: %s", n, out)
			}
			break
		}
		kills++
		if left, _ := os.ReadDir(to); len(left) > 1 || len(left) == 1 && left[0].Name() != "a.pem" &&
			left[0].Name() != ".a.pem.unfinished" {
			t.Errorf("point %d: the kill leaves %v", n, left)
		}
		if _, err := os.Lstat(file); err != nil {
			if out, st := run(t, m, root, nil, args...); !st.Success() {
				t.Fatalf("point %d: again: %s", n, out)
			}
		}
		if out, code := sh(t, to, `openssl x509 -in a.pem -noout -pubkey > c.pub && openssl pkey -in a.pem -pubout > k.pub && cmp c.pub k.pub &&
			test $(grep -c 'BEGIN CERT' a.pem) = 2 && test $(stat -c %a a.pem) = 600 && rm c.pub k.pub`); code != 0 {
			t.Errorf("point %d: %s", n, out)
		}
		if left, _ := os.ReadDir(to); len(left) != 1 {
			t.Errorf("point %d: %v", n, left)
		}
		if out, _ := run(t, m, root, nil, "list"); strings.Count(out, "a.example.test") != 1 {
			t.Errorf("point %d:\n%s", n, out)
		}
		os.RemoveAll(root)
	}
	if kills < 15 {
		t.Errorf("only %d points", kills)
	}
}

// No other user can make issue use a key of theirs, neither by a file nor by a link.
func TestIssueTakesNobodysKey(t *testing.T) {
	t.Parallel()
	bed.Need(t, true)
	m, root := bed.Binary(t, ""), site(t)
	if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	to := filepath.Join(root, "shared")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	left, key := filepath.Join(to, ".a.pem.unfinished"), filepath.Join(root, "etc/mail/certs/host.key")
	data, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func() error{
		"of another user": func() error {
			write(t, left, string(data), 0o600)
			return os.Chown(left, 65534, 65534)
		},
		"open to others": func() error { return os.WriteFile(left, data, 0o644) },
		"a link":         func() error { return os.Symlink(key, left) },
		"a second name":  func() error { return os.Link(key, left) },
		"a FIFO":         func() error { return syscall.Mkfifo(left, 0o600) },
		"a directory":    func() error { return os.Mkdir(left, 0o700) },
	} {
		if err := put(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, st := run(t, m, root, nil, "issue", "a.example.test", "--yes", "-o", filepath.Join(to, "a.pem"))
		if st.ExitCode() != 1 || !strings.Contains(out, left+": ") || !strings.Contains(out, "move it away") {
			t.Errorf("%s: status %d:\n%s", name, st.ExitCode(), out)
		}
		if out, _ := run(t, m, root, nil, "list"); strings.Contains(out, "a.example.test") {
			t.Errorf("%s: signed:\n%s", name, out)
		}
		if err := os.Remove(left); err != nil {
			t.Fatal(err)
		}
	}
}
