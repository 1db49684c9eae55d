package ca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// A CA and its waiting generation that are not valid yet become valid now and keep their keys. Everything that they
// signed stays valid, and nothing else in their certificates changes. The certificate of a CA that another program made
// is left alone.
func TestRedate(t *testing.T) {
	for _, adopted := range []bool{false, true} {
		dir, disk := t.TempDir()+"/CA", &durable.Disk{}
		o := Options{Dir: dir, Key: pki.ECDSAP256, Days: 3650, Host: "mail.example.org",
			PermittedDomains: []string{"example.org"}}
		now, future := time.Now(), time.Now().AddDate(0, 0, 40)
		if _, err := Init(t.Context(), disk, o, rand.Reader, future); err != nil {
			t.Fatal(err)
		}
		key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := Issue(t.Context(), disk, o, Request{Public: key.Public(), Name: "mail.example.org", Days: 90},
			rand.Reader, future)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := StartNext(t.Context(), disk, o, rand.Reader, future); err != nil {
			t.Fatal(err)
		}
		if adopted {
			if err := os.WriteFile(filepath.Join(dir, confName), []byte("# a person's\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		was := Observe(dir, Filter{})
		if err := Redate(t.Context(), disk, o, rand.Reader, now); err != nil {
			t.Fatal(err)
		}
		is := Observe(dir, Filter{})
		if len(is.Faults) > len(was.Faults) || !is.HasNext() {
			t.Fatalf("%+v, a next one: %v", is.Faults, is.HasNext())
		}
		for name, c := range map[string][2]*x509.Certificate{"current": {was.Current.Cert, is.Current.Cert},
			"next": {was.Next.Cert, is.Next.Cert}, "cross": {was.Next.Cross, is.Next.Cross}} {
			old, anew := c[0], c[1]
			if name == "current" && adopted {
				if !old.Equal(anew) {
					t.Error("the certificate of somebody else's CA was made again")
				}
				continue
			}
			if anew.NotBefore.After(now) && !(name == "cross" && adopted) {
				t.Errorf("adopted %v: %s begins on %s", adopted, name, anew.NotBefore)
			}
			if old.NotAfter.Before(anew.NotAfter) || old.SerialNumber.Cmp(anew.SerialNumber) == 0 ||
				!bytes.Equal(old.RawSubject, anew.RawSubject) || !pki.SamePublicKey(old.PublicKey, anew.PublicKey) {
				t.Errorf("adopted %v: %s: from %v\nto %v", adopted, name, old, anew)
			}
			for i, e := range old.Extensions {
				if len(anew.Extensions) != len(old.Extensions) || !bytes.Equal(e.Value, anew.Extensions[i].Value) {
					t.Errorf("%s: extension %v has changed", name, e.Id)
				}
			}
		}
		if err := is.Next.Cross.CheckSignatureFrom(is.Current.Cert); err != nil {
			t.Errorf("adopted %v: the cross certificate: %v", adopted, err)
		}
		if _, err := exec.LookPath("openssl"); err != nil || adopted {
			continue
		}
		own, err := Issue(t.Context(), disk, o,
			Request{Public: key.Public(), Name: "mail.example.org", Days: 90, Backdate: time.Hour}, rand.Reader, now)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*x509.Certificate{"from the future": leaf, "of now": own} {
			path := filepath.Join(t.TempDir(), "leaf.pem")
			if err := os.WriteFile(path, pki.EncodeCertificate(c.Raw), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"verify", "-x509_strict", "-no-CApath", "-CAfile", filepath.Join(dir, certName), path}
			if name == "from the future" {
				args = append(args[:1], append([]string{"-no_check_time"}, args[1:]...)...)
			}
			if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
				t.Errorf("a leaf %s: %s", name, out)
			}
		}
	}
}
