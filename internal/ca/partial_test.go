package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A damaged next generation is not treated as one that has ended: the CA is only partly known.
func TestDamagedNextIsPartial(t *testing.T) {
	o, d := made(t)
	if _, err := StartNext(context.Background(), d, o, rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	if seen := Observe(o.Dir, Filter{}); !seen.HasNext() || seen.Partial() {
		t.Fatalf("%+v", seen.Next)
	}
	for _, name := range []string{certName, keyName, crossName} {
		path := filepath.Join(o.Dir, nextName, name)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", "garbage"} {
			if os.Remove(path); text != "" {
				os.WriteFile(path, []byte(text), 0o600)
			}
			if seen := Observe(o.Dir, Filter{}); !seen.Partial() && (name != keyName || text == "") {
				t.Errorf("%s %q: the CA is not marked as partly known", name, text)
			}
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// If a link to itself is in the place of a generation or of one of its files, it counts as missing. It is not an error,
// and does not delay a certificate.
func TestLoopingLinkIsNoError(t *testing.T) {
	for _, name := range []string{"gen-1", "gen-1/" + certName, "gen-1/" + keyName, "gen-1/" + crossName,
		"gen-1/" + CRLName, CRLName, nextName} {
		t.Run(name, func(t *testing.T) {
			o, d := made(t)
			if _, err := nextGeneration(context.Background(), d, o, rand.Reader, start); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(o.Dir, name)
			_ = os.RemoveAll(path)
			if err := os.Symlink(filepath.Base(path), path); err != nil {
				t.Fatal(err)
			}
			if err := Observe(o.Dir, Filter{}).Unread(); err != nil {
				t.Error(err)
			}
			issue(t, d, o, start)
		})
	}
}

// If the CRL of one generation cannot be replaced, the CRLs of the others are not made again at every attempt. So no
// CRL number is used up, and nothing changes about which sendmail would have to be told.
func TestBlockedListLeavesTheOthers(t *testing.T) {
	t.Run("a directory", func(t *testing.T) { blockedList(t, func(p string) error { return os.Mkdir(p, 0o755) }) })
	t.Run("a link to itself", func(t *testing.T) {
		blockedList(t, func(p string) error { return os.Symlink(CRLName, p) })
	})
}

func blockedList(t *testing.T, block func(string) error) {
	o, d := made(t)
	if _, err := nextGeneration(context.Background(), d, o, rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	write := func() error {
		s, err := Open(context.Background(), d, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.WriteCRL(rand.Reader, start)
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(o.Dir, "gen-1", CRLName)
	if err := errors.Join(os.Remove(blocked), block(blocked)); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(o.Dir, CRLName))
	number, _ := os.ReadFile(filepath.Join(o.Dir, crlNumName))
	for range 3 {
		if err := write(); err == nil {
			t.Error("there is no error for a CRL that cannot be replaced")
		}
	}
	after, _ := os.ReadFile(filepath.Join(o.Dir, CRLName))
	now, _ := os.ReadFile(filepath.Join(o.Dir, crlNumName))
	if !bytes.Equal(before, after) || !bytes.Equal(number, now) {
		t.Errorf("the other CRL was made again; its number changed from %q to %q", number, now)
	}
}
