package test

import (
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// Who waits for `renew` at a terminal is shown each step of the order, in its order, and that sendmail serves the
// certificate. A file gets what was done alone.
func TestRenewShowsItsSteps(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "script")
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	write(t, h.Path("/etc/mail/mailcertd.yaml"), strings.Replace(publicYAML(p), "level: debug", "level: warn", 1),
		0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	steps := []string{"asking " + p.Directory + " for a certificate for mail-a.example.test", "creating an account",
		"placing an order for mail-a.example.test", "the CA validates mail-a.example.test (http-01)",
		"the CA has validated mail-a.example.test", "sending the certificate request", "downloading the certificate",
		"installed host.cert", "sendmail serves serial"}

	out, code := onTerminal(t, strings.Join(h.Command(m, publicConf, "renew").Args, " "))
	if code != 0 || p.Orders() != 1 {
		t.Errorf("renew: %d, %d orders", code, p.Orders())
	}
	at := 0
	for _, s := range steps {
		i := strings.Index(out[at:], s)
		if i < 0 {
			t.Fatalf("%q is missing, or not in its place:\n%s", s, out)
		}
		at += i
	}
	for line := range strings.SplitSeq(out, "\n") {
		shown := line[strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r')+1:]
		if strings.ContainsAny(shown, "\x1b\x07") || strings.Contains(shown, "/acme/") {
			t.Errorf("the line %q", shown)
		}
	}
	first := serves(t, h, interim)

	said := h.Must(t, m, publicConf, "renew")
	for _, s := range steps[1:7] {
		if strings.Contains(said, s) {
			t.Errorf("a file gets %q:\n%s", s, said)
		}
	}
	serves(t, h, first)
}
