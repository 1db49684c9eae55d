package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/test/bed"
)

// A running daemon follows a bundle and the base system's directory of CAs. By openssl's judgement, a CA that is added
// becomes trusted, and a CA that is removed is no longer trusted.
func TestDaemonFollowsTrust(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	root := site(t)
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	good, _ := os.ReadFile(conf)
	write(t, conf, string(good)+"trust: [system, /etc/corp.pem]\n", 0o644)
	ca := func(name string) string {
		path := filepath.Join(t.TempDir(), name)
		if out, err := exec.Command("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
			"ec_paramgen_curve:P-256", "-subj", "/CN="+name, "-keyout", os.DevNull, "-out",
			path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return path
	}
	text := func(path string) string { b, _ := os.ReadFile(path); return string(b) }
	a, b, c := ca("a"), ca("b"), ca("c")
	write(t, filepath.Join(root, "etc/corp.pem"), text(a), 0o644)
	write(t, filepath.Join(root, "etc/ssl/certs/b.pem"), text(b), 0o644)
	d := startDaemon(t, root)
	trusted := func(path string) bool {
		out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-partial_chain", "-CApath",
			d.certs(""), path).CombinedOutput()
		return err == nil && strings.Contains(string(out), "OK")
	}
	is := func(want ...bool) func() error {
		return func() error {
			if got := []bool{trusted(a), trusted(b), trusted(c)}; fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("trusts %v\n%s", got, d.log())
			}
			return nil
		}
	}
	bed.Wait(t, "both", is(true, true, false))
	write(t, filepath.Join(root, "etc/corp.pem"), text(c), 0o644)
	bed.Wait(t, "another bundle", is(false, true, true))
	write(t, filepath.Join(root, "etc/ssl/certs/a.pem"), text(a), 0o644)
	bed.Wait(t, "a file more", is(true, true, true))
	if err := os.Remove(filepath.Join(root, "etc/ssl/certs/b.pem")); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "a file less", is(true, false, true))
	write(t, filepath.Join(root, "etc/more.pem"), "", 0o644)
	write(t, conf, string(good)+"trust: [/etc/more.pem]\n", 0o644)
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the other configuration", func() error {
		if !strings.Contains(d.log(), "/etc/more.pem") {
			return errors.New(d.log())
		}
		return d.idle()
	})
	write(t, filepath.Join(root, "etc/more.pem"), text(b)+text(c), 0o644)
	bed.Wait(t, "a bundle that is new to it", is(false, true, true))
	if err := os.RemoveAll(d.certs("trust")); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "what was deleted", is(false, true, true))
}
