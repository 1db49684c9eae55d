package ca

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A CA of key and certificate alone, as `openssl req -x509` makes it, whose certificate this host serves: the first
// repair adds everything that it lacks, newcerts with that certificate, too.
func TestPlainCA(t *testing.T) {
	o, d := made(t)
	leaf, err := Issue(context.Background(), d, o, Request{Public: newKey(t).Public(), Name: "mail.example.org",
		Days: 90}, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{NewCertsDir, indexName, serialName, confName} {
		if err := os.RemoveAll(filepath.Join(o.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Reconcile(context.Background(), d, o.Dir, leaf); err != nil {
		t.Fatal(err)
	}
	is := Observe(o.Dir, Filter{})
	if lacks(is.Faults, leaf) || len(is.Faults) > 0 || is.Err != nil {
		t.Errorf("after one repair: %v %+v", is.Err, is.Faults)
	}
}
