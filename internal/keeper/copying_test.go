package keeper

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// boughtPair returns the key, the certificate and the CA of a bought pair, as three files.
func boughtPair(t *testing.T) (key, cert, root []byte) {
	t.Helper()
	s := newSite(t, "")
	s.now = time.Now()
	s.settle(plan.Wish{})
	return s.read(s.certs("host.key")), s.read(s.certs("host.cert")), s.read(s.certs("cacert.pem"))
}

// A person copies a pair of another CA into place in pieces, and the daemon looks after each piece. It replaces nothing
// during the copy, and at the end the files are what was copied, byte for byte.
func TestSlowCopy(t *testing.T) {
	key, cert, root := boughtPair(t)
	for _, c := range []struct {
		name  string
		order []string
	}{
		{"certificate, key, CA", []string{"host.cert", "host.key", "cacert.pem"}},
		{"key, certificate, CA", []string{"host.key", "host.cert", "cacert.pem"}},
		{"CA first", []string{"cacert.pem", "host.key", "host.cert"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, "")
			s.now = time.Now()
			s.settle(plan.Wish{})
			content := map[string][]byte{"host.key": key, "host.cert": cert,
				"cacert.pem": append(bytes.Clone(root), root...)}
			look := func(what string) {
				t.Helper()
				s.now = time.Now()
				if _, err := s.Look(context.Background(), what); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			for _, name := range c.order {
				f, err := os.OpenFile(s.certs(name), os.O_WRONLY|os.O_TRUNC, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				look("truncated")
				data := content[name]
				for part := range bytes.Lines(data) {
					if _, err := f.Write(part); err != nil {
						t.Fatal(err)
					}
					if len(part) < 40 { // these are headers and last lines, where every state of the file matters
						look("a part of " + name)
					}
				}
				f.Close()
				look("whole " + name)
			}
			for name, want := range content {
				if got := s.read(s.certs(name)); !bytes.Equal(got, want) {
					t.Errorf("%s is not what was copied:\n%s\n%s", name, got, strings.Join(s.log, "\n"))
				}
			}
			s.now = time.Now().Add(2 * time.Minute) // the file has not changed for longer than the daemon waits
			look("rested")
			for _, name := range []string{"host.key", "host.cert"} {
				if got := s.read(s.certs(name)); !bytes.Equal(got, content[name]) {
					t.Errorf("%s was replaced two minutes after the copy", name)
				}
			}
		})
	}
}

// An incomplete file is replaced, with a backup of all of it, when it has not changed for ten minutes. A verb does not
// wait, and a deleted file comes back at once.
func TestHalfWritten(t *testing.T) {
	_, cert, _ := boughtPair(t)
	half := cert[:len(cert)/2]
	for _, c := range []struct {
		name  string
		file  string
		data  []byte
		once  bool
		after time.Duration
		want  bool // it is replaced
	}{
		{"just now", "host.cert", half, false, 0, false},
		{"empty, just now", "host.cert", nil, false, 0, false},
		{"59 seconds", "host.cert", half, false, 59 * time.Second, false},
		{"rested", "host.cert", half, false, 61 * time.Second, true},
		{"a verb", "host.cert", half, true, 0, true},
		{"a key, just now", "host.key", []byte("-----BEGIN PRIVATE KEY-----\nMIIE"), false, 0, false},
		{"a key, rested", "host.key", []byte("-----BEGIN PRIVATE KEY-----\nMIIE"), false, 61 * time.Second, true},
		{"the CA file, just now", "cacert.pem", half, false, 0, false},
		{"the CA file, rested", "cacert.pem", half, false, 61 * time.Second, true},
		{"parameters, just now", "dh.param", []byte("-----BEGIN DH"), false, 0, false},
		{"parameters, rested", "dh.param", []byte("-----BEGIN DH"), false, 61 * time.Second, true},
		{"gone", "host.cert", []byte("gone"), false, 0, true},
		{"written in the future", "host.cert", half, false, -time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, "")
			s.now = time.Now()
			s.settle(plan.Wish{})
			path := s.certs(c.file)
			var err error
			if string(c.data) == "gone" {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, c.data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.now = time.Now().Add(c.after)
			if _, err := s.Settle(context.Background(), plan.Wish{Once: c.once}); err != nil {
				t.Fatal(err)
			}
			got := s.read(path)
			if replaced := !bytes.Equal(got, c.data); replaced != c.want {
				t.Fatalf("replaced %t:\n%s", replaced, strings.Join(s.log, "\n"))
			}
			p := s.Check(context.Background(), plan.Wish{Once: c.once}).Plan
			if reported(p, plan.BeingWritten) == c.want {
				t.Errorf("told: %+v", p.Problems)
			}
			if !c.want || len(c.data) == 0 || string(c.data) == "gone" {
				return
			}
			copies, _ := filepath.Glob(filepath.Join(s.backupsDir(), "*", c.file))
			for _, path := range copies {
				if bytes.Equal(s.read(path), c.data) {
					return
				}
			}
			t.Errorf("no copy of it: %v", copies)
		})
	}
}

// Another program writes a file in the moment before it would be replaced. Nothing is changed, and the program's file
// is not lost.
func TestWrittenBeforeTheCommit(t *testing.T) {
	s := newSite(t, "")
	s.now = time.Now()
	s.settle(plan.Wish{})
	mine := []byte("somebody's own work\n")
	once := false
	s.o.Disk.Before = func(p durable.Point) error {
		if p.Op == "create" && strings.Contains(p.Path, "host.cert") && !once {
			once = true
			return os.WriteFile(s.certs("host.cert"), mine, 0o644)
		}
		return nil
	}
	r, err := s.Settle(context.Background(), plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
	// This is not a failure, because the files are no longer those on which the plan was based.
	if err != nil || len(r.Plan.State.Failures) != 0 {
		t.Errorf("%v, %+v", err, r.Plan.State.Failures)
	}
	if got := s.read(s.certs("host.cert")); !bytes.Equal(got, mine) {
		t.Errorf("the file contains\n%s", got)
	}
}
