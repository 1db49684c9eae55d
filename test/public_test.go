package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

const publicConf = "--config=/etc/mail/mailcertd.yaml"

func publicYAML(p *bed.Pebble) string {
	return "issuer:\n  acme:\n    directory: " + p.Directory + "\n    agree_tos: true\n    ca_file: " + p.CAFile +
		"\nclient: {issuer: local}\nlog: {level: debug, target: stderr}\n"
}

// reread makes the host's daemon read its configuration again.
func reread(t *testing.T, h *bed.Host) {
	t.Helper()
	h.Must(t, "kill", "-HUP", daemonPID(t, h))
}

// daemonPID is the process of the host's daemon. A program that it is just starting has its name for a moment, so the
// oldest one counts.
func daemonPID(t testing.TB, h *bed.Host) string {
	t.Helper()
	return strings.TrimSpace(h.Must(t, "pgrep", "-o", "-x", "mailcertd"))
}

// inState changes a time in the state file, so that a test need not wait: Pebble tells clients to ask about renewal
// every six hours only.
func inState(t *testing.T, h *bed.Host, name, value string) {
	t.Helper()
	path := h.Path("/var/db/mailcertd/state.json")
	if name == "renew" || name == "poll" { // the CA's answer about the installed certificate must not come later
		bed.Wait(t, "the state to have the CA's answer about host.cert", func() error {
			data, err := os.ReadFile(path)
			leaf := h.Must(t, "sh", "-c", "openssl x509 -outform der -in /etc/mail/certs/host.cert | sha256sum")
			if err == nil && !regexp.MustCompile(`"leaf": ?"`+strings.Fields(leaf)[0]+`"`).Match(data) {
				err = fmt.Errorf("it is about another one:\n%s", data)
			}
			return err
		})
	}
	inStateFile(t, path, name, value)
}

func inStateFile(t *testing.T, path, name, value string) {
	t.Helper()
	times, byWindow := regexp.MustCompile(`"`+name+`": ?"[^"]*"`), regexp.MustCompile(`"by_window": ?true`)
	bed.Wait(t, "the state to have "+name, func() error {
		data, err := os.ReadFile(path)
		if err == nil && !times.Match(data) {
			err = fmt.Errorf("the state has none:\n%s", data)
		}
		if err == nil {
			changed := times.ReplaceAllString(string(data), `"`+name+`":"`+value+`"`)
			changed = byWindow.ReplaceAllString(changed, `"by_window":false`) // otherwise a new one is kept for a day
			write(t, path+".new", changed, 0o600)
			err = os.Rename(path+".new", path)
		}
		return err
	})
}

