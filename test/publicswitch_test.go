package test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/smtp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/test/bed"
)

// sight is what a client saw on port 25.
type sight struct {
	at     time.Time
	serial string // of the served leaf
	err    error
	closed bool // nobody listened, as for a moment after each HUP
}

// see asks for STARTTLS once.
func see(h *bed.Host) (s sight) {
	s.at = time.Now()
	c, err := h.Dial("tcp", "127.0.0.1:25")
	if err != nil {
		s.err, s.closed = err, true
		return s
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	client, err := smtp.NewClient(c, "localhost")
	if err != nil {
		_ = c.Close()
		// A connection that waited to be accepted when sendmail closed its port is reset before any greeting.
		s.err, s.closed = err, errors.Is(err, syscall.ECONNRESET)
		return s
	}
	defer func() { _ = client.Close() }()
	if s.err = client.Hello("probe.example.test"); s.err != nil {
		return s
	}
	if s.err = client.StartTLS(&tls.Config{InsecureSkipVerify: true}); s.err != nil { //nolint:gosec
		return s
	}
	state, _ := client.TLSConnectionState()
	s.serial = ca.FormatSerial(state.PeerCertificates[0].SerialNumber)
	s.err = client.Quit()
	return s
}

// probes asks for STARTTLS again and again until the end of the test. The returned function ends it and returns what
// was seen.
func probes(t *testing.T, h *bed.Host) func() []sight {
	t.Helper()
	end, done := make(chan struct{}), make(chan []sight, 1)
	go func() {
		var all []sight
		for {
			select {
			case <-end:
				done <- all
				return
			case <-time.After(200 * time.Millisecond):
				all = append(all, see(h))
			}
		}
	}()
	return func() []sight { close(end); return <-done }
}

// A host changes from its own CA to a public one, back, and there again, while a client asks for STARTTLS all the time.
// Every connection that is made gets STARTTLS with one of the certificates that were installed, in their order.
func TestPublicSwitch(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	conf := h.Path("/etc/mail/mailcertd.yaml")
	const local = "issuer: local\nclient: {issuer: local}\nlog: {level: debug, target: stderr}\n"
	write(t, conf, local, 0o644)
	h.Must(t, m, publicConf, "ensure")
	h.Start(t)
	log := h.Daemon(t, m, publicConf, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", log())
		}
	})
	served := []string{h.OnDisk(t)}
	seen := probes(t, h)
	for n, to := range []string{publicYAML(p), local, publicYAML(p)} {
		write(t, conf, to, 0o644)
		reread(t, h)
		served = append(served, serves(t, h, served[n]))
		if is := issuerOf(t, h); strings.Contains(is, "Pebble Intermediate") != (n != 1) {
			t.Errorf("change %d: issued by %s", n, is)
		}
		time.Sleep(time.Second)
	}
	at, refused, longest := 0, 0, time.Duration(0)
	var since time.Time
	for _, s := range seen() {
		if s.closed {
			if refused++; since.IsZero() {
				since = s.at
			}
			longest = max(longest, s.at.Sub(since))
			continue
		}
		since = time.Time{}
		if s.err != nil {
			t.Errorf("%s: %v", s.at, s.err)
			continue
		}
		switch {
		case s.serial == served[at]:
		case at+1 < len(served) && s.serial == served[at+1]:
			at++
		default:
			t.Errorf("%s: serves %s after certificate %d of %q", s.at, s.serial, at, served)
		}
	}
	if at != len(served)-1 {
		t.Errorf("certificate %d was the last one seen, of %q", at, served)
	}
	t.Logf("%d connections were refused, the longest time was %s", refused, longest)
	if longest > 3*time.Second {
		t.Errorf("nobody listened for %s", longest)
	}
	if p.Orders() > 2 {
		t.Errorf("%d orders", p.Orders())
	}
}

