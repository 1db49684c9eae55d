package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

type death struct{}

// stopAt returns a disk on which every operation from the Nth on crashes.
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

// disaster is an operation that a crash may interrupt.
type disaster struct {
	name   string
	before func(*testing.T, Options) // prepares what exists already; nil means that there is no CA
	do     func(*durable.Disk, Options) error
	done   []error // the errors that the operation may return when it is called again after it was done
	// half fails the test if the directory, after a crash and its repair, is neither as before the operation nor as
	// after it.
	half func(*testing.T, Options)
	// after checks the directory when the operation was done again.
	after func(*testing.T, Options)
}

var heir, _ = pki.GenerateKey(pki.ECDSAP256, rand.Reader)

// disasters returns new values for every crash point, because their functions remember what they saw.
func disasters(t *testing.T) []disaster {
	ctx := context.Background()
	one := func(t *testing.T, o Options) { issue(t, &durable.Disk{}, o, start) }
	session := func(d *durable.Disk, o Options, f func(*Session) error) error {
		s, err := Open(ctx, d, o)
		if err != nil {
			return err
		}
		defer s.Close()
		return f(s)
	}
	see := func(o Options) Observed { return Observe(o.Dir, Filter{Name: o.Host}) }
	next := func(t *testing.T, o Options) { // the third generation waits
		one(t, o)
		if _, err := nextGeneration(ctx, &durable.Disk{}, o, rand.Reader, start); err != nil {
			t.Fatal(err)
		}
		one(t, o)
		if _, err := StartNext(ctx, &durable.Disk{}, o, rand.Reader, start); err != nil {
			t.Fatal(err)
		}
	}
	revoke := func(d *durable.Disk, o Options) error {
		return session(d, o, func(s *Session) error {
			return s.Revoke(big.NewInt(1), "superseded", start.Add(time.Hour))
		})
	}
	var was, then Observed
	var rows, key []byte
	remember := func(o Options) {
		was = see(o)
		rows, _ = os.ReadFile(filepath.Join(o.Dir, indexName))
		key, _ = os.ReadFile(filepath.Join(o.Dir, keyName))
	}
	lists := func(t *testing.T, o Options, all bool) {
		obs := see(o)
		number, _, _ := readSerial(filepath.Join(o.Dir, crlNumName))
		for _, l := range obs.CRL.Lists {
			if l.List == nil {
				if durable.Look(l.Path).Exists || all {
					t.Errorf("%s is missing or incomplete", l.Path)
				}
				continue
			}
			if n := len(l.List.RevokedCertificateEntries); n != 1 || number == nil || l.List.Number.Cmp(number) >= 0 {
				t.Errorf("%s: %d entries, number %v, the next one is %v", l.Path, n, l.List.Number, number)
			}
		}
		if all && obs.CRL.Behind {
			t.Error("a CRL is out of date")
		}
	}
	return []disaster{
		{name: "init", do: func(d *durable.Disk, o Options) error {
			_, err := Init(ctx, d, o, rand.Reader, start)
			return err
		},
			done: []error{ErrExists},
			half: func(t *testing.T, o Options) {
				if obs := see(o); obs.Dir.Exists && (obs.Status != Complete || len(obs.Faults) > 0) {
					t.Errorf("half a CA: %v, %v", obs.Status, obs.Faults)
				}
				key, _ = os.ReadFile(filepath.Join(o.Dir, keyName))
			},
			after: func(t *testing.T, o Options) {
				if now, _ := os.ReadFile(filepath.Join(o.Dir, keyName)); key != nil && !bytes.Equal(key, now) {
					t.Error("the key was made twice")
				}
				if n := durable.Look(Beside(o.Dir)); key == nil && n.Kind != durable.Missing {
					t.Errorf("%s is left over", n.Path)
				}
			}},
		{name: "init in an empty directory", do: func(d *durable.Disk, o Options) error {
			if err := os.Mkdir(o.Dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			_, err := Init(ctx, d, o, rand.Reader, start)
			return err
		},
			done: []error{ErrExists},
			half: func(t *testing.T, o Options) { key, _ = os.ReadFile(filepath.Join(o.Dir, keyName)) },
			after: func(t *testing.T, o Options) {
				if now, _ := os.ReadFile(filepath.Join(o.Dir, keyName)); key != nil && !bytes.Equal(key, now) {
					t.Error("the key was made twice")
				}
			}},
		{name: "issue", before: one, do: func(d *durable.Disk, o Options) error {
			_, err := Issue(ctx, d, o, Request{Public: newKey(t).Public(), Name: o.Host, Days: 90}, rand.Reader, start)
			return err
		}},
		{name: "generation", before: one, do: func(d *durable.Disk, o Options) error {
			_, err := nextGeneration(ctx, d, o, rand.Reader, start)
			return err
		}},
		{name: "revoke", before: func(t *testing.T, o Options) { one(t, o); one(t, o); remember(o) }, do: revoke,
			done: []error{ErrRevoked},
			half: func(t *testing.T, o Options) {
				now, _ := os.ReadFile(filepath.Join(o.Dir, indexName))
				if obs := see(o); !bytes.Equal(now, rows) &&
					(obs.index()[0].Status != Revoked || obs.index()[0].Reason != "superseded" ||
						!obs.index()[0].Revoked.Equal(start.Add(time.Hour))) {
					t.Errorf("half a revocation:\n%s", now)
				}
			},
			after: func(t *testing.T, o Options) {
				now, _ := os.ReadFile(filepath.Join(o.Dir, indexName))
				if _, second, _ := bytes.Cut(rows, []byte("\n")); see(o).index()[0].Status != Revoked ||
					!bytes.HasSuffix(now, second) {
					t.Errorf("another row changed:\n%s", now)
				}
			}},
		{name: "crl", before: func(t *testing.T, o Options) {
			one(t, o)
			if _, err := nextGeneration(ctx, &durable.Disk{}, o, rand.Reader, start); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(revoke(&durable.Disk{}, o),
				WriteCRL(ctx, &durable.Disk{}, o, rand.Reader, start)); err != nil {
				t.Fatal(err)
			}
			one(t, o)
		}, do: func(d *durable.Disk, o Options) error { return WriteCRL(ctx, d, o, rand.Reader, start.Add(time.Hour)) },
			half: func(t *testing.T, o Options) { lists(t, o, false) },
			after: func(t *testing.T, o Options) {
				lists(t, o, true)
				if n := see(o).CRL.Lists[0].List.Number.Int64(); n < 2 {
					t.Errorf("number %d", n)
				}
			}},
		{name: "replace", before: one, do: func(d *durable.Disk, o Options) error {
			return session(d, o, func(s *Session) error {
				_, _, err := s.Sign(
					Ask{Request: pki.Request{Public: heir.Public(), CommonName: o.Host, DNSNames: []string{o.Host}},
						Days: 90, Replace: true}, rand.Reader, start)
				return err
			})
		},
			half: func(t *testing.T, o Options) {
				if len(see(o).Issued) == 0 {
					t.Error("the old certificate is revoked and the new one is not there")
				}
			},
			after: func(t *testing.T, o Options) {
				obs := see(o)
				if len(obs.Issued) != 1 || !pki.SamePublicKey(obs.Issued[0].Cert.PublicKey, heir.Public()) ||
					obs.index()[0].Status != Revoked || len(obs.index()) != 2 {
					t.Errorf("%d serve, %d rows, the old one is %c", len(obs.Issued), len(obs.index()),
						obs.index()[0].Status)
				}
			}},
		{name: "start next", before: func(t *testing.T, o Options) { one(t, o); remember(o) },
			do: func(d *durable.Disk, o Options) error {
				_, err := StartNext(ctx, d, o, rand.Reader, start)
				return err
			},
			half: func(t *testing.T, o Options) {
				then = see(o)
				key, _ = os.ReadFile(filepath.Join(o.Dir, nextName, keyName))
			},
			after: func(t *testing.T, o Options) {
				obs := see(o)
				made, _ := os.ReadFile(filepath.Join(o.Dir, nextName, keyName))
				k, err := readKey(filepath.Join(o.Dir, nextName, keyName), nil)
				switch {
				case err != nil || !obs.HasNext() || !pki.SamePublicKey(k.Public(), obs.Next.Cert.PublicKey) ||
					!pki.SamePublicKey(k.Public(), obs.Next.Cross.PublicKey):
					t.Errorf("key and certificates do not belong together: %v", err)
				case key != nil && !bytes.Equal(key, made):
					t.Error("the key was made twice")
				case then.HasNext() && !then.Next.Cert.Equal(obs.Next.Cert):
					t.Error("a second next generation")
				case obs.Next.Cross.CheckSignatureFrom(was.Current.Cert) != nil ||
					!obs.Current.Cert.Equal(was.Current.Cert) || len(obs.Older) != 0:
					t.Error("the generation in force changed")
				}
			}},
		{name: "promote", before: func(t *testing.T, o Options) {
			next(t, o)
			if err := WriteCRL(ctx, &durable.Disk{}, o, rand.Reader, start); err != nil {
				t.Fatal(err)
			}
			remember(o)
		},
			do:   func(d *durable.Disk, o Options) error { _, err := Promote(ctx, d, o); return err },
			done: []error{fs.ErrNotExist},
			half: func(t *testing.T, o Options) {
				obs := see(o)
				obs.Older = slices.DeleteFunc(obs.Older, func(g Generation) bool { return g.Cert == nil && !g.HasKey })
				old, promoted := obs.Current.Cert.Equal(was.Current.Cert), obs.Current.Cert.Equal(was.Next.Cert)
				switch {
				case old && (!obs.HasNext() || len(obs.Older) != 1), promoted && (obs.HasNext() || len(obs.Older) != 2),
					!old && !promoted:
					t.Errorf("old %v, new %v, next %v, %d older", old, promoted, obs.HasNext(), len(obs.Older))
				}
			},
			after: func(t *testing.T, o Options) {
				obs := see(o)
				kept, _ := os.ReadFile(filepath.Join(o.Dir, "gen-2", keyName))
				left, _ := os.ReadDir(filepath.Join(o.Dir, nextName))
				switch {
				case !obs.Current.Cert.Equal(was.Next.Cert) || obs.HasNext() || len(left) > 0:
					t.Error("it is not in force, or next/ is left over")
				case len(obs.Older) != 2 || !obs.Older[0].Cert.Equal(was.Current.Cert) ||
					!obs.Older[1].Cert.Equal(was.Older[0].Cert) || !bytes.Equal(kept, key) || obs.Older[0].Cross == nil:
					t.Error("a file of the former generations is missing")
				case obs.Older[0].LastLeaf.IsZero() || len(obs.CRL.Lists) != 3 || obs.CRL.Lists[1].List == nil:
					t.Error("the former generation lost its leaf or its CRL")
				}
			}},
		{name: "enrol", before: func(t *testing.T, o Options) {
			one(t, o)
			if err := Members(ctx, &durable.Disk{}, o.Dir, Enrol("a.example.org", nil, start)); err != nil {
				t.Fatal(err)
			}
		}, do: func(d *durable.Disk, o Options) error {
			return Members(ctx, d, o.Dir, Enrol("b.example.org", []string{"192.0.2.7"}, start))
		},
			half: func(t *testing.T, o Options) {
				if m := see(o).Members; len(m) == 0 || len(m) > 2 || m[0].Name != "a.example.org" {
					t.Errorf("%+v", m)
				}
			},
			after: func(t *testing.T, o Options) {
				if m := see(o).Members; len(m) != 2 || m[1].Name != "b.example.org" || len(m[1].AltNames) != 1 {
					t.Errorf("%+v", m)
				}
			}},
	}
}

// After a crash at any operation the next call repairs the directory, which is then as before or as after the
// operation. The operation can be done again: no serial is used twice, no key is lost, and openssl and Prune still
// work.
func TestCrashes(t *testing.T) {
	ctx := context.Background()
	for i, act := range disasters(t) {
		t.Run(act.name, func(t *testing.T) {
			crashes := 0
			for n := int64(1); !t.Failed(); n++ {
				act, o := disasters(t)[i], options(filepath.Join(t.TempDir(), "CA"))
				if act.before != nil {
					if _, err := Init(ctx, &durable.Disk{}, o, rand.Reader, start); err != nil {
						t.Fatal(err)
					}
					act.before(t, o)
				}
				if !dies(func() {
					if err := act.do(stopAt(n), o); err != nil {
						t.Fatalf("point %d: %v", n, err)
					}
				}) {
					break
				}
				crashes++
				t.Run(fmt.Sprint(n), func(t *testing.T) { act.survive(t, o) })
			}
			if crashes < 5 {
				t.Errorf("only %d crash points", crashes)
			}
		})
	}
}

func (act disaster) survive(t *testing.T, o Options) {
	ctx := context.Background()
	sound := func() Observed {
		t.Helper()
		obs := Observe(o.Dir, Filter{Name: o.Host})
		if obs.Status != Complete || len(obs.Faults) > 0 {
			t.Fatalf("%v, %v", obs.Status, obs.Faults)
		}
		return obs
	}
	if act.before != nil {
		if _, err := Reconcile(ctx, &durable.Disk{}, o.Dir, nil); err != nil {
			t.Fatal(err)
		}
		sound()
	}
	if act.half != nil {
		act.half(t, o)
	}
	if act.before == nil || act.after != nil {
		if err := act.do(&durable.Disk{}, o); err != nil &&
			!slices.ContainsFunc(act.done, func(e error) bool { return errors.Is(err, e) }) {
			t.Fatalf("doing it again: %v", err)
		}
		sound()
	}
	if act.after != nil {
		act.after(t, o)
	}
	last := issue(t, &durable.Disk{}, o, start)
	obs := sound()
	seen, valid := map[string]bool{}, 0
	for _, e := range obs.index() {
		if seen[FormatSerial(e.Serial)] {
			t.Fatalf("serial %v twice", e.Serial)
		}
		seen[FormatSerial(e.Serial)] = true
		if e.Status == Valid {
			valid++
		}
	}
	if len(obs.Issued) != valid {
		t.Fatalf("%d valid rows, %d certificates", valid, len(obs.Issued))
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
	sound()
	if err := Prune(ctx, &durable.Disk{}, o.Dir, last.NotAfter.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if obs := sound(); len(obs.Older) != 0 {
		t.Errorf("after Prune: %d older", len(obs.Older))
	}
}
