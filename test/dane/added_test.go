package dane

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A second pair is added where there are TLSA records. mailcertd publishes its record, and says until when sendmail.cf
// is not to name it. Who waits so long loses no mail.
func TestAddedPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, world{follows: true, ttl: 5 * time.Second}, "type: rsa-2048")
	j := w.judges("")
	j.verifies()
	keys := []string{w.key("host")}
	w.edit("/etc/mail/mailcertd.yaml", "type: rsa-2048", "type: rsa-2048, second: ecdsa-p256")
	w.h.Must(t, "sh", "-c", "kill -HUP $(cat /run/mailcertd-test.pid)")
	w.says("this pair is new; let sendmail.cf name it only after")
	w.until("it is no longer said to be new", func() error {
		out, _ := w.h.Run(w.mailcertd("check")...)
		if strings.Contains(out, "tlsa") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if err := w.has(w.records()...); err != nil {
		t.Error(err)
	}
	w.edit("/etc/mail/sendmail.cf", "ServerCertFile=/etc/mail/certs/host.cert",
		"ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/host-ecdsa.cert",
		"ServerKeyFile=/etc/mail/certs/host.key",
		"ServerKeyFile=/etc/mail/certs/host.key,/etc/mail/certs/host-ecdsa.key")
	w.h.Stop()
	w.h.Start(t)
	keys = append(keys, w.key("host-ecdsa")) // a mail host prefers it
	w.until("a mail host sees the second pair", func() error {
		a := j.last()
		return errorUnless(a.key == keys[1], "%s", a.text)
	})
	if got := j.only()[""]; fmt.Sprint(got) != fmt.Sprint(keys) {
		t.Errorf("the mail host has verified the keys %v, must have %v", got, keys)
	}
}

// A second pair is configured where sendmail.cf names it already. sendmail offers STARTTLS all the time, and no mail
// host sees a key whose record it cannot know: until then, placeholders are in place of the pair.
func TestFirstKeyOfAPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, world{follows: true, ttl: 10 * time.Second}, "type: rsa-2048")
	j := w.judges("")
	j.verifies()
	keys := []string{w.key("host")}
	w.edit("/etc/mail/sendmail.cf", "ServerCertFile=/etc/mail/certs/host.cert",
		"ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/host-ecdsa.cert",
		"ServerKeyFile=/etc/mail/certs/host.key",
		"ServerKeyFile=/etc/mail/certs/host.key,/etc/mail/certs/host-ecdsa.key")
	w.edit("/etc/mail/mailcertd.yaml", "type: rsa-2048", "type: rsa-2048, second: ecdsa-p256")
	began := time.Now()
	w.h.Must(t, "sh", "-c", "kill -HUP $(cat /run/mailcertd-test.pid)")
	w.says("this pair is new, and sendmail.cf names it")
	w.h.Stop() // its owner wants it to read sendmail.cf
	w.h.Start(t)
	j.verifies()
	w.until("the second pair is there", func() error { return errorUnless(w.key("host-ecdsa") != "", "no key") })
	if took := time.Since(began); took < w.ttl {
		t.Errorf("the key was installed after %s, and resolvers remember records for %s", took, w.ttl)
	}
	keys = append(keys, w.key("host-ecdsa"))
	w.until("a mail host sees the second pair", func() error {
		a := j.last()
		return errorUnless(a.key == keys[1], "%s", a.text)
	})
	if got := j.only()[""]; fmt.Sprint(got) != fmt.Sprint(keys) {
		t.Errorf("the mail host has verified the keys %v, must have %v", got, keys)
	}
	w.until("the records of both pairs, and nothing to report", func() error {
		out, code := w.h.Run(w.mailcertd("check")...)
		return errors.Join(w.has(w.records()...), errorUnless(code == 0 && !strings.Contains(out, "tlsa"), "%s", out))
	})
}

// The state is lost while a next key waits. The change goes on with the same key, and no record is left behind.
func TestStateLostDuringAChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, world{follows: true, ttl: 5 * time.Second}, "type: rsa-2048")
	j := w.judges("")
	j.verifies()
	keys := []string{w.key("host")}
	w.rekey()
	next := w.published(primary)
	w.kill()
	w.ok(os.Remove(w.h.Path("/var/db/mailcertd/state.json")))
	w.must("ensure") // what rc.d runs before the daemon
	w.start()
	w.changes(next)
	w.until("only the record of the new key stays", func() error { return w.has(w.records()...) })
	if got := j.only()[""]; fmt.Sprint(got) != fmt.Sprint(append(keys, next)) {
		t.Errorf("the mail host has verified the keys %v, must have %v and %s", got, keys, next)
	}
}

// edit replaces texts in a file of the host; each old one is followed by the new one.
func (w *world) edit(path string, oldnew ...string) {
	w.t.Helper()
	data, err := os.ReadFile(w.h.Path(path))
	w.ok(err)
	w.ok(os.WriteFile(w.h.Path(path), []byte(strings.NewReplacer(oldnew...).Replace(string(data))), 0o644))
}
