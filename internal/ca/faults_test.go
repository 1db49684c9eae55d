package ca

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
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

func has(fs []Fault, k FaultKind) bool {
	for _, f := range fs {
		if f.Kind == k {
			return true
		}
	}
	return false
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
