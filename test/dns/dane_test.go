package dns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/dns"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
	"mailcertd/test/bed"
)

const tlsaName = "_25._tcp.mail.example.test."

// tlsaTTL is the time to live of the records of this test.
const tlsaTTL = 4 * time.Second

// daneHost is a host whose daemon publishes its TLSA records with a TSIG key that may change nothing else.
type daneHost struct {
	t      *testing.T
	w      *world
	root   string
	daemon *exec.Cmd
}

func (h *daneHost) mailcertd(args ...string) *exec.Cmd {
	return here(append([]string{bed.Binary(h.t, ""), "--root", h.root}, args...)...)
}

// start starts the daemon.
func (h *daneHost) start() {
	h.t.Helper()
	log, err := os.OpenFile(filepath.Join(h.root, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ok(h.t, err)
	defer log.Close()
	h.daemon = h.mailcertd("run")
	h.daemon.Stdout, h.daemon.Stderr = log, log
	h.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ok(h.t, h.daemon.Start())
}

// kill ends the daemon without a warning.
func (h *daneHost) kill() {
	_ = h.daemon.Process.Kill()
	_ = h.daemon.Wait()
}

// until waits until a condition is met.
func (h *daneHost) until(what string, met func() bool) {
	h.t.Helper()
	bed.Wait(h.t, what, func() error {
		if met() {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
		return errors.New("not yet")
	})
}

// key is the ID of the installed key.
func (h *daneHost) key() string {
	data, err := os.ReadFile(filepath.Join(h.root, "etc/mail/certs/host.key"))
	if err != nil {
		return ""
	}
	return pki.KeyFingerprint(pki.ReadKeyFile(data).Public)
}

// memory is what the state has of the TLSA records.
func (h *daneHost) memory() dane.Memory {
	s, _ := state.Load(filepath.Join(h.root, "var/db/mailcertd"))
	return s.DANE
}

// at are the TLSA records of the name server at addr, as a zone file has their data.
func (h *daneHost) at(addr string) (out []string) {
	h.t.Helper()
	views, err := h.w.client(h.t, "", nil).Lookup(within(h.t, bed.Patience), dns.Zone{Name: "example.test."}, tlsaName,
		dns.TypeTLSA)
	ok(h.t, err)
	for _, v := range views {
		if !strings.HasPrefix(v.Addr, addr) {
			continue
		}
		for _, r := range v.Records {
			a, _ := r.Association()
			out = append(out, text(a))
		}
	}
	slices.Sort(out)
	return out
}

func record(key string) string { return dane.RecordOf(key, 0).String() }

// One whole change of a key with the real name servers: the secondary one lags, a person removes the record in between,
// and the daemon is killed and started again.
func keyChange(t *testing.T, w *world) {
	h := &daneHost{t: t, w: w, root: t.TempDir()}
	for name, text := range map[string]string{"usr/local/etc/mailcertd.yaml": "host: {name: mail.example.test}\n" +
		"key: {type: ecdsa-p256}\ndns: {server: " + primary + ", resolver: " + resolver +
		", key_file: /etc/tsig.key}\ndane: {publish: update, ttl: 4}\nlog: {target: stderr}\n"} {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(h.root, name)), 0o755))
		ok(t, os.WriteFile(filepath.Join(h.root, name), []byte(text), 0o600))
	}
	key, err := os.ReadFile(w.keys["tlsaonly"])
	ok(t, err)
	ok(t, os.MkdirAll(filepath.Join(h.root, "etc"), 0o755))
	ok(t, os.WriteFile(filepath.Join(h.root, "etc/tsig.key"), key, 0o600))
	admin, zone := w.client(t, "mail", nil), dns.Zone{Name: "example.test."}
	ca := dns.Association{Usage: 2, Selector: 1, Matching: 1, Data: strings.Repeat("ab", 32)}
	foreign := dns.TLSA(tlsaName, ca, tlsaTTL)
	ok(t, admin.Add(within(t, bed.Patience), zone, foreign))
	follow := func() { w.second.Control(t, "retransfer", "example.test") }

	h.start()
	t.Cleanup(func() {
		h.kill()
		log, _ := os.ReadFile(filepath.Join(h.root, "log"))
		t.Logf("the daemon's log:\n%s", log)
	})
	has := func(addr, id string) func() bool {
		return func() bool { return slices.Contains(h.at(addr), record(id)) }
	}
	h.until("a key", func() bool { return h.key() != "" })
	old := h.key()
	h.until("the first record at the primary server", has(primary, old))
	follow()
	h.until("the first record at both servers", has(second, old))

	out, err := h.mailcertd("renew", "--rekey").CombinedOutput()
	t.Logf("renew --rekey: %s", out)
	if err != nil || h.key() != old || !strings.Contains(string(out), "its next key is not used yet") {
		t.Fatalf("the key is %s, was %s: %v", h.key(), old, err)
	}
	h.until("the record of the next key", func() bool { return len(h.at(primary)) == 3 })
	h.kill() // all that is needed is on the disk
	h.start()
	time.Sleep(2 * tlsaTTL)
	out, _ = h.mailcertd("check").CombinedOutput()
	said := strings.Join(strings.Fields(string(out)), " ") // the page is wrapped
	if h.key() != old || !strings.Contains(said, "ns2.example.test ("+second+":53)") {
		t.Errorf("the key is %s, was %s: %s", h.key(), old, said)
	}
	next := h.memory().Changes["host"].Next
	follow()
	h.until("the record of the next key at both servers", has(second, next))

	is := dns.Association{Usage: 3, Selector: 1, Matching: 1, Data: next}
	h.kill()
	ok(t, admin.Remove(within(t, bed.Patience), zone, dns.TLSA(tlsaName, is, 0))) // a person removes the record
	follow()
	h.until("both servers without the record", func() bool { return !has(primary, next)() && !has(second, next)() })
	h.start()
	h.until("the record comes back", has(primary, next))
	time.Sleep(2 * tlsaTTL)
	if h.key() != old {
		t.Error("the key was changed while the secondary server did not have the record")
	}
	follow()
	came := time.Now()
	var last [][]string // what the servers had when the key was last seen to be the old one
	h.until("the next key", func() bool {
		last = [][]string{h.at(primary), h.at(second)}
		return h.key() == next
	})
	if took := time.Since(came); took < tlsaTTL {
		t.Errorf("the key was changed %s after the last server had the record", took)
	}
	for _, got := range last {
		if !slices.Contains(got, record(next)) || !slices.Contains(got, record(old)) {
			t.Errorf("when the key was changed, a server had %v", got)
		}
	}
	h.until("the old record goes", func() bool { return !has(primary, old)() })
	follow()
	h.until("nothing is left to do", func() bool { return len(h.memory().Old)+len(h.memory().Changes) == 0 })
	want := []string{text(ca), record(next)}
	for _, addr := range []string{primary, second} {
		if got := h.at(addr); !slices.Equal(got, want) {
			t.Errorf("%s has %v, must have %v", addr, got, want)
		}
	}
	h.kill()
	ok(t, admin.Remove(within(t, bed.Patience), zone, foreign))
	ok(t, admin.Remove(within(t, bed.Patience), zone, dns.TLSA(tlsaName, is, 0)))
}

func text(a dns.Association) string {
	return fmt.Sprintf("%d %d %d %s", a.Usage, a.Selector, a.Matching, a.Data)
}