// The first ACME CA is away from the beginning. After an hour the fallback is asked, and check and status say that the
// certificate is from it. When the first CA is back, the next renewal asks it.
func TestPublicFallback(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	second := bed.NewPebble(t, bed.PebbleOptions{Host: h, Second: true})
	p.Stop()
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer:\n  acme:\n    directory: "+p.Directory+
		"\n    agree_tos: true\n    ca_file: "+p.CAFile+"\n    fallback: {directory: '"+second.Directory+
		"', agree_tos: true, ca_file: "+second.CAFile+"}\nclient: {issuer: local}\n"+
		"log: {level: debug, target: stderr}\n", 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	log := h.Daemon(t, m, publicConf, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", log())
		}
	})
	bed.Wait(t, "check to say when the fallback is asked", func() error {
		out, code := h.Run(m, publicConf, "check")
		out = strings.Join(strings.Fields(out), " ")
		if code != 1 || !strings.Contains(out, "it asks the fallback "+second.Directory+" from ") {
			return fmt.Errorf("%d\n%s", code, out)
		}
		return nil
	})
	if second.Orders() != 0 {
		t.Error("the fallback was asked at once")
	}
	inState(t, h, "first", "2020-01-01T00:00:00Z")
	reread(t, h)
	first := serves(t, h, interim)
	if p.Orders() != 0 || second.Orders() != 1 {
		t.Errorf("%d orders, %d at the fallback", p.Orders(), second.Orders())
	}
	out, code := h.Run(m, publicConf, "check")
	if code != 0 || !strings.Contains(out, "[acme-fallback]") {
		t.Errorf("check: %d\n%s", code, out)
	}
	if out := h.Must(t, m, publicConf, "status"); !strings.Contains(out, second.Directory) ||
		!strings.Contains(out, "it issued the certificate") {
		t.Errorf("status:\n%s", out)
	}
	if log := log(); !strings.Contains(log, "asking "+second.Directory) {
		t.Error("the log does not say that the fallback is asked")
	}
	p.Start(t)
	bed.Wait(t, "the fallback to say when to renew", func() error {
		if out := h.Must(t, m, publicConf, "status", "--json"); !strings.Contains(out, `"window"`) {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	inState(t, h, "renew", "2020-01-01T00:00:00Z")
	inState(t, h, "poll", "2020-01-01T00:00:00Z")
	h.Must(t, m, publicConf, "renew")
	serves(t, h, first)
	if p.Orders() != 1 || second.Orders() != 1 {
		t.Errorf("%d orders, %d at the fallback", p.Orders(), second.Orders())
	}
	if out, code := h.Run(m, publicConf, "check"); code != 0 || strings.Contains(out, "acme-fallback") {
		t.Errorf("check: %d\n%s", code, out)
	}
}

// listeners returns what mailcertd listens on.
func listeners(t *testing.T, h *bed.Host) (out []string) {
	t.Helper()
	for line := range strings.Lines(h.Must(t, "ss", "-Hltnp")) {
		if f := strings.Fields(line); strings.Contains(line, "mailcertd") && len(f) > 3 {
			out = append(out, f[3])
		}
	}
	return out
}

// mailcertd listens on the address of the jail alone, and only while the CA is about to look. A kill at that moment
// leaves nobody listening, and the next daemon continues the same order.
func TestPublicPort(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	front := bed.NewFront(t, p)
	looks, goOn := make(chan bool), make(chan struct{})
	var held atomic.Bool
	front.Hook(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/chalZ/") || !held.CompareAndSwap(false, true) {
			return false
		}
		looks <- true
		<-goOn
		return true // the CA was not told to look
	}, nil)
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer:\n  acme:\n    directory: "+front.Directory+
		"\n    agree_tos: true\n    ca_file: "+front.CAFile+"\n    http: {listen: '127.0.0.1:80'}\n"+
		"client: {issuer: local}\nlog: {level: debug, target: stderr}\n", 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	if got := listeners(t, h); len(got) > 0 {
		t.Errorf("before the daemon starts: %q", got)
	}
	h.Daemon(t, m, publicConf, "run")
	<-looks
	if got := listeners(t, h); len(got) != 1 || got[0] != "127.0.0.1:80" {
		t.Errorf("during the order: %q", got)
	}
	h.Must(t, "pkill", "-KILL", "-x", "mailcertd")
	bed.Wait(t, "the daemon to be gone", func() error {
		if out, code := h.Run("pgrep", "-x", "mailcertd"); code == 0 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if got := h.Must(t, "ss", "-Hltn", "sport = :80"); got != "" {
		t.Errorf("after the kill: %s", got)
	}
	close(goOn)
	log := h.Daemon(t, m, publicConf, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", log())
		}
	})
	serves(t, h, interim)
	if got := listeners(t, h); len(got) > 0 {
		t.Errorf("after the order: %q\n%s", got, log())
	}
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}
