//go:build step

// Package step tests mailcertd with step-ca, an ACME CA for the hosts of one owner.
package step

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/test/bed"
)

func TestMain(m *testing.M) {
	code := m.Run()
	bed.Clean()
	os.Exit(code)
}

// host is a mail host below a --root of its own. Its address is on the loopback interface.
type host struct{ m, root, name string }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// newHost makes a host whose certificates come from that directory of step-ca.
func newHost(t *testing.T, s *bed.Step, names *bed.Pebble, n int, directory string) host {
	t.Helper()
	h := host{m: bed.Binary(t, ""), root: t.TempDir(), name: fmt.Sprintf("host-%02d.example.test", n)}
	ip := fmt.Sprintf("127.0.1.%d", n+1)
	names.Resolves(t, h.name, ip)
	write(t, filepath.Join(h.root, "etc/mail/owner.pem"), string(s.Root))
	write(t, filepath.Join(h.root, "usr/local/etc/mailcertd.yaml"), fmt.Sprintf(`host: {name: %s}
key: {type: ecdsa-p256}
issuer:
  acme: {directory: '%s', agree_tos: true, ca_file: /etc/mail/owner.pem, http: {listen: '%s:%d'}}
trust: [/etc/mail/owner.pem]
dns: {resolver: '%s'}
log: {level: debug, target: stderr}
`, h.name, s.Directory(directory), ip, names.HTTPPort, names.Resolver))
	return h
}

// run runs mailcertd on the host.
func (h host) run(args ...string) (out string, code int) {
	cmd := exec.Command(h.m, append([]string{"--root", h.root}, args...)...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func (h host) certs(name string) string { return filepath.Join(h.root, "etc/mail/certs", name) }

// serial is that of the leaf, "" where host.cert has no certificate with an intermediate behind it.
func (h host) serial() string {
	data, _ := os.ReadFile(h.certs("host.cert"))
	if certs := pki.ReadCertFile(data).Certs; len(certs) == 2 {
		return certs[0].SerialNumber.String()
	}
	return ""
}

// verified has openssl verify the leaf as sendmail would: by the hash links alone, as a server's and as a client's.
func (h host) verified() error {
	for _, purpose := range []string{"sslserver", "sslclient"} {
		if out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", h.certs(""),
			"-purpose", purpose, "-verify_hostname", h.name, h.certs("host.cert")).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", h.name, err, out)
		}
	}
	return nil
}

// A directory of step-ca wants an external account binding. mailcertd says what to set, before an order too. To a
// key that it does not know step-ca answers with an internal error, and the message says that this may be the reason.
// (The free step-ca has no command that makes such keys, so none is accepted here.)
func TestExternalAccount(t *testing.T) {
	names := bed.NewPebble(t, bed.PebbleOptions{})
	s := bed.NewStep(t, names, map[string]time.Duration{"shop": 90 * 24 * time.Hour}, "shop")
	h := newHost(t, s, names, 0, "shop")
	says := func(words string, verbs ...string) {
		t.Helper()
		for _, verb := range verbs {
			out, code := h.run(verb)
			out = strings.Join(strings.Fields(out), " ")
			if code != 1 || !strings.Contains(out, words) {
				t.Errorf("%s: %d, want %q\n%s", verb, code, words, out)
			}
		}
	}
	says("set issuer.acme.eab to the key identifier and the HMAC key", "check", "renew")
	path := filepath.Join(h.root, "usr/local/etc/mailcertd.yaml")
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.root, "etc/mail/eab.key"), "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0\n")
	write(t, path, strings.Replace(string(conf), "agree_tos: true",
		"agree_tos: true, eab: {kid: stranger, hmac_file: /etc/mail/eab.key}", 1))
	says("(serverInternal); if it says so again, check eab.kid and eab.hmac_file", "renew", "check")
	if n := s.Orders(); n != 0 {
		t.Errorf("%d orders", n)
	}
}

// Fifty hosts get their certificates from step-ca, several at the same time and each with one order. openssl verifies
// each chain up to the owner's root. A daemon renews a certificate that is valid for seconds before it expires.
func TestFiftyHosts(t *testing.T) {
	const hosts = 50
	names := bed.NewPebble(t, bed.PebbleOptions{})
	s := bed.NewStep(t, names, map[string]time.Duration{"fleet": 90 * 24 * time.Hour, "short": 24 * time.Second})

	short := newHost(t, s, names, hosts, "short")
	daemon := exec.Command(short.m, "--root", short.root, "run")
	var log strings.Builder
	daemon.Stderr = &log
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("the daemon:\n%s", log.String())
		}
	})

	var all sync.WaitGroup
	turn := make(chan struct{}, 8)
	for n := range hosts {
		h := newHost(t, s, names, n, "fleet")
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			if out, code := h.run("renew"); code != 0 {
				t.Errorf("%s: renew: %d\n%s", h.name, code, out)
				return
			}
			if out, code := h.run("check"); code != 0 || strings.Contains(out, "[root-untrusted]") {
				t.Errorf("%s: check: %d\n%s", h.name, code, out)
			}
			if err := h.verified(); err != nil || h.serial() == "" {
				t.Errorf("serial %q: %v", h.serial(), err)
			}
		})
	}
	another := func(old string) (serial string) {
		bed.Wait(t, "the daemon to install another certificate", func() error {
			if serial = short.serial(); serial == "" || serial == old {
				return errors.New("not yet")
			}
			return short.verified()
		})
		return serial
	}
	another(another(""))
	stop()
	all.Wait()
	if n := s.Orders(); n != hosts+2 {
		t.Errorf("%d orders, must be %d", n, hosts+2)
	}
}
