package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/durable"
)

type death struct{}

// stopAt makes every operation from the Nth on a crash.
func stopAt(n int64) *durable.Disk {
	return &durable.Disk{Before: func(p durable.Point) error {
		if p.N >= n {
			panic(death{})
		}
		return nil
	}}
}

func dies(f func()) (died bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(death); !ok {
				panic(r)
			}
			died = true
		}
	}()
	f()
	return false
}

// After a crash at any operation the directory heals by the next call, no
// serial is used twice, and openssl goes on working.
func TestCrashes(t *testing.T) {
	ctx := context.Background()
	for _, act := range []struct {
		name string
		made bool
		do   func(*durable.Disk, Options) error
	}{
		{"init", false, func(d *durable.Disk, o Options) error { _, err := Init(ctx, d, o, rand.Reader, start); return err }},
		{"issue", true, func(d *durable.Disk, o Options) error {
			_, err := Issue(ctx, d, o, Request{Public: newKey(t).Public(), Name: o.Host, Days: 90}, rand.Reader, start)
			return err
		}},
		{"generation", true, func(d *durable.Disk, o Options) error {
			_, err := NextGeneration(ctx, d, o, rand.Reader, start)
			return err
		}},
	} {
		t.Run(act.name, func(t *testing.T) {
			crashes := 0
			for n := int64(1); ; n++ {
				o := options(filepath.Join(t.TempDir(), "CA"))
				if act.made {
					if _, err := Init(ctx, &durable.Disk{}, o, rand.Reader, start); err != nil {
						t.Fatal(err)
					}
					issue(t, &durable.Disk{}, o, start)
				}
				var key []byte
				if !dies(func() {
					if err := act.do(stopAt(n), o); err != nil {
						t.Fatalf("point %d: %v", n, err)
					}
				}) {
					break
				}
				crashes++
				key, _ = os.ReadFile(filepath.Join(o.Dir, keyName))
				if act.made {
					if _, err := Reconcile(ctx, &durable.Disk{}, o.Dir); err != nil {
						t.Fatalf("point %d: %v", n, err)
					}
				} else if err := act.do(&durable.Disk{}, o); err != nil && !errors.Is(err, ErrExists) {
					t.Fatalf("point %d: %v", n, err)
				}
				if now, _ := os.ReadFile(filepath.Join(o.Dir, keyName)); !act.made && key != nil && !bytes.Equal(key, now) {
					t.Fatalf("point %d: the key was made twice", n)
				}
				obs := Observe(o.Dir, Filter{Name: o.Host})
				if obs.Status != Complete || len(obs.Faults) > 0 {
					t.Fatalf("point %d: %v, %v", n, obs.Status, obs.Faults)
				}
				issue(t, &durable.Disk{}, o, start)
				obs = Observe(o.Dir, Filter{Name: o.Host})
				seen := map[string]bool{}
				for _, e := range obs.Index {
					if seen[FormatSerial(e.Serial)] {
						t.Fatalf("point %d: serial %v twice", n, e.Serial)
					}
					seen[FormatSerial(e.Serial)] = true
				}
				if len(obs.Faults) > 0 || len(obs.Issued) != len(obs.Index) {
					t.Fatalf("point %d: %d rows, %d certificates, %v", n, len(obs.Index), len(obs.Issued), obs.Faults)
				}
			}
			if crashes < 5 {
				t.Errorf("only %d crash points", crashes)
			}
		})
	}
}
