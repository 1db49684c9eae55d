package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// told starts a renewal and kills it after the HUP, before the probe: the pickup is pending.
func told(t *testing.T, h *bed.Host, m string) {
	t.Helper()
	old := h.PID()
	cmd := h.Command(m, "renew")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the HUP to be noted as sent", func() error {
		if b, _ := os.ReadFile(h.Path("/var/db/mailcertd/state.json")); strings.Contains(string(b), `"sent": true`) ||
			strings.Contains(string(b), `"sent":true`) {
			return nil
		}
		return errors.New("not yet")
	})
	h.Run("pkill", "-KILL", "-x", "mailcertd") // its PID namespace has no other mailcertd
	_ = cmd.Wait()
	bed.Wait(t, "the next instance", func() error {
		if h.PID() == old || h.Serial("127.0.0.1:25") == "" {
			return errors.New("not yet")
		}
		return nil
	})
}

// A sendmail that got its HUP while cacert.pem was broken offers no STARTTLS. When the file has been repaired, sendmail
// must get another HUP.
func TestMendedAfterTheHUP(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	h.Start(t)
	told(t, h, m)
	h.Stop()
	write(t, h.Path("/etc/mail/certs/cacert.pem"), "", 0o644)
	h.Start(t)
	if h.Offers(t) {
		t.Fatal("STARTTLS without a CA")
	}
	bed.Wait(t, "the file to be newer than the process's start time, which is rounded", func() error {
		h.Run("touch", "/etc/mail/certs/cacert.pem") // as if some time had passed
		if out, _ := h.Run("sh", "-c",
			"test $(($(date +%s) - $(stat -c %Y /run/sendmail.pid))) -gt 3 && echo yes"); !strings.Contains(out,
			"yes") {
			return errors.New("not yet")
		}
		return nil
	})
	h.EnsureServes(t, m)
}

// A HUP that was noted and never sent, because of a crash or because the process could not be examined, is sent later.
// That is so also where sendmail serves the right certificate and another file is the one it has not read.
func TestNotedAndNeverSent(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	h.Start(t)
	pid, statePath := h.PID(), h.Path("/var/db/mailcertd/state.json")
	bed.Wait(t, "a change to be later than the process's start time, which is rounded", func() error {
		if out, _ := h.Run("sh", "-c",
			"test $(($(date +%s) - $(stat -c %Y /run/sendmail.pid))) -gt 3 && echo yes"); !strings.Contains(out,
			"yes") {
			return errors.New("not yet")
		}
		return nil
	})
	h.Must(t, "sh", "-c", "cp /etc/mail/sendmail.cf /run/cf; echo 'O NoSuchOption=1' >>/etc/mail/sendmail.cf")
	if out, _ := h.Run(m, "dhparam", "--group", "ffdhe2048"); h.PID() != pid {
		t.Fatalf("the HUP ended sendmail:\n%s", out)
	}
	h.Must(t, "sh", "-c", "cat /run/cf >/etc/mail/sendmail.cf")
	bed.Wait(t, "the pending HUP", func() error { // the state that a crash between the note and the signal leaves
		var st map[string]any
		b, err := os.ReadFile(statePath)
		if err == nil {
			err = json.Unmarshal(b, &st)
		}
		pickup, ok := st["pickup"].(map[string]any)
		if err != nil || !ok {
			return fmt.Errorf("%v: %s", err, b)
		}
		pickup["hups"] = []any{map[string]any{"instance": pickup["instance"],
			"at": time.Now().Add(-20 * time.Second).UTC().Format(time.RFC3339)}}
		if b, err = json.Marshal(st); err == nil {
			err = os.WriteFile(statePath, b, 0o600)
		}
		return err
	})
	bed.Wait(t, "the HUP", func() error {
		if out, code := h.Run(m, "ensure"); code != 0 || h.PID() == pid {
			return fmt.Errorf("status %d\n%s", code, out)
		}
		return nil
	})
}

// While sendmail would refuse the files it gets no HUP, so that it goes on serving the old ones. When the files are
// right it gets the pending HUP. The time before that does not count as an attempt.
func TestNoHUPForBrokenFiles(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer: none\nlog: {target: stderr, level: debug}\n", 0o644)
	h.Start(t)
	pid, served := h.PID(), h.Serial("127.0.0.1:25")
	certPath := h.Path("/etc/mail/certs/host.cert")
	good, err := os.ReadFile(certPath)
	if err != nil {
		t.Fatal(err)
	}
	// A pickup is pending for files that a person copied, when they are complete.
	h.Must(t, "sh", "-ec", `cd /etc/mail/certs; openssl req -x509 -key host.key -subj /CN=mail-a.example.test -addext subjectAltName=DNS:mail-a.example.test -days 9 -out /run/new.cert
		cp /etc/mail/sendmail.cf /run/cf; echo 'O NoSuchOption=1' >>/etc/mail/sendmail.cf; cat /run/new.cert >host.cert`)
	if out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "ensure"); code != 1 ||
		!strings.Contains(out, "it would stop sendmail") {
		t.Fatalf("no pickup is pending: %d\n%s", code, out)
	}
	h.Must(t, "sh", "-c", "cat /run/cf >/etc/mail/sendmail.cf")
	if err := os.WriteFile(certPath, good[:len(good)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "ensure")
	if h.PID() != pid || h.Serial("127.0.0.1:25") != served {
		t.Fatalf("a HUP while host.cert is cut off: pid %d became %d\n%s", pid, h.PID(), out)
	}
	h.Must(t, "sh", "-c", "cat /run/new.cert >/etc/mail/certs/host.cert")
	h.EnsureServes(t, m, "--config=/etc/mail/mailcertd.yaml")
	if h.PID() == pid {
		t.Errorf("pid %d got no HUP", pid)
	}
}
