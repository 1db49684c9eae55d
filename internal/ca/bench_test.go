package ca

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// fill gives a CA that many certificates, without waiting for the disk.
func fill(tb testing.TB, o Options, n int) {
	tb.Helper()
	s, err := Open(context.Background(), &durable.Disk{}, o)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	key := newKey(tb)
	var rows []Entry
	for i := range n {
		t, err := leafTemplate(o, Request{Public: key.Public(), Name: fmt.Sprintf("host%05d.example.org", i), Days: 365, Backdate: time.Hour}, s.obs.Current.Cert, start)
		if err != nil {
			tb.Fatal(err)
		}
		t.SerialNumber = big.NewInt(int64(i) + 2)
		c, err := create(t, s.obs.Current.Cert, key.Public(), s.key, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		rows = append(rows, entryFor(c))
		if err := os.WriteFile(filepath.Join(o.Dir, newCertsName, FormatSerial(c.SerialNumber)+".pem"), pki.EncodeCertificate(c.Raw), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(o.Dir, indexName), formatIndex(rows), 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := writeSerial(&durable.Disk{}, o.Dir, big.NewInt(int64(n)+2)); err != nil {
		tb.Fatal(err)
	}
	if obs := Observe(o.Dir, Filter{}); len(obs.Faults) > 0 || len(obs.Index) != n {
		tb.Fatalf("%d rows, %v", len(obs.Index), obs.Faults)
	}
}

// A request signed by the daemon: the database empty, and with ten thousand
// certificates. One look before, as the daemon takes it.
func BenchmarkSign(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o, d := made(b)
			fill(b, o, n)
			o.Memory = &Memory{}
			o.Memory.Observe(o.Dir, Filter{Name: o.Host})
			i := 0
			for b.Loop() {
				i++
				ask := Ask{Request: pki.Request{Public: newKey(b).Public()}, Name: fmt.Sprintf("new%05d.example.org", i), Days: 365}
				o.Memory.Observe(o.Dir, Filter{Name: o.Host})
				s, err := Open(context.Background(), d, o)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := s.Sign(ask, rand.Reader, start); err != nil {
					b.Fatal(err)
				}
				s.Close()
				o.Memory.Observe(o.Dir, Filter{Name: o.Host})
			}
		})
	}
}

// A look at ten thousand certificates without a memory, as a verb takes it.
func BenchmarkObserve(b *testing.B) {
	o, _ := made(b)
	fill(b, o, 10_000)
	for b.Loop() {
		if obs := Observe(o.Dir, Filter{Name: o.Host}); len(obs.Index) != 10_000 {
			b.Fatal(len(obs.Index))
		}
	}
}
