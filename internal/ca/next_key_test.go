package ca

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/durable"
)

// A waiting generation whose key was lost or does not belong to it, for example after a loss of power, is not put into
// force. The CA still signs with the present key and reports the fault.
func TestNextWithoutItsKey(t *testing.T) {
	for name, damage := range map[string]func(o Options, key string) error{
		"empty":   func(_ Options, key string) error { return os.WriteFile(key, nil, 0o600) },
		"garbage": func(_ Options, key string) error { return os.WriteFile(key, []byte("x\n"), 0o600) },
		"another": func(o Options, key string) error {
			return os.WriteFile(key, durable.Read(filepath.Join(o.Dir, keyName), maxFile).Data, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, d := made(t)
			if _, err := StartNext(context.Background(), d, o, rand.Reader, start); err != nil {
				t.Fatal(err)
			}
			if err := damage(o, filepath.Join(o.Dir, nextName, keyName)); err != nil {
				t.Fatal(err)
			}
			before := Observe(o.Dir, Filter{})
			if before.HasNext() || !has(before.Faults, FaultNext) {
				t.Errorf("next %v, faults %v", before.HasNext(), before.Faults)
			}
			if _, err := Promote(context.Background(), d, o); err == nil {
				t.Error("it was put into force")
			}
			if _, err := StartNext(context.Background(), d, o, rand.Reader, start); !errors.Is(err, ErrDamaged) {
				t.Errorf("another one was begun in its place: %v", err)
			}
			if _, err := Issue(context.Background(), d, o, request(t), rand.Reader, start); err != nil {
				t.Errorf("the CA cannot sign: %v", err)
			}
		})
	}
}
