package ca

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// drawn makes serials random, as in the program, until the test ends.
func drawn(t *testing.T) {
	testOnlyDraw = nil
	t.Cleanup(func() { testOnlyDraw = counted })
}

// atPrompt starts `openssl ca` and returns when it asks whether to sign; answer lets it continue.
func atPrompt(t *testing.T, dir, csr string) (answer func()) {
	t.Helper()
	cmd := exec.Command("openssl", "ca", "-config", "openssl.cnf", "-notext", "-in", csr, "-out", csr+".pem")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	go func() {
		r, text := bufio.NewReader(out), ""
		for {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			if text += string(b); strings.HasSuffix(text, "[y/n]:") {
				select {
				case asked <- text:
				default:
				}
			}
		}
	}()
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Fatal("openssl does not show its prompt")
	}
	return func() {
		t.Helper()
		if _, err := io.WriteString(in, "y\ny\n"); err != nil {
			t.Fatal(err)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("openssl ca: %v", err)
		}
		w.Close()
	}
}

// openssl has drawn or counted its serial and waits at its prompt, in a CA of ours and in one made by hand. Meanwhile
// mailcertd signs. The serials differ. The rows that openssl loses when it writes its copy of index.txt back are added
// again, so that their certificates can be revoked.
func TestOpensslAtItsPrompt(t *testing.T) {
	drawn(t)
	for _, counts := range []bool{false, true} {
		t.Run(fmt.Sprintf("openssl counts %t", counts), func(t *testing.T) {
			o, d := made(t)
			if counts {
				opensslCounts(t, o.Dir)
			}
			csr := filepath.Join(t.TempDir(), "csr")
			text, err := pki.CreateRequest(newKey(t), "krb5.example.org", nil, rand.Reader)
			if err == nil {
				err = os.WriteFile(csr, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			answer := atPrompt(t, o.Dir, csr)
			served := issue(t, d, o, time.Now())
			answer()
			if n := served.SerialNumber.BitLen(); n > 63 || n <= maxCounted {
				t.Errorf("serial %s", FormatSerial(served.SerialNumber))
			}
			if _, err := Reconcile(context.Background(), d, o.Dir, served); err != nil {
				t.Fatal(err)
			}
			obs := Observe(o.Dir, Filter{Name: o.Host, Serving: []*x509.Certificate{served}})
			if len(obs.Faults) > 0 || len(obs.index()) != 2 || len(obs.Issued) != 1 {
				t.Errorf("%d rows, %d issued, %v", len(obs.index()), len(obs.Issued), obs.Faults)
			}
			mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke",
				"newcerts/"+FormatSerial(served.SerialNumber)+".pem")
			mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
		})
	}
}

// A certificate that this host serves and that the database has lost completely is added again. If another certificate
// has its name or its serial, this is reported.
func TestServedIsListed(t *testing.T) {
	drawn(t)
	for _, c := range []struct {
		name  string
		spoil func(dir, serial string) error
		want  FaultKind
		heals bool
	}{
		{"lost whole", func(dir, serial string) error {
			return os.Remove(filepath.Join(dir, NewCertsDir, serial+".pem"))
		}, FaultUnlisted, true},
		{"another in its place", func(dir, serial string) error {
			data, err := os.ReadFile(filepath.Join(dir, certName))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, NewCertsDir, serial+".pem"), data, 0o644)
		}, FaultTaken, false},
		{"another row", func(dir, serial string) error {
			return os.WriteFile(filepath.Join(dir, indexName),
				[]byte("V\t360101000000Z\t\t"+serial+"\tunknown\t/CN=else\n"), 0o644)
		}, FaultIndexOther, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, d := made(t)
			served := issue(t, d, o, time.Now())
			if err := os.WriteFile(filepath.Join(o.Dir, indexName), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(o.Dir, FormatSerial(served.SerialNumber)); err != nil {
				t.Fatal(err)
			}
			before := Observe(o.Dir, Filter{Serving: []*x509.Certificate{served}})
			if !has(before.Faults, c.want) {
				t.Fatalf("not reported: %v", before.Faults)
			}
			if _, err := Reconcile(context.Background(), d, o.Dir, served); err != nil {
				t.Fatal(err)
			}
			obs := Observe(o.Dir, Filter{Serving: []*x509.Certificate{served}})
			if c.heals != (len(obs.Faults) == 0) || c.heals && len(obs.index()) != 1 {
				t.Errorf("%d rows, %v", len(obs.index()), obs.Faults)
			}
			other := Observe(o.Dir, Filter{Serving: []*x509.Certificate{leafOfAnother(t)}}).Faults
			if has(other, FaultUnlisted) || has(other, FaultTaken) || has(other, FaultIndexOther) {
				t.Errorf("a certificate of another CA is reported as missing: %v", other)
			}
		})
	}
}

