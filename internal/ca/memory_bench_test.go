package ca

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"mailcertd/internal/pki"
)

// The processor time that the daemon's Memory saves: for a look at an unchanged CA with a million rows, and for a
// signature with the looks before and after it.
func BenchmarkMemory(b *testing.B) {
	for _, m := range []struct {
		name   string
		memory *Memory
	}{{"with", &Memory{}}, {"without", nil}} {
		o, d := made(b)
		crowd(b, o.Dir, 1_000_000, false)
		o.Memory = m.memory
		filter := Filter{Name: o.Host}
		per := func(b *testing.B, f func(i int)) {
			before, i := cpuTime(b), 0
			for b.Loop() {
				f(i)
				i++
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		}
		if obs := o.Memory.Observe(o.Dir, filter); obs.Err != nil || obs.Rows != 1_000_000 {
			b.Fatal(obs.Rows, obs.Err)
		}
		b.Run("look/"+m.name, func(b *testing.B) {
			per(b, func(int) {
				if obs := o.Memory.Observe(o.Dir, filter); obs.Err != nil {
					b.Fatal(obs.Err)
				}
			})
		})
		b.Run("sign/"+m.name, func(b *testing.B) {
			per(b, func(i int) {
				o.Memory.Observe(o.Dir, filter)
				s, err := Open(context.Background(), d, o)
				if err != nil {
					b.Fatal(err)
				}
				ask := Ask{Request: pki.Request{Public: newKey(b).Public()},
					Name: fmt.Sprintf("new%s%05d.example.org", m.name, i), Days: 365}
				if _, _, err := s.Sign(ask, rand.Reader, start); err != nil {
					b.Fatal(err)
				}
				s.Close()
				o.Memory.Observe(o.Dir, filter)
			})
		})
	}
}

// A pass over a large index.txt is told once; a look that uses the kept result is none.
func TestLargePassIsTold(t *testing.T) {
	dir := t.TempDir()
	crowd(t, dir, 100_000, false)
	var m Memory
	for i, want := range []bool{true, false} {
		if _, err := m.database(dir, question{}); err != nil {
			t.Fatal(err)
		}
		if large := m.Large(); large != want {
			t.Errorf("look %d: a large pass %v, want %v", i+1, large, want)
		}
	}
	small := t.TempDir()
	crowd(t, small, 100, false)
	m.forget()
	if _, err := m.database(small, question{}); err != nil || m.Large() {
		t.Errorf("a small index.txt is a large pass: %v", err)
	}
}
