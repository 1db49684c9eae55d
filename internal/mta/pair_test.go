package mta

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// testPair makes a self-signed certificate that has expired. The probe must see it nevertheless.
func testPair(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(77), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1000, 0),
		DNSNames: []string{"x.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The pid of this test process is not identified as sendmail.
func TestIdentifyOther(t *testing.T) {
	dir := t.TempDir()
	pid := dir + "/pid"
	exe, _ := os.Executable()
	for _, c := range []struct {
		text   string
		status Status
		detail string
	}{
		{"", BadPidFile, "not a process ID"},
		{"4194000\n/usr/sbin/sendmail -bd\n", NotRunning, "no process has the pid"},
		{itoa(os.Getpid()) + "\n/usr/sbin/sendmail -bd\n", OtherProcess, "which is not sendmail"},
		{itoa(os.Getpid()) + "\nsendmail -bd\n", OtherProcess, "which is not sendmail"},
		{itoa(os.Getpid()) + "\n", BadPidFile, "its second line, the command line, is missing"},
		{itoa(os.Getpid()) + "\n" + exe + " -bd -C /x.cf\n", OK, ""},
		{itoa(os.Getpid()) + "\n" + exe + " -q30m\n", NoListener, "queue runner"},
	} {
		if err := os.WriteFile(pid, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		program := "/no/such/sendmail"
		if strings.Contains(c.text, exe) {
			program = exe
		}
		id := Identify(t.Context(), IdentifyOptions{PidFile: pid, Program: program, DefaultCF: "/etc/mail/sendmail.cf"})
		if id.Status != c.status || !strings.Contains(id.Detail, c.detail) {
			t.Errorf("%q: %v, %s", c.text, id.Status, id.Detail)
		}
		if id.Status == OK && (id.CF != "/x.cf" || time.Since(id.Instance.Started) > time.Hour ||
			id.Instance.Started.After(time.Now())) {
			t.Errorf("%+v", id)
		}
	}
	if id := Identify(t.Context(), IdentifyOptions{PidFile: dir + "/none"}); id.Status != NotRunning {
		t.Errorf("no pid file: %v", id.Status)
	}
	if id := Identify(t.Context(), IdentifyOptions{PidFile: dir}); id.Status != BadPidFile {
		t.Errorf("a directory: %v", id.Status)
	}
	if Alive(4194000) || !Alive(os.Getpid()) {
		t.Error("Alive")
	}
	if UnchangedSince(durable.Look(pid), time.Now().Add(-time.Hour)) ||
		!UnchangedSince(durable.Look(pid), time.Now().Add(time.Hour)) {
		t.Error("UnchangedSince")
	}
}

func itoa(n int) string { return big.NewInt(int64(n)).String() }
