package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"mailcertd/internal/pki"
	"mailcertd/test/bed"
)

// publicHost is a host whose daemon asks Pebble through a front, with the challenge dns in a zone with two servers.
type publicHost struct {
	*bed.Host
	m         string
	p         *bed.Pebble
	front     *bed.Front
	secondary *bed.Named
	log       func() string
}

const dnsYAML = "dns: {server: 127.0.0.1, key_file: /etc/mail/dns.key, resolver: 127.0.0.1}\n"

// newPublicHost makes a host whose sendmail serves an interim certificate. The secondary server copies the zone once,
// and then only when the test tells it to.
func newPublicHost(t *testing.T, key string) *publicHost {
	t.Helper()
	h := &publicHost{Host: bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), m: bed.Binary(t, "crashpoints")}
	h.Must(t, "ip", "addr", "add", "127.0.0.2/8", "dev", "lo")
	bed.NewNamed(t, h.Command, []string{"127.0.0.1"}, "recursion no;", key, bed.NamedZone{Name: "example.test",
		Statements: `type primary; notify no; allow-update { key mail; };`, Text: `$TTL 60
@ SOA ns1.example.test. root.example.test. 1 3600 3600 86400 1
@ NS ns1.example.test.
@ NS ns2.example.test.
ns1 A 127.0.0.1
ns2 A 127.0.0.2
mail-a A 127.0.0.1
`})
	h.secondary = bed.NewNamed(t, h.Command, []string{"127.0.0.2"}, "recursion no;", "", bed.NamedZone{
		Name: "example.test", Statements: "type secondary; notify no; primaries { 127.0.0.1; };"})
	h.p = bed.NewPebble(t, bed.PebbleOptions{Host: h.Host, DNS: "127.0.0.1:53"})
	h.front = bed.NewFront(t, h.p)
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer:\n  acme: {directory: '"+h.front.Directory+
		"', agree_tos: true, ca_file: "+h.front.CAFile+", challenge: dns}\nclient: {issuer: local}\n"+
		"log: {level: debug, target: stderr}\n"+dnsYAML, 0o644)
	h.Run(h.m, publicConf, "ensure")
	h.Start(t)
	return h
}

