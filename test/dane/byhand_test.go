package dane

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"mailcertd/internal/pki"
)

// A person brings a key and its certificate. It is refused until its record has been in the DNS for long enough, and is
// then installed without force, and no connection fails.
func TestKeyByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, world{follows: true, ttl: 5 * time.Second}, "type: ecdsa-p256")
	w.edit("/etc/mail/mailcertd.yaml", "publish: update", "publish: manual")
	w.h.Must(t, "sh", "-c", "kill -HUP $(cat /run/mailcertd-test.pid)")
	j := w.judges("")
	j.verifies()
	w.h.Must(t, "sh", "-ec", "cd /etc/mail; umask 077; openssl req -x509 -newkey ec -pkeyopt "+
		"ec_paramgen_curve:prime256v1 -nodes -keyout own.key -out own.cert -days 365 -subj /CN="+host+
		" -addext subjectAltName=DNS:"+host+" 2>/dev/null; cat own.key own.cert >own.pem")
	data, err := os.ReadFile(w.h.Path("/etc/mail/own.key"))
	w.ok(err)
	was, own := w.key("host"), pki.KeyFingerprint(pki.ReadKeyFile(data).Public)
	install := func() (string, int) { return w.h.Run(w.mailcertd("install", "/etc/mail/own.pem")...) }
	refused := func() {
		t.Helper()
		if out, code := install(); code == 0 || !strings.Contains(out, " IN TLSA 3 1 1 "+own) ||
			w.key("host") != was {
			t.Fatalf("status %d: %s", code, out)
		}
	}
	refused()
	w.update(func(m *wire.Msg) { m.Insert([]wire.RR{w.rr(tlsaName + " 5 IN TLSA " + record(own))}) })
	w.until("every name server has it", func() error { return w.has(record(was), record(own)) })
	came := time.Now()
	refused()
	w.until("it is installed", func() error {
		time.Sleep(w.ttl / 2) // each try asks the DNS, and the daemon waits for its turn after that
		out, code := install()
		st, _ := w.h.Run("cat", "/var/db/mailcertd/state.json")
		i := strings.Index(st, `"dane"`)
		return errorUnless(code == 0, "%s\n%s", out, st[max(i, 0):])
	})
	if took := time.Since(came); took < w.ttl || w.key("host") != own {
		t.Errorf("it was installed %s after its record was there: %s, must be %s", took, w.key("host"), own)
	}
	out, _ := w.h.Run(w.mailcertd("check")...)
	if strings.Contains(out, "before its TLSA record") {
		t.Error(out)
	}
	j.verifies()
	if got, want := j.only()[""], []string{was, own}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the mail host has verified the keys %v, must have %v", got, want)
	}
}
