package ca

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

// index.txt is missing because openssl was killed between its two renames. The index.txt.new that it had written is
// used, with revocations that no CRL contains yet.
func TestIndexBetweenTwoRenames(t *testing.T) {
	for _, tail := range []string{".new", ".old"} {
		o, d := made(t)
		issue(t, d, o, time.Now())
		last := issue(t, d, o, time.Now())
		path := filepath.Join(o.Dir, indexName)
		mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke", "newcerts/01.pem")
		want, err := os.ReadFile(path)
		if err == nil {
			err = os.Rename(path, path+tail)
		}
		if tail == ".new" && err == nil {
			err = os.WriteFile(path+".old", []byte("V\t360101000000Z\t\t01\tunknown\t/CN=before\n"), 0o644)
		} else {
			_ = os.Remove(path + ".new")
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != string(want) ||
			!strings.Contains(string(got), FormatSerial(last.SerialNumber)) {
			t.Errorf("%s: %q, want %q", tail, got, want)
		}
	}
}

// Another program writes index.txt or cacert.pem slowly in place. Nothing is repaired because of the incomplete file.
func TestHalfWritten(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, time.Now())
	for _, name := range []string{certName, indexName} {
		path := filepath.Join(o.Dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name == indexName {
			restWait = 60 * time.Millisecond
			t.Cleanup(func() { restWait = time.Millisecond })
		}
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				select {
				case <-stop:
					_ = os.WriteFile(path, whole, 0o644)
					return
				default:
				}
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
				if err != nil {
					continue
				}
				_, _ = f.Write(whole[:len(whole)/2])
				// It is then practically impossible that six reads in a row see the incomplete file.
				time.Sleep(2 * time.Millisecond)
				_, _ = f.Write(whole[len(whole)/2:])
				f.Close()
				time.Sleep(20 * time.Millisecond)
			}
		})
		for range 5 {
			_, _ = Reconcile(context.Background(), d, o.Dir, nil)
			if obs := Observe(o.Dir, Filter{}); name == certName && obs.Current.Cert == nil {
				t.Error("a half-written CA certificate is reported as a damaged CA")
			}
		}
		close(stop)
		writer.Wait()
		if got, _ := os.ReadFile(path); string(got) != string(whole) {
			t.Errorf("%s: %q", name, got)
		}
		if names, _ := filepath.Glob(path + ".bad-*"); len(names) > 0 {
			t.Error(names)
		}
	}
}

// openssl renames index.txt away before it renames its own file to that name. A row that is to be written in between
// waits.
func TestRowWhileIndexIsRenamed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "index.txt")
	back := make(chan error, 1)
	disk := &durable.Disk{Before: func(p durable.Point) error {
		if p.Op == "append" && p.N == 1 {
			if err := os.WriteFile(path+".new", []byte("openssl's\n"), 0o600); err != nil {
				return err
			}
			time.AfterFunc(50*time.Millisecond, func() { back <- os.Rename(path+".new", path) })
		}
		return nil
	}}
	if err := appendRow(disk, path, []byte("ours\n")); err != nil {
		t.Error(err)
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "openssl's\nours\n" {
		t.Errorf("%q, %v", b, err)
	}
}
