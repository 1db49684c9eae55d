package ca

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// fill adds n certificates to a CA. It does not wait for the disk.
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
		t, err := leafTemplate(o, Request{Public: key.Public(), Name: fmt.Sprintf("host%05d.example.org", i), Days: 365,
			Backdate: time.Hour}, s.obs.Current.Cert, start)
		if err != nil {
			tb.Fatal(err)
		}
		t.SerialNumber = big.NewInt(int64(i) + 2)
		c, err := create(t, s.obs.Current.Cert, key.Public(), s.key, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		rows = append(rows, entryFor(c))
		if err := os.WriteFile(filepath.Join(o.Dir, NewCertsDir, FormatSerial(c.SerialNumber)+".pem"),
			pki.EncodeCertificate(c.Raw), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(o.Dir, indexName), formatIndex(rows), 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := writeSerial(&durable.Disk{}, o.Dir, big.NewInt(int64(n)+2)); err != nil {
		tb.Fatal(err)
	}
	if obs := Observe(o.Dir, Filter{}); len(obs.Faults) > 0 || len(obs.index()) != n {
		tb.Fatalf("%d rows, %v", len(obs.index()), obs.Faults)
	}
}

// The daemon signs one request, with an empty database and with one of ten thousand certificates. It looks once before,
// as the daemon does.
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
				ask := Ask{Request: pki.Request{Public: newKey(b).Public()},
					Name: fmt.Sprintf("new%05d.example.org", i), Days: 365}
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

// crowd writes an index.txt with so many rows, without certificates: one row in twenty has expired, one in a thousand
// is revoked.
func crowd(tb testing.TB, dir string, rows int, counted bool) {
	tb.Helper()
	var text []byte
	rnd := mathrand.New(mathrand.NewPCG(1, 2))
	for i := range rows {
		serial, ends, status, revoked := new(big.Int).SetUint64(rnd.Uint64()|1<<63),
			start.Add(time.Duration(i)*31*time.Second), "V", ""
		if counted {
			serial.SetUint64(uint64(i) + 0x1000)
		}
		switch {
		case i%1000 == 500:
			status, revoked = "R", formatTime(start)+",superseded"
		case rnd.IntN(20) == 0:
			status, ends = "E", ends.AddDate(-1, -2, 0)
		}
		text = fmt.Appendf(text, "%s\t%s\t%s\t%s\tunknown\t/CN=h%06d.lan\n", status, formatTime(ends), revoked,
			FormatSerial(serial), i)
	}
	if err := os.WriteFile(filepath.Join(dir, indexName), text, 0o644); err != nil {
		tb.Fatal(err)
	}
}

// cpuTime returns the processor time that this process has used.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The cost of a look at a large index.txt, with serials that were drawn at random and with serials that were counted.
func BenchmarkDatabase(b *testing.B) {
	for _, c := range []struct {
		name    string
		counted bool
	}{{"drawn", false}, {"counted", true}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			crowd(b, dir, 1_000_000, c.counted)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if db, err := readDatabase(dir, question{names: []string{"mail.example.org"}}); err != nil ||
					db.rows != 1_000_000 || len(db.odd) > 0 {
					b.Fatal(db.rows, db.odd, err)
				}
			}
			// The processor time is a better figure than the elapsed time, because the machine may do other work.
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// A look at ten thousand certificates without a memory of the last look, as in a verb.
func BenchmarkObserve(b *testing.B) {
	o, _ := made(b)
	fill(b, o, 10_000)
	for b.Loop() {
		if obs := Observe(o.Dir, Filter{Name: o.Host}); len(obs.index()) != 10_000 {
			b.Fatal(len(obs.index()))
		}
	}
}

// Issuing does not read every certificate, however large the database is.
func BenchmarkIssue(b *testing.B) {
	for _, rows := range []int{0, 10000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			o, d := made(b)
			var index strings.Builder
			for i := range rows {
				fmt.Fprintf(&index, "V\t360101000000Z\t\t%s\tunknown\t/CN=h%d\n", fmt.Sprintf("%06X", i+1), i)
			}
			if err := os.WriteFile(filepath.Join(o.Dir, indexName), []byte(index.String()), 0o644); err != nil {
				b.Fatal(err)
			}
			req := request(b)
			for b.Loop() {
				if _, err := Issue(context.Background(), d, o, req, rand.Reader, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
