package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// prepare makes the old state of a directory.
func prepare(t testing.TB, dir string) {
	t.Helper()
	for n, s := range map[string]string{"host.cert": "old cert", "host.key": "old key", "stale": "x"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "0.0")); err != nil {
		t.Fatal(err)
	}
}

// change is a transaction with every kind of step.
func change(d *Disk, dir string) error {
	s := OpenSet(d, dir)
	var steps []Step
	for _, n := range []string{"trust/ca.pem", "host.key", "host.cert"} {
		if err := s.Lay(n, []byte("new "+n), 0o600); err != nil {
			return err
		}
		steps = append(steps, Step{Op: OpInstall, Name: n, Digest: hexSum([]byte("new " + n))})
	}
	return s.Commit(append(steps, Step{Op: OpLink, Name: "0.0", Target: "trust/ca.pem"},
		Step{Op: OpRemove, Name: "stale"}))
}

// stateOf returns "old", "new", or the mixture that the directory is.
func stateOf(dir string) string {
	get := func(n string) string { b, _ := os.ReadFile(filepath.Join(dir, n)); return string(b) }
	link, _ := os.Readlink(filepath.Join(dir, "0.0"))
	s := strings.Join([]string{get("host.cert"), get("host.key"), get("trust/ca.pem"), get("stale"), link}, ",")
	switch s {
	case "old cert,old key,,x,elsewhere":
		return "old"
	case "new host.cert,new host.key,new trust/ca.pem,,trust/ca.pem":
		return "new"
	}
	return s
}

type death struct{}

func dies(f func()) (died bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, mine := r.(death); !mine {
				panic(r)
			}
			died = true
		}
	}()
	f()
	return false
}

// There is a crash before any operation, or a fault at any operation. After Recover the directory is entirely old or
// entirely new. After a fault before the commit it is old.
func TestEveryPoint(t *testing.T) {
	for _, how := range []string{"crash", "fault"} {
		t.Run(how, func(t *testing.T) {
			seen := map[string]int{}
			for n := int64(1); ; n++ {
				dir := t.TempDir()
				prepare(t, dir)
				fault := errors.New("disk full")
				d := &Disk{Before: func(p Point) error {
					if p.N < n {
						return nil
					}
					if how == "crash" {
						panic(death{})
					}
					if p.N == n {
						return fault
					}
					return nil
				}}
				var err error
				died := dies(func() { err = change(d, dir) })
				if !died && d.Points() < n {
					break
				}
				// After the commit the operation is tried again.
				if how == "fault" && err == nil && stateOf(dir) != "new" {
					t.Fatalf("point %d: the fault was lost", n)
				}
				if err != nil && !errors.Is(err, ErrCommitted) && stateOf(dir) != "old" {
					t.Fatalf("point %d: %v leaves %s", n, err, stateOf(dir))
				}
				s := OpenSet(&Disk{}, dir)
				if _, err := s.Recover(); err != nil {
					t.Fatalf("point %d: %v", n, err)
				}
				got := stateOf(dir)
				if got != "old" && got != "new" {
					t.Fatalf("point %d: %s", n, got)
				}
				seen[got]++
				if err != nil && errors.Is(err, ErrCommitted) && got != "new" {
					t.Fatalf("point %d: committed, but the directory is %s", n, got)
				}
				if p, err := s.Pending(); err != nil || p.Journal || p.Damaged || len(p.Staged) > 0 {
					t.Fatalf("point %d: left %+v, %v", n, p, err)
				}
			}
			if seen["old"] < 10 || seen["new"] < 5 {
				t.Errorf("%v", seen)
			}
		})
	}
}

// A torn journal was never committed. A journal that was tampered with is not followed.
func TestTornJournal(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":1,"steps":[{"op":"remove","name":"host.key"}],"sum":"00"}`} {
		dir := t.TempDir()
		prepare(t, dir)
		s := OpenSet(&Disk{}, dir)
		if err := s.Stage("host.cert", []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, stagingName, journalName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, _ := s.Pending(); !p.Damaged || p.Journal {
			t.Errorf("%q: %+v", text, p)
		}
		if _, err := s.Recover(); err != nil || stateOf(dir) != "old" {
			t.Errorf("%q: %v, %s", text, err, stateOf(dir))
		}
	}
}

// A change that could not be finished is refused before the commit.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	prepare(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, "dh.param/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := OpenSet(&Disk{}, dir)
	for _, st := range []Step{{Op: OpInstall, Name: "dh.param"}, {Op: OpInstall, Name: "../x"},
		{Op: OpLink, Name: "/etc/x", Target: "y"},
		{Op: OpInstall, Name: "host.cert", Digest: "00"}, {Op: "chmod", Name: "host.cert"}, {Op: OpRemove, Name: ""}} {
		if err := s.Commit([]Step{st}); err == nil || errors.Is(err, ErrCommitted) || stateOf(dir) != "old" {
			t.Errorf("%+v: %v, %s", st, err, stateOf(dir))
		}
	}
}
