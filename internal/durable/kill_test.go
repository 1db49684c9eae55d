package durable

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// snapshot returns every file and link of a directory with mode and content. The staging area and directories do not
// belong to a set.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == stagingName {
				return filepath.SkipDir
			}
			return nil
		}
		n := Read(path, maxStaged)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = fmt.Sprintf("%s %s %v %s", n.Kind, n.Target, n.Mode, n.Data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A change in another process is killed at every point. A panic would not do, because it runs deferred functions and
// closes files, and SIGKILL does not.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("DURABLE_KILL"); dir != "" { // this is the child
		at, _ := strconv.ParseInt(os.Getenv("DURABLE_KILL_AT"), 10, 64)
		d := &Disk{Before: func(p Point) error {
			if p.N == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		}}
		fmt.Println(change(d, dir))
		os.Exit(0)
	}
	whole := t.TempDir()
	prepare(t, whole)
	before := snapshot(t, whole)
	d := &Disk{}
	if err := change(d, whole); err != nil {
		t.Fatal(err)
	}
	after := snapshot(t, whole)
	for n := int64(1); n <= d.Points(); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			prepare(t, dir)
			cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
			cmd.Env = append(os.Environ(), "DURABLE_KILL="+dir, fmt.Sprintf("DURABLE_KILL_AT=%d", n))
			out, err := cmd.CombinedOutput()
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v\n%s", err, out)
			}
			s := OpenSet(&Disk{}, dir)
			p, err := s.Pending()
			if err != nil || p.Damaged {
				t.Fatalf("%+v, %v", p, err)
			}
			want := before // without a journal either nothing was begun or everything was done
			if p.Journal || cmp.Equal(snapshot(t, dir), after) {
				want = after
			}
			if r, err := s.Recover(); err != nil || r.Finished != p.Journal {
				t.Fatalf("%+v, %v", r, err)
			}
			if diff := cmp.Diff(want, snapshot(t, dir)); diff != "" {
				t.Errorf("journal %t:\n%s", p.Journal, diff)
			}
			if Look(s.staging()).Kind != Missing {
				t.Error("the staging area is left over")
			}
		})
	}
}

// A crash in Recover is like any other crash: a committed change stays committed, however often its completion is
// interrupted.
func TestRecoverKilled(t *testing.T) {
	for n := int64(1); ; n++ {
		for m := int64(1); ; m++ {
			dir := t.TempDir()
			prepare(t, dir)
			if !dies(func() { _ = change(dyingAt(n), dir) }) {
				return
			}
			p, err := OpenSet(&Disk{}, dir).Pending()
			if err != nil {
				t.Fatal(err)
			}
			committed := p.Journal || stateOf(dir) == "new"
			died := dies(func() { _, err = OpenSet(dyingAt(m), dir).Recover() })
			if err != nil {
				t.Fatalf("points %d, %d: %v", n, m, err)
			}
			if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil {
				t.Fatalf("points %d, %d: %v", n, m, err)
			}
			if got := stateOf(dir); committed && got != "new" || !committed && got != "old" {
				t.Fatalf("points %d, %d: committed %t, but the directory is %s", n, m, committed, got)
			}
			if !died {
				break
			}
		}
	}
}

func dyingAt(n int64) *Disk {
	return &Disk{Before: func(p Point) error {
		if p.N == n {
			panic(death{})
		}
		return nil
	}}
}

// ledger notes which directories have entries that no sync has made durable.
type ledger struct {
	t     *testing.T
	dirty map[string]bool
	last  *Point
}

func (l *ledger) before(p Point) error {
	if l.last != nil { // the last operation was carried out
		switch dir := filepath.Dir(l.last.Path); l.last.Op {
		case "rename", "remove", "symlink":
			l.dirty[dir] = true
		case "syncdir":
			delete(l.dirty, l.last.Path)
		}
	}
	l.last = &p
	if p.Op == "remove" && filepath.Base(p.Path) == journalName {
		for dir := range l.dirty {
			if filepath.Base(dir) != stagingName {
				l.t.Errorf("the journal is removed, and %s has not been synced: a loss of power "+
					"would undo part of the change", filepath.Base(dir))
			}
		}
	}
	return nil
}

// The journal is removed only when every directory that the change touched is durable, whether Commit or Recover
// finished the change.
func TestSyncedBeforeForgotten(t *testing.T) {
	run := func(d *Disk, dir string) error {
		s := OpenSet(d, dir)
		if err := s.Stage("trust/ca.pem", []byte("ca"), 0o644); err != nil {
			return err
		}
		return s.Commit([]Step{{Op: OpInstall, Name: "trust/ca.pem", Digest: hexSum([]byte("ca"))},
			{Op: OpLink, Name: "trust/l", Target: "ca.pem"},
			{Op: OpRemove, Name: "stale"}, {Op: OpRemove, Name: "trust/old.pem"}})
	}
	for n := int64(1); ; n++ {
		dir := t.TempDir()
		prepare(t, dir)
		if err := os.Mkdir(filepath.Join(dir, "trust"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "trust/old.pem"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		l := &ledger{t: t, dirty: map[string]bool{}}
		died := dies(func() {
			_ = run(&Disk{Before: func(p Point) error {
				if p.N == n {
					_ = l.before(p)
					l.last = nil // it was not carried out
					panic(death{})
				}
				return l.before(p)
			}}, dir)
		})
		if !died {
			return
		}
		if _, err := OpenSet(&Disk{Before: l.before}, dir).Recover(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("after a crash at point %d", n)
		}
	}
}