// TestPublic follows a public certificate: an interim one is served at once, then the CA's with its chain. It is
// renewed in the window that the CA names, nothing changes while the CA is away, and the host changes to its own CA and
// back.
func TestPublic(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	conf := h.Path("/etc/mail/mailcertd.yaml")
	write(t, conf, publicYAML(p), 0o644)
	begun := time.Now()
	h.Run(m, publicConf, "ensure") // its status says that the certificate is an interim one
	if took := time.Since(begun); took > 10*time.Second || p.Orders() != 0 {
		t.Errorf("ensure took %s and placed %d orders", took, p.Orders())
	}
	h.Start(t)
	interim := h.OnDisk(t)
	if h.Serial("127.0.0.1:25") != interim {
		t.Fatal("the interim certificate is not served")
	}
	log := h.Daemon(t, m, publicConf, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", log())
		}
	})
	first := serves(t, h, interim)
	if is := issuerOf(t, h); !strings.Contains(is, "Pebble Intermediate") {
		t.Errorf("issued by %s", is)
	}
	chain := func() error {
		out, _ := h.Run("bash", "-c",
			"openssl s_client -starttls smtp -connect 127.0.0.1:25 -showcerts </dev/null 2>&1")
		if n := strings.Count(out, "BEGIN CERTIFICATE"); n != 2 || !strings.Contains(out, "i:CN = Pebble Root") &&
			!strings.Contains(out, "i:CN=Pebble Root") {
			return fmt.Errorf("sendmail sends %d certificates:\n%s", n, out)
		}
		return nil
	}
	bed.Wait(t, "the whole chain to be sent", chain)
	if out, code := h.Run(m, publicConf, "check"); code != 0 {
		t.Errorf("check: %d\n%s", code, out)
	}
	if out := h.Must(t, m, publicConf, "status"); !strings.Contains(out, p.Directory) ||
		!strings.Contains(out, "issued by an ACME CA") || !strings.Contains(out, "as the CA proposes") ||
		!strings.Contains(out, "/my-account/") {
		t.Errorf("status:\n%s", out)
	}
	keys, _ := filepath.Glob(h.Path("/var/db/mailcertd/acme/*.key"))
	if len(keys) != 1 {
		t.Fatalf("account keys: %q", keys)
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(keys[0]): 0o700, keys[0]: 0o600} {
		if i, err := os.Stat(path); err != nil || i.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, i.Mode(), err)
		}
	}
	if out, code := h.Run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80"); code == 0 {
		t.Errorf("port 80 is open when nothing is ordered: %s", out)
	}

	// A person runs renew: it prints each step, and the order names the certificate that it replaces.
	h.Must(t, m, publicConf, "renew")
	second := serves(t, h, first)
	if p.Orders() != 2 {
		t.Errorf("%d orders after renew", p.Orders())
	}
	if n := strings.Count(p.Log(), "is a replacement of"); n != 1 {
		t.Errorf("%d replacements", n)
	}

	// The CA asks for a renewal now. A daemon that has just started asks the CA at once.
	data, err := os.ReadFile(h.Path("/etc/mail/certs/host.cert"))
	if err != nil {
		t.Fatal(err)
	}
	p.RenewFrom(t, data, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	inState(t, h, "poll", "2020-01-01T00:00:00Z")
	reread(t, h)
	third := serves(t, h, second)

	// The host changes to its own CA and back, and offers STARTTLS at every moment.
	serial := func(to string, old string) string {
		t.Helper()
		write(t, conf, to, 0o644)
		reread(t, h)
		return serves(t, h, old)
	}
	local := serial("issuer: local\nlog: {level: debug, target: stderr}\n", third)
	if is := issuerOf(t, h); strings.Contains(is, "Pebble") {
		t.Errorf("issued by %s", is)
	}
	back := serial(publicYAML(p), local)
	if is := issuerOf(t, h); !strings.Contains(is, "Pebble Intermediate") {
		t.Errorf("issued by %s", is)
	}
	bed.Wait(t, "the whole chain to be sent", chain)

	// While the CA is away the certificate stays, and renew says why it got no other.
	p.Stop()
	out, code := h.Run(m, publicConf, "renew")
	if code == 0 || !strings.Contains(out, "connection refused") {
		t.Errorf("renew with the CA away: %d\n%s", code, out)
	}
	if got := h.Serial("127.0.0.1:25"); got != back {
		t.Errorf("serves %q", got)
	}
	inState(t, h, "renew", "2020-01-01T00:00:00Z")
	reread(t, h)
	bed.Wait(t, "the daemon to say that the CA is away", func() error {
		out, code := h.Run(m, publicConf, "check")
		if code != 1 || !strings.Contains(out, "issuer-away") || !strings.Contains(out, "asks again") {
			return fmt.Errorf("check: %d\n%s", code, out)
		}
		return nil
	})
	if got := h.Serial("127.0.0.1:25"); got != back {
		t.Errorf("serves %q", got)
	}
	// The CA comes back and no longer knows the account or the certificate.
	p.Start(t)
	h.Must(t, m, publicConf, "renew")
	serves(t, h, back)

	// purge removes what mailcertd made, also the account's key.
	h.Must(t, "kill", daemonPID(t, h))
	bed.Wait(t, "purge to find no daemon", func() error {
		if out, code := h.Run(m, publicConf, "purge", "--yes"); code != 0 {
			return fmt.Errorf("%d\n%s", code, out)
		}
		return nil
	})
	if left, err := os.ReadDir(h.Path("/var/db/mailcertd")); err == nil {
		t.Errorf("purge has left %v", left)
	}
}

// The first certificate is proven by a TXT record. BIND accepts it with a TSIG key, and it is removed afterwards. With
// a wrong TSIG key, renew reports the reason.
func TestPublicByDNS(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	key := bed.TSIGKey(t, "mail")
	named := bed.NewNamed(t, h.Command, []string{"127.0.0.1"}, "recursion no;", key, bed.NamedZone{Name: "example.test",
		Statements: `type primary; allow-update { key mail; };`, Text: `$TTL 60
@ SOA ns.example.test. root.example.test. 1 60 60 600 1
@ NS ns.example.test.
ns A 127.0.0.1
mail-a A 127.0.0.1
`})
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h, DNS: "127.0.0.1:53"})
	yaml := "issuer:\n  acme: {directory: '" + p.Directory + "', agree_tos: true, ca_file: " + p.CAFile +
		", challenge: dns}\nclient: {issuer: local}\n" +
		"dns: {server: 127.0.0.1, key_file: /etc/mail/dns.key, resolver: 127.0.0.1}\n"
	write(t, h.Path("/etc/mail/mailcertd.yaml"), yaml, 0o644)
	write(t, h.Path("/etc/mail/dns.key"), bed.TSIGKey(t, "mail"), 0o600) // another key with the same name
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	out, code := h.Run(m, publicConf, "renew")
	if code == 0 || !strings.Contains(out, "TSIG") || p.Orders() != 1 {
		t.Errorf("renew with another key: %d, %d orders\n%s", code, p.Orders(), out)
	}
	if h.Serial("127.0.0.1:25") != interim {
		t.Error("the interim certificate is not served any more")
	}
	write(t, h.Path("/etc/mail/dns.key"), key, 0o600)
	h.Must(t, m, publicConf, "renew")
	serves(t, h, interim)
	if p.Orders() != 1 {
		t.Errorf("%d orders: the open one was to be continued", p.Orders())
	}
	added, gone := strings.Count(named.Log(), "adding an RR at '_acme-challenge."),
		strings.Count(named.Log(), "deleting an RR at _acme-challenge.")
	if added != 1 || gone != 1 {
		t.Errorf("the record was added %d times and removed %d times:\n%s", added, gone, named.Log())
	}
}
