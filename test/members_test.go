package test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailcertd/test/bed"
)

const (
	memberConf = "--config=/etc/mail/mailcertd.yaml"
	memberName = "mail-b.example.test"
	memberYAML = `issuer:
  ssh:
    target: mailcertd@10.99.0.1
    identity: /etc/mail/ssh/id
    known_hosts: /etc/mail/ssh/known_hosts
log: {level: debug, target: stderr}
`
)

// owner is a CA host and a member of it, connected with the real sshd.
type owner struct {
	a, b       *bed.Host
	m          string
	aLog, bLog func() string
}

// newOwner enrols b at a, with the steps that `ca enrol` prints. No sendmail runs yet.
func newOwner(t *testing.T, changesA ...string) *owner {
	t.Helper()
	o := &owner{a: bed.NewHost(t, "mail-a.example.test", "10.99.0.1", changesA...), m: bed.Binary(t, "")}
	o.b = bed.NewHost(t, memberName, "10.99.0.2")
	bed.Connect(t, o.a, o.b)
	write(t, o.a.Path("/etc/mail/mailcertd.yaml"), "log: {level: debug, target: stderr}\n"+
		"ca: {subject: {country: jp, organization: 'Ho+me (old) \"net\" <x> mür\\\\'}}\n", 0o644)
	o.a.Must(t, o.m, memberConf, "ensure")
	known := o.a.SSHD(t)
	pub := o.b.SSHKey(t, "/etc/mail/ssh/id")
	write(t, o.b.Path("/etc/mail/ssh/known_hosts"), known, 0o644)
	write(t, o.a.Path("/etc/mail/b.pub"), pub+"\n", 0o644)
	out := o.a.Must(t, o.m, memberConf, "ca", "enrol", memberName, "--from", "10.99.0.2", "--key", "/etc/mail/b.pub")
	line := regexp.MustCompile(`(?m)^restrict,.*$`).FindString(out)
	want := `restrict,from="10.99.0.2",command="` + o.m + ` --config /etc/mail/mailcertd.yaml sign --submit ` +
		memberName + `" ` + pub
	if line != want {
		t.Fatalf("the line for authorized_keys is\n%s\nwant\n%s\nin\n%s", line, want, out)
	}
	write(t, o.a.Path("/etc/mail/ssh/authorized_keys"), line+"\n", 0o644)
	write(t, o.b.Path("/etc/mail/mailcertd.yaml"), memberYAML, 0o644)
	return o
}

func (o *owner) daemons(t *testing.T) {
	t.Helper()
	o.aLog = o.a.Daemon(t, o.m, memberConf, "run")
	o.bLog = o.b.Daemon(t, o.m, memberConf, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the CA host:\n%s\nthe member:\n%s", o.aLog(), o.bLog())
		}
	})
}

// issuerOf is the issuer of the certificate that a host serves, as openssl prints it.
func issuerOf(t testing.TB, h *bed.Host) string {
	t.Helper()
	return h.Must(t, "openssl", "x509", "-noout", "-issuer", "-in", "/etc/mail/certs/host.cert")
}

func mail(from, to *bed.Host, n int) error {
	cmd := from.Command(bed.Sendmail, "-Am", "-oi", "-f", "root@"+from.Name, "alice@"+to.Name)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("Subject: %d\n\nhello\n", n))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// retry runs sendmail's queue, as sendmail does half an hour later, because a peer that reads new files refuses
// connections for a moment.
func retry(hosts ...*bed.Host) {
	for _, h := range hosts {
		h.Run(bed.Sendmail, "-Am", "-qf")
	}
}

// verdicts counts the values of verify= in the host's log. Connections that come from the host itself, which are
// probes, do not count.
func verdicts(h *bed.Host) map[string]int {
	out := map[string]int{}
	for _, m := range regexp.MustCompile(
		`STARTTLS=(client|server), relay=mail-[^\n]*?(verify=\w+)`).FindAllStringSubmatch(h.Log(), -1) {
		out[m[1]+" "+m[2]]++
	}
	return out
}

