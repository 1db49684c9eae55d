package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

// `openssl ca` puts its certificate into newcerts, and adds the row to index.txt at the moment in which mailcertd is
// about to add it, because there was none at the last look. There must be only one row.
func TestRowThatCameMeanwhile(t *testing.T) { // not parallel, because all tests share the hook
	o, d := made(t)
	cert := issue(t, d, o, time.Now())
	path := filepath.Join(o.Dir, indexName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	times := 0
	testOnlyObserved = func() {
		if times++; times > 1 {
			return
		}
		if err := os.WriteFile(path+".new", whole, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { testOnlyObserved = nil }()
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(path)
	if strings.Count(string(got), "\t"+FormatSerial(cert.SerialNumber)+"\t") != 1 {
		t.Errorf("index.txt is\n%s", got)
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", CRLName)
}

// A signature begins while `openssl ca` is between its two renames, so that there is no index.txt. openssl's file is
// there before the row is added, and the row is appended to it.
func TestIssueBetweenTwoRenames(t *testing.T) {
	o, d := made(t)
	first := issue(t, d, o, time.Now())
	path := filepath.Join(o.Dir, indexName)
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rename := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Error(err)
		}
	}
	rename(path, path+".old")
	back := false
	d.Before = func(p durable.Point) error {
		if !back && filepath.Base(filepath.Dir(p.Path)) == NewCertsDir {
			back = true
			rename(path+".old", path)
		}
		return nil
	}
	cert, err := s.Issue(request(t), rand.Reader, time.Now())
	d.Before = nil
	if err != nil || !back {
		t.Fatal(back, err)
	}
	got, _ := os.ReadFile(path)
	for _, c := range []*x509.Certificate{first, cert} {
		if strings.Count(string(got), "\t"+FormatSerial(c.SerialNumber)+"\t") != 1 {
			t.Errorf("index.txt is\n%s", got)
		}
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", CRLName)
}