// leafOfAnother returns a certificate of a CA with the same name and another key.
func leafOfAnother(t *testing.T) *x509.Certificate {
	o, d := made(t)
	return issue(t, d, o, time.Now())
}

// Thirty sessions of mailcertd sign at once, and openssl signs too. Every certificate is in the database, and no serial
// twice.
func TestThirtyAtOnce(t *testing.T) {
	drawn(t)
	o, d := made(t)
	csr := filepath.Join(t.TempDir(), "csr")
	text, err := pki.CreateRequest(newKey(t), "krb5.example.org", nil, rand.Reader)
	if err == nil {
		err = os.WriteFile(csr, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	const ours = 30
	var mu sync.Mutex
	var issued []*x509.Certificate
	var all sync.WaitGroup
	for range ours {
		all.Go(func() {
			c, err := Issue(context.Background(), d, o, request(t), rand.Reader, time.Now())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			issued = append(issued, c)
		})
	}
	for range 3 {
		mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", csr, "-out", csr+".pem")
	}
	all.Wait()
	if _, err := Reconcile(context.Background(), &durable.Disk{}, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	obs := Observe(o.Dir, Filter{})
	if len(obs.Faults) > 0 {
		t.Error(obs.Faults)
	}
	rows := map[string]int{}
	for _, e := range obs.index() {
		rows[FormatSerial(e.Serial)]++
	}
	for _, c := range issued {
		serial := FormatSerial(c.SerialNumber)
		if rows[serial] != 1 {
			t.Errorf("serial %s is in %d rows", serial, rows[serial])
		}
		if cs, err := readCerts(filepath.Join(o.Dir, NewCertsDir, serial+".pem")); err != nil || len(cs) != 1 ||
			string(cs[0].Raw) != string(c.Raw) {
			t.Errorf("newcerts/%s.pem: %v", serial, err)
		}
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-updatedb")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
}

// openssl has read index.txt and waits at its prompt. Meanwhile a certificate is revoked, and another one is issued and
// revoked. openssl writes back what it had read. Both stay revoked, for openssl too.
func TestRevokedWhileOpensslWaits(t *testing.T) {
	drawn(t)
	o, d := made(t)
	csr := filepath.Join(t.TempDir(), "csr")
	text, err := pki.CreateRequest(newKey(t), "krb5.example.org", nil, rand.Reader)
	if err == nil {
		err = os.WriteFile(csr, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := issue(t, d, o, time.Now())
	answer := atPrompt(t, o.Dir, csr)
	second := issue(t, d, o, time.Now())
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*x509.Certificate{first, second} {
		if err := s.Revoke(c.SerialNumber, "keyCompromise", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteCRL(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	answer()
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	if f := Observe(o.Dir, Filter{}).Faults; len(f) > 0 {
		t.Error(f)
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
	list := mustOpenssl(t, o.Dir, "crl", "-in", "crl.pem", "-noout", "-text")
	for _, c := range []*x509.Certificate{first, second} {
		if serial := FormatSerial(c.SerialNumber); !strings.Contains(list, serial) {
			t.Errorf("serial %s is not revoked any more:\n%s", serial, list)
		}
	}
}

// An openssl.cnf that an earlier version wrote is updated; one that a person has changed stays.
func TestOpensslCnfOfBefore(t *testing.T) {
	t.Parallel()
	for _, mark := range []string{madeMark, suppliedFor} {
		for changed, text := range map[bool][]byte{false: confBefore(mark, 45),
			true: append(confBefore(mark, 45), "# mine\n"...)} {
			o, d := made(t)
			path := filepath.Join(o.Dir, confName)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			found, err := Reconcile(context.Background(), d, o.Dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := os.ReadFile(path)
			if want := map[bool][]byte{false: confText(mark, 45), true: text}[changed]; string(got) != string(want) {
				t.Errorf("%s, changed %t: %v\n%s", mark, changed, found, got)
			}
			if f := Observe(o.Dir, Filter{}).Faults; len(f) > 0 {
				t.Error(f)
			}
		}
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(confBefore(madeMark, 30))); sum != wroteBefore {
		t.Errorf("the first version's openssl.cnf has the digest %s, and ours for it %s", wroteBefore, sum)
	}
}

// wroteBefore is the SHA-256 of an openssl.cnf that the first version wrote, for a CRL lifetime of 30 days.
const wroteBefore = "0b388aa0d76ec7e94b0adb5f645c5cc69aced4353835080cd226118ca5f53ec6"
