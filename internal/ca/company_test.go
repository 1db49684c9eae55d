package ca

import (
	"bufio"
	"context"
	"crypto/rand"
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

// drawn gives real serials until the test ends.
func drawn(t *testing.T) {
	testOnlyDraw = nil
	t.Cleanup(func() { testOnlyDraw = counted })
}

// atPrompt starts `openssl ca` and returns when it asks whether to sign; the answer goes on.
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
		t.Fatal("openssl does not ask")
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
// we sign. Nobody takes the other's serial, and what openssl drops when it writes its own copy of index.txt back comes
// back, so that it can be revoked.
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
			obs := Observe(o.Dir, Filter{Name: o.Host, Serving: served})
			if len(obs.Faults) > 0 || len(obs.Index) != 2 || len(obs.Issued) != 1 {
				t.Errorf("%d rows, %d issued, %v", len(obs.Index), len(obs.Issued), obs.Faults)
			}
			mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke", "newcerts/"+FormatSerial(served.SerialNumber)+".pem")
			mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
		})
	}
}

// A certificate that this host serves and that the database has lost altogether is put back. Where another one has its
// name or its serial, that is told.
func TestServedIsListed(t *testing.T) {
	drawn(t)
	for _, c := range []struct {
		name  string
		spoil func(dir, serial string) error
		want  FaultKind
		heals bool
	}{
		{"lost whole", func(dir, serial string) error {
			return os.Remove(filepath.Join(dir, newCertsName, serial+".pem"))
		}, FaultUnlisted, true},
		{"another in its place", func(dir, serial string) error {
			data, err := os.ReadFile(filepath.Join(dir, certName))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, newCertsName, serial+".pem"), data, 0o644)
		}, FaultTaken, false},
		{"another row", func(dir, serial string) error {
			return os.WriteFile(filepath.Join(dir, indexName), []byte("V\t360101000000Z\t\t"+serial+"\tunknown\t/CN=else\n"), 0o644)
		}, FaultTaken, false},
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
			before := Observe(o.Dir, Filter{Serving: served})
			if !before.has(c.want) {
				t.Fatalf("not told: %v", before.Faults)
			}
			if _, err := Reconcile(context.Background(), d, o.Dir, served); err != nil {
				t.Fatal(err)
			}
			obs := Observe(o.Dir, Filter{Serving: served})
			if c.heals != (len(obs.Faults) == 0) || c.heals && len(obs.Index) != 1 {
				t.Errorf("%d rows, %v", len(obs.Index), obs.Faults)
			}
			if other := Observe(o.Dir, Filter{Serving: leafOfAnother(t)}); other.has(FaultUnlisted) || other.has(FaultTaken) {
				t.Errorf("somebody else's certificate is missed: %v", other.Faults)
			}
		})
	}
}

// leafOfAnother is a certificate of a CA with the same name and another key.
func leafOfAnother(t *testing.T) *x509.Certificate {
	o, d := made(t)
	return issue(t, d, o, time.Now())
}

// Thirty of ours at once, and openssl beside them: every certificate is there, and no serial twice.
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
	for _, e := range obs.Index {
		rows[FormatSerial(e.Serial)]++
	}
	for _, c := range issued {
		serial := FormatSerial(c.SerialNumber)
		if rows[serial] != 1 {
			t.Errorf("serial %s stands in %d rows", serial, rows[serial])
		}
		if cs, err := readCerts(filepath.Join(o.Dir, newCertsName, serial+".pem")); err != nil || len(cs) != 1 || string(cs[0].Raw) != string(c.Raw) {
			t.Errorf("newcerts/%s.pem: %v", serial, err)
		}
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-updatedb")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
}