// daemon starts the daemon, after it has ended the one that runs.
func (h *publicHost) daemon(t *testing.T) {
	t.Helper()
	h.Run("pkill", "-x", "mailcertdcrashp") // the first 15 octets of its name
	bed.Wait(t, "no daemon to run", func() error {
		if out, code := h.Run("pgrep", "-x", "mailcertdcrashp"); code == 0 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	h.log = h.Daemon(t, "env", "MAILCERTD_ORDER_FOR=4s", h.m, publicConf, "run")
}

// again makes the daemon ask again: it puts the time in the state that the daemon waits for into the past.
func (h *publicHost) again(t *testing.T, what string) {
	t.Helper()
	inState(t, h.Host, what, "2020-01-01T00:00:00Z")
	h.Must(t, "pkill", "-HUP", "-x", "mailcertdcrashp")
}

// tells waits until check and status report the reason with these words, and returns the output of check. It then
// restarts the daemon: the reports must stay the same, and the new daemon must not ask the CA before its time.
func (h *publicHost) tells(t *testing.T, reason string, words ...string) (out string) {
	t.Helper()
	told := func() error {
		var code int
		out, code = h.Run(h.m, publicConf, "check")
		out = strings.Join(strings.Fields(out), " ")
		for _, w := range append(words, "["+reason+"]", "the present files stay in use", "asks again") {
			if code != 1 || !strings.Contains(out, w) {
				return fmt.Errorf("check: %d, want %q\n%s", code, w, out)
			}
		}
		var rep struct {
			Problems []struct{ Reason, Text, Hint string }
		}
		status, _ := h.Run(h.m, publicConf, "status", "--json")
		if err := json.Unmarshal([]byte(status), &rep); err != nil {
			return fmt.Errorf("%w\n%s", err, status)
		}
		for _, p := range rep.Problems {
			if p.Reason == reason && p.Hint != "" && strings.Contains(p.Text, words[0]) {
				return nil
			}
		}
		return fmt.Errorf("status: %+v", rep.Problems)
	}
	bed.Wait(t, "check and status to tell "+reason, told)
	orders := h.p.Orders()
	h.daemon(t)
	bed.Wait(t, "the daemon to have looked", func() error {
		if !strings.Contains(h.log(), "next") {
			return fmt.Errorf("%s", h.log())
		}
		return nil
	})
	if err := told(); err != nil {
		t.Error(err)
	}
	if log := h.log(); strings.Contains(log, "asking https") || h.p.Orders() != orders {
		t.Errorf("a new daemon asks at once:\n%s", log)
	}
	return out
}

// A daemon that gets no certificate reports the true reason and what to do. Each time the test does that, and then the
// certificate comes. sendmail serves the present certificate all the time.
func TestPublicNo(t *testing.T) {
	t.Parallel()
	key := bed.TSIGKey(t, "mail")
	h := newPublicHost(t, key)
	t.Cleanup(func() {
		if t.Failed() && h.log != nil {
			t.Logf("mailcertd:\n%s", h.log())
		}
	})
	write(t, h.Path("/etc/mail/dns.key"), bed.TSIGKey(t, "mail"), 0o600) // another key with the same name
	h.daemon(t)
	h.tells(t, "acme-challenge", "TSIG")

	// The TSIG key is right now, but one server of the zone lags.
	write(t, h.Path("/etc/mail/dns.key"), key, 0o600)
	h.again(t, "next")
	h.tells(t, "acme-challenge", "check the zone transfer from the primary server to ns2.example.test")
	interim := h.OnDisk(t)
	if h.Serial("127.0.0.1:25") != interim {
		t.Error("the interim certificate is not served any more")
	}
	h.again(t, "next")
	bed.Wait(t, "a certificate", func() error {
		h.secondary.Control(t, "retransfer", "example.test")
		if h.OnDisk(t) == interim {
			return fmt.Errorf("none")
		}
		return nil
	})
	first := serves(t, h.Host, interim)
	if h.p.Orders() != 1 {
		t.Errorf("%d orders: the open one was to be continued", h.p.Orders())
	}

	// The CA refuses more orders for three hours.
	until := time.Now().Add(3 * time.Hour)
	h.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/order-plz" {
			return false
		}
		w.Header().Set("Retry-After", "10800")
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Replay-Nonce", "bm9uY2U")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates for this name"}`)
		return true
	}, nil)
	h.again(t, "renew")
	out := h.tells(t, "acme-rate-limit", "too many certificates for this name",
		"an earlier order would be refused again")
	at := regexp.MustCompile(`asks again at (\S+ \S+) \S+ warning`).FindStringSubmatch(out)
	if at == nil {
		t.Fatalf("when? %s", out)
	}
	if next, err := time.ParseInLocation("2006-01-02 15:04", at[1], time.Local); err != nil ||
		next.Sub(until).Abs() > 2*time.Minute {
		t.Errorf("asks again at %s (%v), the CA said %s", at[1], err, until)
	}

	// The account is deactivated. The test removes the files that check names, and there is another account.
	h.front.Hook(nil, nil)
	h.deactivate(t)
	h.again(t, "next")
	out = h.tells(t, "acme-account", "deactivated", "to create another account, remove")
	if h.Serial("127.0.0.1:25") != first {
		t.Error("the certificate is not served any more")
	}
	files := regexp.MustCompile(`remove (\S+) and (\S+?)[ ;]`).FindStringSubmatch(out)
	if files == nil {
		t.Fatalf("which files? %s", out)
	}
	h.Must(t, "rm", files[1], files[2])
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				h.secondary.Control(t, "retransfer", "example.test")
			}
		}
	}()
	h.Must(t, h.m, publicConf, "renew")
	serves(t, h.Host, first)
	if h.p.Accounts() != 2 {
		t.Errorf("%d accounts", h.p.Accounts())
	}
}

// deactivate makes the CA deactivate the account.
func (h *publicHost) deactivate(t *testing.T) {
	t.Helper()
	keys, _ := filepath.Glob(h.Path("/var/db/mailcertd/acme/*.key"))
	if len(keys) != 1 {
		t.Fatalf("%q", keys)
	}
	data, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.ParseKey(data)
	if err != nil {
		t.Fatal(err)
	}
	var account struct{ URL string }
	if data, err = os.ReadFile(strings.TrimSuffix(keys[0], ".key") + ".account"); err == nil {
		err = json.Unmarshal(data, &account)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := acme.Client{Directory: h.front.Directory, HTTPClient: h.front.Client(h.p)}
	if _, err := c.UpdateAccount(context.Background(), acme.Account{PrivateKey: key, Location: account.URL,
		Status: "deactivated"}); err != nil && !strings.Contains(err.Error(), "deactivated") {
		t.Fatal(err)
	}
}
