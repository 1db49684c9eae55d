package ca

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/durable"
)

// A person's files have the name of the directory beside the CA's place. They stay, and the CA is made in its place
// nevertheless.
func TestBesideIsSomebodyElses(t *testing.T) {
	for name, put := range map[string]func(beside string) error{
		"a person's file": func(beside string) error {
			return errors.Join(os.Mkdir(beside, 0o700),
				os.WriteFile(filepath.Join(beside, "note.txt"), []byte("mine"), 0o600),
				os.WriteFile(filepath.Join(beside, keyName), []byte("mine"), 0o600))
		},
		"a file": func(beside string) error { return os.WriteFile(beside, []byte("mine"), 0o600) },
		"a link": func(beside string) error { return os.Symlink("elsewhere", beside) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(filepath.Join(t.TempDir(), "CA"))
			if err := put(Beside(o.Dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := Init(context.Background(), &durable.Disk{}, o, rand.Reader, start); err != nil {
				t.Fatal(err)
			}
			if obs := Observe(o.Dir, Filter{}); obs.Status != Complete || len(obs.Faults) > 0 {
				t.Errorf("%v, %v", obs.Status, obs.Faults)
			}
			switch n := durable.Look(Beside(o.Dir)); n.Kind {
			case durable.Missing:
				t.Error("the file is gone")
			case durable.Directory:
				if err := RemoveBeside(context.Background(), &durable.Disk{}, o.Dir); err == nil {
					t.Error("a person's file was removed")
				}
				if !durable.Look(filepath.Join(n.Path, "note.txt")).Exists {
					t.Error("a person's file is gone")
				}
			}
		})
	}
}

// A loss of power may lose the content of a new CA's small files, because they are not synced. They are made again,
// openssl can use them, and no copy of the lost ones is kept.
func TestSmallFilesLost(t *testing.T) {
	for _, keep := range []string{"nothing", "half", "zeros"} {
		t.Run(keep, func(t *testing.T) {
			o := options(filepath.Join(t.TempDir(), "CA"))
			if _, err := Init(context.Background(), &durable.Disk{}, o, rand.Reader, start); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{serialName, attrName, crlNumName, indexName} {
				path := filepath.Join(o.Dir, name)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				left := map[string]string{"nothing": "", "half": string(data[:len(data)/2]),
					"zeros": strings.Repeat("\x00", len(data))}[keep]
				if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Reconcile(context.Background(), &durable.Disk{}, o.Dir, nil); err != nil {
				t.Fatal(err)
			}
			issue(t, &durable.Disk{}, o, start)
			second := issue(t, &durable.Disk{}, o, start)
			if obs := Observe(o.Dir, Filter{}); obs.Status != Complete || len(obs.Faults) > 0 {
				t.Errorf("%v, %v", obs.Status, obs.Faults)
			}
			mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke",
				"newcerts/"+FormatSerial(second.SerialNumber)+".pem")
			mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
			names, err := durable.Names(o.Dir, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if Aside(name) {
					t.Errorf("%s was kept", name)
				}
			}
		})
	}
}
