package test

import (
	"os"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// host makes a host on which mailcertd has run and then sendmail has started.
func host(t *testing.T, changes ...string) (*bed.Host, string) {
	t.Helper()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1", changes...)
	m := bed.Binary(t, "")
	h.Must(t, m, "ensure")
	return h, m
}

// After ensure on an empty disk the real sendmail complains about nothing and offers STARTTLS with that certificate.
// After renew it serves the new certificate, and no person had to restart it.
func TestFirstBootAndRenewal(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	h.Start(t)
	if c := h.Complaints(); len(c) > 0 {
		t.Errorf("sendmail complains:\n%s", strings.Join(c, "\n"))
	}
	if !strings.Contains(h.Log(), "Diffie-Hellman init, key=3072 bit") {
		t.Errorf("dh.param was not read:\n%s", h.Log())
	}
	if !h.Offers(t) || h.Serial("127.0.0.1:25") != h.OnDisk(t) {
		t.Fatalf("serves %q", h.Serial("127.0.0.1:25"))
	}
	before := h.PID()
	out := h.Must(t, m, "renew")
	if !strings.Contains(out, "sendmail serves serial "+h.OnDisk(t)+" at 127.0.0.1:25") {
		t.Errorf("renew says:\n%s", out)
	}
	if got := h.Serial("127.0.0.1:25"); got != h.OnDisk(t) {
		t.Errorf("serves %q after renew", got)
	}
	if h.PID() == before {
		t.Error("sendmail was not restarted")
	}
	if n := strings.Count(h.Log(), "restarting"); n != 1 {
		t.Errorf("%d restarts\n%s", n, h.Log())
	}
	if out := h.Must(t, m, "ensure"); !strings.Contains(out, "nothing to do") {
		t.Errorf("a second ensure:\n%s", out)
	}
	if out := h.Must(t, m, "renew", "--rekey", "--now"); !strings.Contains(out, "serves serial "+h.OnDisk(t)) {
		t.Errorf("renew --rekey --now says:\n%s", out)
	}
	if err := os.RemoveAll(h.Path("/var/db/mailcertd")); err != nil {
		t.Fatal(err)
	}
	if out, code := h.Run(m, "check"); code != 0 {
		t.Errorf("without the state: %d\n%s", code, out)
	}
}