// serves waits until the host's sendmail serves the certificate on its disk and its serial is not old. It returns the
// new serial.
func serves(t *testing.T, h *bed.Host, old string) (serial string) {
	t.Helper()
	bed.Wait(t, h.Name+" to serve another certificate than "+old, func() error {
		if serial = h.Serial("127.0.0.1:25"); serial == old || serial != h.OnDisk(t) {
			return fmt.Errorf("serves %q", serial)
		}
		return nil
	})
	return serial
}

// TestMembers follows two hosts: first start, mail in both directions, renewal, a change of generation while mail
// flows, and the end of the membership.
func TestMembers(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	a, b := o.a, o.b
	// At the first start the CA host's daemon does not run, so the member serves an interim certificate.
	if out, code := b.Run(o.m, memberConf, "ensure"); code != 1 || !strings.Contains(out, "interim self-signed") {
		t.Fatalf("ensure without the CA: %d\n%s", code, out)
	}
	a.Start(t)
	b.Start(t)
	if !b.Offers(t) {
		t.Fatal("the interim certificate is not offered")
	}
	interim := b.OnDisk(t)
	o.daemons(t)
	first := serves(t, b, interim)
	for n := range 2 {
		if err := mail(a, b, n); err != nil {
			t.Fatal(err)
		}
		if err := mail(b, a, n); err != nil {
			t.Fatal(err)
		}
	}
	bed.Wait(t, "verify=OK in both logs", func() error {
		for _, h := range []*bed.Host{a, b} {
			if v := verdicts(h); v["client verify=OK"] < 2 || v["server verify=OK"] < 2 {
				retry(a, b)
				return fmt.Errorf("%s: %v", h.Name, v)
			}
		}
		return nil
	})
	accessKeys(t, o)
	bed.Wait(t, "the CA to know what b trusts", func() error {
		if out := a.Must(t, o.m, memberConf, "ca", "show"); !strings.Contains(out, memberName+", enrolled") ||
			strings.Contains(out, "never seen") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if out := b.Must(t, o.m, memberConf, "renew"); !strings.Contains(out, "serves serial "+b.OnDisk(t)) ||
		b.OnDisk(t) == first {
		t.Errorf("renew on the member:\n%s", out)
	}
	second := b.OnDisk(t)
	// The certificate is due, as it would be a year later: the daemon renews it by itself.
	b.Must(t, "sh", "-ec", "cd /etc/mail; openssl req -new -key certs/host.key -subj /CN="+memberName+
		" -addext subjectAltName=DNS:"+memberName+" -out old.csr")
	csr, err := os.ReadFile(b.Path("/etc/mail/old.csr"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.Path("/etc/mail/CA/old.csr"), string(csr), 0o600)
	a.Must(t, "sh", "-ec", "cd /etc/mail/CA; openssl ca -config openssl.cnf -batch -notext -startdate "+
		time.Now().AddDate(0, -11, 0).UTC().Format("060102150405Z")+" -enddate "+
		time.Now().AddDate(0, 1, 0).UTC().Format("060102150405Z")+" -in old.csr -out old.cert")
	old, err := os.ReadFile(a.Path("/etc/mail/CA/old.cert"))
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{first, second} { // makes the older certificates as old as that
		a.Must(t, o.m, memberConf, "revoke", serial, "--reason", "superseded")
	}
	if err := os.Remove(b.Path("/var/db/mailcertd/candidates/reply.pem")); err != nil {
		t.Fatal(err)
	}
	write(t, b.Path("/etc/mail/certs/.new"), string(old), 0o644)
	if err := os.Rename(b.Path("/etc/mail/certs/.new"), b.Path("/etc/mail/certs/host.cert")); err != nil {
		t.Fatal(err)
	}
	serves(t, b, second)

	rollover(t, o)

	out := a.Must(t, o.m, memberConf, "ca", "unenrol", memberName)
	if !strings.Contains(out, "revoked ") || !strings.Contains(out, "sendmail on this host reads no CRL") {
		t.Errorf("unenrol:\n%s", out)
	}
	if out, code := b.Run(o.m, memberConf, "renew"); code != 1 || !strings.Contains(out, "is not a member of this CA") {
		t.Errorf("renew after unenrol: %d\n%s", code, out)
	}
	if out := a.Must(t, "sh", "-ec",
		"cd /etc/mail/CA; cat cacert.pem gen-*/cacert.pem crl.pem gen-*/crl.pem > all.pem 2>/dev/null; openssl crl "+
			"-in crl.pem -noout -text; openssl ca -config openssl.cnf -gencrl -out /dev/null"); !strings.Contains(out,
		"Cessation Of Operation") {
		t.Errorf("the CRL:\n%s", out)
	}
}

// accessKeys compares what `ca show` prints for the access map with the macros cert_issuer and cert_subject in
// sendmail's log, because sendmail looks up those.
func accessKeys(t *testing.T, o *owner) {
	show := o.a.Must(t, o.m, memberConf, "ca", "show")
	m := regexp.MustCompile(`cert-subject=(\S+), cert-issuer=(\S+), verifymsg=ok`).FindStringSubmatch(o.b.Log())
	if m == nil || !strings.Contains(show, "CERTIssuer:"+m[2]+" RELAY\n") ||
		!strings.Contains(show, "CERTSubject:"+m[1]+" RELAY\n") {
		t.Errorf("sendmail says %q; ca show:\n%s", m, show)
	}
}

// rollover changes the generation while both hosts send mail.
func rollover(t *testing.T, o *owner) {
	a, b := o.a, o.b
	stop := make(chan struct{})
	var sending sync.WaitGroup
	var sent [2]atomic.Int64
	for i, pair := range [][2]*bed.Host{{a, b}, {b, a}} {
		sending.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := mail(pair[0], pair[1], n); err != nil {
					t.Error(err)
					return
				}
				sent[i].Add(1)
			}
		})
	}
	before := issuerOf(t, b)
	out := a.Must(t, o.m, memberConf, "ca", "rollover")
	// On a busy machine the member's daemon may have asked already before ca show runs.
	if !strings.Contains(out, "waits for "+memberName) && !strings.Contains(out, "\nolder  ") {
		t.Errorf("rollover does not wait:\n%s", out)
	}
	b.Must(t, o.m, memberConf, "renew") // the member would ask by itself within a day
	bed.Wait(t, "the next generation to be in force", func() error {
		out := a.Must(t, o.m, memberConf, "ca", "show")
		if strings.Contains(out, "\nnext   ") || !strings.Contains(out, "\nolder  ") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	a.Must(t, o.m, memberConf, "renew")
	b.Must(t, o.m, memberConf, "renew")
	if after := issuerOf(t, b); after != before {
		t.Errorf("the CA's subject changed: %s, %s", before, after)
	}
	for _, h := range []*bed.Host{a, b} {
		if out, code := h.Run("sh", "-c",
			"cd /etc/mail/certs && openssl crl2pkcs7 -nocrl -certfile cacert.pem | openssl pkcs7 -print_certs -noout "+
				"| grep -c 'subject.*mailcertd CA'"); code != 0 || strings.TrimSpace(out) != "2" {
			t.Errorf("%s trusts %s generations", h.Name, out)
		}
	}
	n := [2]int64{sent[0].Load(), sent[1].Load()}
	bed.Wait(t, "some more mail", func() error {
		if sent[0].Load() < n[0]+3 || sent[1].Load() < n[1]+3 {
			return errors.New("not yet")
		}
		return nil
	})
	close(stop)
	sending.Wait()
	for _, h := range []*bed.Host{a, b} {
		for v, n := range verdicts(h) {
			if !strings.HasSuffix(v, "verify=OK") {
				t.Errorf("%s: %s, %d times", h.Name, v, n)
			}
		}
	}
	t.Logf("%d and %d messages while the generation changed: %v, %v", sent[0].Load(), sent[1].Load(),
		verdicts(a), verdicts(b))
}
