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

// The CA's directory is moved away, or comes back, at any moment of a look. It is never taken for a CA that was begun
// and not finished, because such a CA would be completed.
func TestMovedWhileItIsRead(t *testing.T) {
	o, _ := made(t)
	away := o.Dir + ".away"
	move := func(from, to string, at int) (reads int, obs Observed) {
		undo := durable.TestOnlyBeforeRead(func(string, string) error {
			if reads++; reads == at {
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			return nil
		})
		defer undo()
		return reads, Observe(o.Dir, Filter{Name: o.Host})
	}
	for at := 1; ; at++ {
		reads, obs := 0, Observed{}
		reads, obs = move(o.Dir, away, at)
		if _, err := os.Lstat(away); err != nil {
			if reads == 0 && at < 20 {
				t.Fatalf("%d reads", at)
			}
			break // there are fewer reads than this
		}
		if obs.Status == Unfinished || obs.Dir.Exists && obs.Status == Absent && obs.Err == nil {
			t.Errorf("moved before read %d: %s, %v", at, obs.Status, obs.Err)
		}
		if err := os.Rename(away, o.Dir); err != nil {
			t.Fatal(err)
		}
	}
}

// Init finishes a CA that was begun. It makes no other one in its place if that has gone.
func TestInitFinishesOnly(t *testing.T) {
	o, d := made(t)
	if err := os.Rename(o.Dir, o.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	o.Unfinished = true
	if _, err := Init(context.Background(), d, o, rand.Reader, start); err == nil {
		t.Error("a CA was made")
	}
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(context.Background(), d, o, rand.Reader, start); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
	if names, _ := filepath.Glob(o.Dir + "/*"); len(names) > 0 {
		t.Errorf("the directory contains %v", names)
	}
}
