package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		kind     FaultKind
		damage   func(dir string) error
		repaired bool
	}{
		{FaultOrphan, func(d string) error { return os.WriteFile(filepath.Join(d, indexName), nil, 0o644) }, true},
		{FaultIndexMissing, func(d string) error { return os.Remove(filepath.Join(d, indexName)) }, true},
		{FaultIndexTorn, func(d string) error { return appendTo(filepath.Join(d, indexName), "V\t3601010") }, true},
		{FaultIndexRow, func(d string) error { return appendTo(filepath.Join(d, indexName), "hello\n") }, false},
		{FaultIndexOpen, func(d string) error {
			path := filepath.Join(d, indexName)
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, data[:len(data)-1], 0o644))
		}, true},
		{FaultIndexBlank, func(d string) error { return appendTo(filepath.Join(d, indexName), "\n\n") }, true},
		{FaultIndexRefused, func(d string) error {
			return appendTo(filepath.Join(d, indexName), "V\t360101000000Z\t\t1\tunknown\t/CN=x\n")
		}, false},
		{FaultIndexFile, func(d string) error {
			_ = os.Remove(filepath.Join(d, indexName))
			return os.Mkdir(filepath.Join(d, indexName), 0o755)
		}, false},
		{FaultUnique, func(d string) error {
			return os.WriteFile(filepath.Join(d, attrName), []byte("unique_subject = yes\n"), 0o644)
		}, true},
		{FaultSerial, func(d string) error { return os.WriteFile(filepath.Join(d, serialName), []byte("01\n"), 0o644) },
			true},
		{FaultSerial, func(d string) error { return os.Remove(filepath.Join(d, serialName)) }, true},
		{FaultSerial, func(d string) error { return os.WriteFile(filepath.Join(d, serialName), []byte("zz"), 0o644) },
			true},
		{FaultSerial, func(d string) error { return os.WriteFile(filepath.Join(d, serialName), []byte("3\n"), 0o644) },
			true},
		{FaultSerial,
			func(d string) error { return os.WriteFile(filepath.Join(d, serialName), []byte(" 03\n"), 0o644) }, true},
		{FaultCRLNumber, func(d string) error {
			return os.WriteFile(filepath.Join(d, crlNumName), []byte("3\n"), 0o644)
		}, true},
		{FaultCRLNumber, func(d string) error { return os.Remove(filepath.Join(d, crlNumName)) }, true},
		{FaultCRLNumber, func(d string) error { return os.WriteFile(filepath.Join(d, crlNumName), nil, 0o644) }, true},
		{FaultCRLNumber, func(d string) error {
			return os.WriteFile(filepath.Join(d, crlNumName), []byte("zz\n"), 0o644)
		}, true},
		// The configuration was written by a person, and so the number is a person's too.
		{FaultCRLNumber, func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, crlNumName), []byte("zz\n"), 0o644),
				os.WriteFile(filepath.Join(d, confName),
					[]byte("[ca]\ndefault_ca = mine\n[mine]\ndatabase = index.txt\n"), 0o644))
		}, false},
		{FaultConf, func(d string) error { return os.Remove(filepath.Join(d, confName)) }, true},
		{FaultMode, func(d string) error { return os.Chmod(d, 0o755) }, true},
		{FaultMode, func(d string) error { return os.Chmod(filepath.Join(d, keyName), 0o644) }, true},
		{FaultKey, func(d string) error { return os.Remove(filepath.Join(d, keyName)) }, false},
		{FaultCert, func(d string) error { return os.WriteFile(filepath.Join(d, certName), []byte("x"), 0o644) },
			false},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			o, d := made(t)
			issue(t, d, o, time.Now())
			issue(t, d, o, time.Now())
			if err := c.damage(o.Dir); err != nil {
				t.Fatal(err)
			}
			if !has(Observe(o.Dir, Filter{}).Faults, c.kind) {
				t.Fatalf("not reported: %v", Observe(o.Dir, Filter{}).Faults)
			}
			if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil && c.kind != FaultIndexFile {
				t.Fatal(err)
			}
			after := Observe(o.Dir, Filter{Name: o.Host})
			if has(after.Faults, c.kind) == c.repaired {
				t.Errorf("after Reconcile: %v", after.Faults)
			}
			if c.repaired {
				if len(after.index()) != 2 || after.Serial.Int64() != 3 {
					t.Errorf("%d rows, serial %v", len(after.index()), after.Serial)
				}
				mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
			}
		})
	}
}

// The faults of one CA are reported in one order: first what concerns the whole, then file by file, and last the
// certificate that this host serves.
func TestFaultsInOrder(t *testing.T) {
	o, d := made(t)
	for range 3 {
		issue(t, d, o, start)
	}
	leaf := issue(t, d, o, start)
	in := func(name string) string { return filepath.Join(o.Dir, name) }
	index, err := os.ReadFile(in(indexName))
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.SplitAfter(string(index), "\n")
	for _, err := range []error{
		os.Chmod(o.Dir, 0o755),
		os.WriteFile(in(membersName), []byte("{"), 0o600),
		os.Remove(in(keyName)),
		os.WriteFile(in(durable.TempName(indexName)), nil, 0o600),
		os.WriteFile(in(indexName), []byte(rows[0]+rows[1]+"\nhello\nV\t3601010"), 0o644),
		os.Remove(in(NewCertsDir + "/" + FormatSerial(leaf.SerialNumber) + ".pem")),
		os.WriteFile(in(attrName), []byte("unique_subject = yes\n"), 0o644),
		os.WriteFile(in(serialName), []byte("01\n"), 0o644),
		os.Remove(in(crlNumName)),
		os.Mkdir(in(crlNumName), 0o700),
		os.Remove(in(confName)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []FaultKind
	for _, f := range Observe(o.Dir, Filter{Serving: []*x509.Certificate{leaf}}).Faults {
		got = append(got, f.Kind)
	}
	if want := []FaultKind{FaultMembers, FaultMode, FaultKey, FaultLeftover, FaultIndexBlank, FaultIndexTorn,
		FaultIndexRow, FaultOrphan, FaultUnique, FaultSerial, FaultInTheWay, FaultConf,
		FaultUnlisted}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Some faults are found in a second pass over index.txt. If that pass cannot read the file, this is the fault, reported
// once, and the CA counts as one that could not be read.
func TestLaterPassFails(t *testing.T) {
	o, d := made(t)
	leaf := issue(t, d, o, start)
	issue(t, d, o, start)
	if err := os.WriteFile(filepath.Join(o.Dir, attrName), []byte("unique_subject = yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	passes := 0
	defer durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "read" && filepath.Base(path) == indexName {
			if passes++; passes > 1 {
				return syscall.EIO
			}
		}
		return nil
	})()
	got := Observe(o.Dir, Filter{Serving: []*x509.Certificate{leaf}})
	if len(got.Faults) != 1 || got.Faults[0].Kind != FaultIndexFile || !errors.Is(got.Unread(), syscall.EIO) ||
		got.ServingRows != nil {
		t.Errorf("%+v, unread %v, rows %v", got.Faults, got.Unread(), got.ServingRows)
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}
