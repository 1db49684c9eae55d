package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func options(dir string) Options {
	return Options{Dir: dir, Key: pki.ECDSAP256, Days: 3650, Host: "mail.example.org"}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func request(t testing.TB) Request {
	return Request{Public: newKey(t).Public(), Name: "mail.example.org",
		AltNames: []string{"192.0.2.1", "smtp.example.org"}, Days: 365, Backdate: time.Hour}
}

func made(t testing.TB) (Options, *durable.Disk) {
	t.Helper()
	o, d := options(filepath.Join(t.TempDir(), "CA")), &durable.Disk{}
	if _, err := Init(context.Background(), d, o, rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	return o, d
}

func issue(t testing.TB, d *durable.Disk, o Options, now time.Time) *x509.Certificate {
	t.Helper()
	c, err := Issue(context.Background(), d, o, request(t), rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openssl runs openssl in the CA directory, as the comment in openssl.cnf says.
func openssl(t testing.TB, dir string, args ...string) (string, error) {
	t.Helper()
	openssltest.Need(t)
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustOpenssl(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := openssl(t, dir, args...)
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// openssl and mailcertd work on the directory in turn, and each continues from what the other did.
func TestOpensslBeforeAndAfterUs(t *testing.T) {
	o, d := made(t)
	opensslCounts(t, o.Dir)
	issue(t, d, o, time.Now())
	mustOpenssl(t, o.Dir, "req", "-config", "openssl.cnf", "-newkey", "rsa:2048", "-nodes", "-keyout", "x.key",
		"-out", "x.csr",
		"-subj", "/CN=krb5.example.org", "-addext", "subjectAltName=DNS:krb5.example.org")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", "x.csr", "-out", "x.pem")
	if out := mustOpenssl(t, o.Dir, "x509", "-noout", "-text", "-in", "x.pem"); !strings.Contains(out,
		"DNS:krb5.example.org") || !strings.Contains(out, "CA:FALSE") {
		t.Errorf("openssl's certificate lacks its name or constraint:\n%s", out)
	}
	if c := issue(t, d, o, time.Now()); c.SerialNumber.Int64() != 3 { // this is a second valid row of one subject
		t.Errorf("serial %v after openssl used 2", c.SerialNumber)
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke", "newcerts/01.pem")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
	if out := mustOpenssl(t, o.Dir, "crl", "-in", "crl.pem", "-noout", "-text", "-CAfile",
		"cacert.pem"); !strings.Contains(out, "Serial Number: 01") {
		t.Errorf("the CRL lacks the revoked certificate:\n%s", out)
	}
	issue(t, d, o, time.Now())
	obs := Observe(o.Dir, Filter{Name: o.Host})
	if len(obs.Faults) > 0 || obs.Serial.Int64() != 5 || len(obs.index()) != 4 || obs.index()[0].Status != Revoked ||
		len(obs.Issued) != 2 {
		t.Errorf("faults %v, serial %v, %d rows, %d issued", obs.Faults, obs.Serial, len(obs.index()), len(obs.Issued))
	}
	for _, s := range []string{"03", "04"} {
		f := "newcerts/" + s + ".pem"
		for _, p := range []string{"sslserver", "sslclient"} {
			mustOpenssl(t, o.Dir, "verify", "-CAfile", "cacert.pem", "-purpose", p, "-x509_strict", f)
		}
		for flag, name := range map[string]string{"-checkhost": "smtp.example.org", "-checkip": "192.0.2.1"} {
			if out := mustOpenssl(t, o.Dir, "x509", "-noout", flag, name, "-in", f); !strings.Contains(out,
				"does match") {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
}

// A CA that was made by hand, with the commands of the post, is adopted.
func TestHandMadeCA(t *testing.T) {
	dir := t.TempDir()
	o, d := options(dir), &durable.Disk{}
	mustOpenssl(t, dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj",
		"/C=JP/O=Home/CN=Home CA", "-keyout", "cakey.pem", "-out", "cacert.pem")
	for name, text := range map[string]string{"serial": "1a\n",
		"index.txt": "V\t360101000000Z\t\t19\tunknown\t/CN=old\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if obs := Observe(dir, Filter{}); obs.Status != Complete || obs.Serial.Int64() != 0x1a {
		t.Fatalf("%v, serial %v", obs.Status, obs.Serial)
	}
	if _, err := Reconcile(context.Background(), d, dir, nil); err != nil {
		t.Fatal(err)
	}
	if f := Observe(dir, Filter{}).Faults; len(f) != 0 {
		t.Errorf("faults after Reconcile: %v", f)
	}
	c := issue(t, d, o, time.Now())
	if c.SerialNumber.Int64() != 0x1a {
		t.Errorf("serial %X", c.SerialNumber)
	}
	mustOpenssl(t, dir, "verify", "-CAfile", "cacert.pem", "newcerts/1A.pem")
	index, _ := os.ReadFile(filepath.Join(dir, "index.txt"))
	if !bytes.HasPrefix(index, []byte("V\t360101000000Z\t\t19\tunknown\t/CN=old\nV\t")) {
		t.Errorf("index.txt:\n%s", index)
	}
}

func TestGenerations(t *testing.T) {
	o, d := made(t)
	ctx := context.Background()
	leaf1 := issue(t, d, o, time.Now())
	old := Observe(o.Dir, Filter{}).Current.Cert
	cert, err := nextGeneration(ctx, d, o, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf2 := issue(t, d, o, time.Now())
	obs := Observe(o.Dir, Filter{Name: o.Host})
	if obs.Status != Complete || !obs.Current.Cert.Equal(cert) || len(obs.Older) != 1 ||
		!obs.Older[0].Cert.Equal(old) || len(obs.Faults) > 0 {
		t.Fatalf("%v %+v", obs.Status, obs.Faults)
	}
	if !obs.Older[0].LastLeaf.Equal(leaf1.NotAfter) {
		t.Errorf("the old generation's last leaf ends %v, want %v", obs.Older[0].LastLeaf, leaf1.NotAfter)
	}
	write := func(name string, certs ...*x509.Certificate) {
		var b []byte
		for _, c := range certs {
			b = append(b, pki.EncodeCertificate(c.Raw)...)
		}
		if err := os.WriteFile(filepath.Join(o.Dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("bundle", Bundle(obs, time.Now())...)
	write("leaf1", leaf1)
	write("leaf2", leaf2)
	write("old", old)
	mustOpenssl(t, o.Dir, "verify", "-CAfile", "bundle", "leaf1", "leaf2")
	// A host that trusts only the old generation verifies the new leaf through the cross-certificate.
	mustOpenssl(t, o.Dir, "verify", "-no-CApath", "-CAfile", "old", "-untrusted", "gen-1/cross.pem", "leaf2")
	if out, err := openssl(t, o.Dir, "verify", "-no-CApath", "-CAfile", "old", "leaf2"); err == nil {
		t.Errorf("the new leaf verifies without the cross certificate: %s", out)
	}
	later := leaf1.NotAfter.Add(time.Hour)
	if Prunable(obs, time.Now()) || !Prunable(obs, later) || len(Bundle(obs, later)) != 1 {
		t.Error("the old generation should end exactly when its last leaf does")
	}
	if err := Prune(ctx, d, o.Dir, later); err != nil {
		t.Fatal(err)
	}
	if obs := Observe(o.Dir, Filter{}); len(obs.Older) != 0 || len(obs.index()) != 2 {
		t.Errorf("after Prune: %d older, %d rows", len(obs.Older), len(obs.index()))
	}
}

// A generation that was in force for a short time and has issued nothing stays as long as an older one has a valid
// leaf: a host that trusts only the older one needs its cross-certificate to reach the present one.
func TestPruneKeepsBridges(t *testing.T) {
	o, d := made(t)
	leaf := issue(t, d, o, time.Now())
	first := Observe(o.Dir, Filter{}).Current.Cert
	for range 2 {
		if _, err := nextGeneration(t.Context(), d, o, rand.Reader, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if obs := Observe(o.Dir, Filter{}); Prunable(obs, time.Now()) || len(obs.Older) != 2 {
		t.Fatalf("%d older generations, one is to be removed: %v", len(obs.Older), Prunable(obs, time.Now()))
	}
	if err := Prune(t.Context(), d, o.Dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "first"), pki.EncodeCertificate(first.Raw), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "leaf"), pki.EncodeCertificate(issue(t, d, o, time.Now()).Raw),
		0o644); err != nil {
		t.Fatal(err)
	}
	mustOpenssl(t, o.Dir, "verify", "-no-CApath", "-CAfile", "first", "-untrusted", "gen-1/cross.pem", "-untrusted",
		"gen-2/cross.pem", "leaf")
	later := leaf.NotAfter.Add(time.Hour)
	if err := Prune(t.Context(), d, o.Dir, later); err != nil {
		t.Fatal(err)
	}
	if obs := Observe(o.Dir, Filter{}); len(obs.Older) != 0 {
		t.Errorf("%d older generations after the end of the last certificate", len(obs.Older))
	}
}

func TestRefusals(t *testing.T) {
	o, d := made(t)
	ctx := context.Background()
	if _, err := Init(ctx, d, o, rand.Reader, start); !errors.Is(err, ErrExists) {
		t.Errorf("a second Init: %v", err)
	}
	if _, err := Issue(ctx, d, o, request(t), rand.Reader, start.AddDate(20, 0, 0)); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
	leaf, err := Issue(ctx, d, o, request(t), rand.Reader, start.AddDate(9, 11, 0))
	if err != nil || leaf.NotAfter.After(Observe(o.Dir, Filter{}).Current.Cert.NotAfter) {
		t.Errorf("outlives its CA: %v", err)
	}
	same := options(filepath.Join(t.TempDir(), "CA"))
	same.Subject.CommonName = same.Host
	if _, err := Init(ctx, d, same, rand.Reader, start); err == nil {
		t.Error("a CA with the host's name")
	}
	if s := Observe(same.Dir, Filter{}).Status; s != Absent {
		t.Errorf("the refused CA has the state %s", s)
	}
	narrow := options(filepath.Join(t.TempDir(), "CA"))
	narrow.PermittedDomains = []string{"example.net"}
	if _, err := Init(ctx, d, narrow, rand.Reader, start); err == nil ||
		Observe(narrow.Dir, Filter{}).Status != Absent {
		t.Errorf("a CA that may not certify its own host: %v", err)
	}
	narrow.Host = "mail.example.net"
	if _, err := Init(ctx, d, narrow, rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	if _, err := Issue(ctx, d, narrow, request(t), rand.Reader, start); err == nil ||
		!strings.Contains(err.Error(), "permitted_domains") {
		t.Errorf("outside the permitted domains: %v", err)
	}
	mustOpenssl(t, o.Dir, "ec", "-in", "cakey.pem", "-aes256", "-passout", "pass:secret", "-out", "cakey.pem")
	if _, err := Issue(ctx, d, o, request(t), rand.Reader, start); !errors.Is(err, ErrLocked) {
		t.Errorf("with a passphrase: %v", err)
	}
}
