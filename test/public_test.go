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

// reread has the daemon of a host read its configuration again.
func reread(t *testing.T, h *bed.Host) {
	t.Helper()
	pid := strings.TrimSpace(h.Must(t, "pgrep", "-x", "mailcertd"))
	h.Must(t, "kill", "-HUP", pid)
}

// inState changes a time that the state has. With it a test need not wait: Pebble wants to be asked every six hours.
func inState(t *testing.T, h *bed.Host, name, value string) {
	t.Helper()
	path := h.Path("/var/db/mailcertd/state.json")
	times := regexp.MustCompile(`"` + name + `": ?"[^"]*"`)
	bed.Wait(t, "the state to have "+name, func() error {
		data, err := os.ReadFile(path)
		if err == nil && !times.Match(data) {
			err = fmt.Errorf("the state has none:\n%s", data)
		}
		if err == nil {
			write(t, path+".new", times.ReplaceAllString(string(data), `"`+name+`":"`+value+`"`), 0o600)
			err = os.Rename(path+".new", path)
		}
		return err
	})
}

// The story of a public certificate: an interim one serves at once, then that of the CA, with its chain; it is renewed
// in the CA's window; a CA that is away changes nothing; and the host goes to its own CA and back.
func TestPublic(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, h, "")
	conf := h.Path("/etc/mail/mailcertd.yaml")
	write(t, conf, publicYAML(p), 0o644)
	begun := time.Now()
	h.Run(m, publicConf, "ensure") // it says that the certificate is an interim one
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
		!strings.Contains(out, "issued by a public CA (ACME)") || !strings.Contains(out, "as the CA wants it") ||
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

	// A person asks: each step is told, and the order names what it replaces.
	h.Must(t, m, publicConf, "renew")
	second := serves(t, h, first)
	if p.Orders() != 2 {
		t.Errorf("%d orders after renew", p.Orders())
	}
	if n := strings.Count(p.Log(), "is a replacement of"); n != 1 {
		t.Errorf("%d replacements", n)
	}

	// The CA wants it to be renewed now. A new daemon asks at once.
	data, err := os.ReadFile(h.Path("/etc/mail/certs/host.cert"))
	if err != nil {
		t.Fatal(err)
	}
	p.RenewFrom(t, data, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	inState(t, h, "poll", "2020-01-01T00:00:00Z")
	reread(t, h)
	third := serves(t, h, second)

	// To the CA of this host, and back, with STARTTLS at every moment.
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

	// The CA is away: what is there stays, and a person is told why nothing came.
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
	// It comes back, and knows neither the account nor the certificate any more.
	p.Start(t)
	h.Must(t, m, publicConf, "renew")
	serves(t, h, back)

	// What was made goes: the account's key too.
	h.Must(t, "kill", strings.TrimSpace(h.Must(t, "pgrep", "-x", "mailcertd")))
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

// A first certificate by a TXT record, which BIND takes with a key and which is gone afterwards; and what a person is
// told where the key is another one.
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
	m, p := bed.Binary(t, ""), bed.NewPebble(t, h, "127.0.0.1:53")
	yaml := "issuer:\n  acme: {directory: '" + p.Directory + "', agree_tos: true, ca_file: " + p.CAFile +
		", challenge: dns}\nclient: {issuer: local}\n" +
		"dns: {server: 127.0.0.1, key_file: /etc/mail/dns.key, resolver: 127.0.0.1}\n"
	write(t, h.Path("/etc/mail/mailcertd.yaml"), yaml, 0o644)
	write(t, h.Path("/etc/mail/dns.key"), bed.TSIGKey(t, "mail"), 0o600) // of the same name, and another one
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
