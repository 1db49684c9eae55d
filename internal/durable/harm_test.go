package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// harms are what another program may do between a crash and the next look.
var harms = map[string]func(path string) error{
	"removed": func(p string) error {
		if err := os.Remove(p); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	},
	"replaced": func(p string) error {
		_ = os.Remove(p)
		return os.WriteFile(p, []byte("a person's"), 0o600)
	},
	"became a directory": func(p string) error {
		_ = os.Remove(p)
		return os.Mkdir(p, 0o755)
	},
}

// The process is killed at every point, and then a file is lost, replaced, or has something in its place. The next look
// completes, keeps what a person put there, and leaves nothing that would stop the look after it.
func TestHarmAfterKill(t *testing.T) {
	t.Parallel()
	names := []string{"host.key", "host.cert", "trust/ca.pem", "0.0", "stale", ".mailcertd/host.key",
		".mailcertd/host.cert", ".mailcertd/0.0"}
	for n := int64(1); ; n++ {
		killed := t.TempDir()
		prepare(t, killed)
		if !dies(func() { _ = change(dyingAt(n), killed) }) {
			return
		}
		for _, name := range names {
			for what, harm := range harms {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(killed)); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(filepath.Dir(filepath.Join(dir, name))); err != nil {
					continue
				}
				staged := strings.HasPrefix(name, ".mailcertd/")
				if staged && what != "removed" {
					continue
				}
				before, _ := OpenSet(&Disk{}, dir).Pending()
				if err := harm(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				id := fmt.Sprintf("point %d, %s %s", n, name, what)
				s := OpenSet(&Disk{}, dir)
				r, err := s.Recover()
				if err != nil || (r.Finished || r.Abandoned) != before.Journal {
					t.Fatalf("%s: %+v, %v", id, r, err)
				}
				if Look(s.staging()).Kind != Missing {
					t.Fatalf("%s: the staging area is left over", id)
				}
				if what == "replaced" {
					if b, _ := os.ReadFile(filepath.Join(dir, name)); string(b) != "a person's" {
						t.Fatalf("%s: a person's file is lost: %q", id, b)
					}
				}
				key, _ := os.ReadFile(filepath.Join(dir, "host.key"))
				cert, _ := os.ReadFile(filepath.Join(dir, "host.cert"))
				// A mixed state may come from the crash, but never from the recovery.
				if staged && string(cert) == "new host.cert" && string(key) == "old key" {
					t.Fatalf("%s: key %q, certificate %q", id, key, cert)
				}
				if what != "removed" || staged || !before.Journal {
					continue
				}
				if err := change(&Disk{}, dir); err != nil || stateOf(dir) != "new" {
					t.Fatalf("%s: the next change: %v, %s", id, err, stateOf(dir))
				}
			}
		}
	}
}

// A file that a person put in the place of one that waits for its rename stays. The rest of the change, which belonged
// together with our file, is dropped.
func TestGivenUp(t *testing.T) {
	dir := t.TempDir()
	prepare(t, dir)
	if !dies(func() {
		_ = change(&Disk{Before: func(p Point) error {
			if p.Op == "rename" && p.Path == filepath.Join(dir, "host.key") {
				panic(death{})
			}
			return nil
		}}, dir)
	}) {
		t.Fatal("it lived")
	}
	if err := os.WriteFile(filepath.Join(dir, "host.cert"), []byte("bought"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil {
		t.Fatal(err)
	}
	if got := stateOf(dir); !strings.HasPrefix(got, "bought,old key,") {
		t.Error(got)
	}
}

// After the rename of the journal an error never says that nothing was changed, whether it happens once or always. An
// error that happens once does not prevent the change.
func TestOnlyForward(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		for n := int64(1); ; n++ {
			dir := t.TempDir()
			prepare(t, dir)
			committed := false
			d := &Disk{Before: func(p Point) error {
				if p.N == n || lasting && p.N > n {
					return syscall.EIO
				}
				if filepath.Base(p.Path) == journalName && p.Op == "rename" {
					committed = true
				}
				return nil
			}}
			err := change(d, dir)
			if d.Points() < n {
				break
			}
			if err != nil && committed != errors.Is(err, ErrCommitted) {
				t.Fatalf("point %d, lasting %t: committed %t, and the error is: %v", n, lasting, committed, err)
			}
			if !lasting && committed && (err != nil || stateOf(dir) != "new") {
				t.Fatalf("point %d: one error after the commit: %v, %s", n, err, stateOf(dir))
			}
			if err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("point %d: the errno is lost: %v", n, err)
			}
			if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil {
				t.Fatal(err)
			}
			if got := stateOf(dir); committed && got != "new" || !committed && got != "old" {
				t.Fatalf("point %d, lasting %t: committed %t, but the directory is %s", n, lasting, committed, got)
			}
		}
	}
}

// After the commit no operation needs space: no file, directory or link is made.
func TestNoRoomAfterCommit(t *testing.T) {
	dir := t.TempDir()
	prepare(t, dir)
	committed := false
	if err := change(&Disk{Before: func(p Point) error {
		switch p.Op {
		case "rename", "remove", "syncdir":
			committed = committed || filepath.Base(p.Path) == journalName
		default:
			if committed {
				t.Errorf("%s %s after the commit", p.Op, p.Path)
			}
		}
		return nil
	}}, dir); err != nil || !committed || stateOf(dir) != "new" {
		t.Fatalf("%v, %t, %s", err, committed, stateOf(dir))
	}
}

// half makes a directory with a committed change of which no step was done.
func half(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	prepare(t, dir)
	if !dies(func() {
		_ = change(&Disk{Before: func(p Point) error {
			if p.Op == "rename" && p.Path == filepath.Join(dir, "trust/ca.pem") {
				panic(death{})
			}
			return nil
		}}, dir)
	}) {
		t.Fatal("it lived")
	}
	return dir
}

// Anything that cannot be read stops a recovery before its first rename. The old set stays, nothing in the staging area
// is deleted, the error has the errno, and the next look finishes the change.
func TestRecoverUnread(t *testing.T) {
	halved := half(t)
	for _, no := range []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.EACCES} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(halved)); err != nil {
				t.Fatal(err)
			}
			calls := 0
			undo := TestOnlyBeforeRead(func(string, string) error {
				if calls++; calls == n {
					return no
				}
				return nil
			})
			_, err := OpenSet(&Disk{}, dir).Recover()
			undo()
			if calls < n {
				break
			}
			if got := stateOf(dir); got != "old" && got != "new" {
				t.Fatalf("read %d: %v leaves %s", n, err, got)
			}
			if err == nil && stateOf(dir) != "new" || err != nil && !errors.Is(err, no) {
				t.Fatalf("read %d: %v, %s", n, err, stateOf(dir))
			}
			if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil || stateOf(dir) != "new" {
				t.Fatalf("read %d, the next look: %v, %s", n, err, stateOf(dir))
			}
		}
	}
}

// A journal of a newer version stays, with all that belongs to it, and meanwhile nothing is staged, unstaged or
// committed.
func TestNewerJournal(t *testing.T) {
	dir := half(t)
	path := filepath.Join(dir, stagingName, journalName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(b), `"version": 2`, `"version": 3`, 1)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil || newer == string(b) {
		t.Fatal(err)
	}
	all, _ := Names(filepath.Join(dir, stagingName), 0)
	s := OpenSet(&Disk{}, dir)
	if p, err := s.Pending(); err != nil || !errors.Is(p.Err, ErrNewerJournal) {
		t.Error(p, err)
	}
	if _, err := s.Recover(); !errors.Is(err, ErrNewerJournal) {
		t.Error(err)
	}
	for _, err := range []error{s.Stage("host.key", []byte("x"), 0o600), s.Unstage("host.cert"), s.Commit(nil)} {
		if !errors.Is(err, ErrUnfinished) {
			t.Error(err)
		}
	}
	if left, _ := Names(filepath.Join(dir, stagingName), 0); len(left) != len(all) || len(left) < 4 ||
		stateOf(dir) != "old" {
		t.Errorf("%v of %v, %s", left, all, stateOf(dir))
	}
}

// A journal of version 1, from before an upgrade, is finished.
func TestOlderJournal(t *testing.T) {
	dir := t.TempDir()
	prepare(t, dir)
	s := OpenSet(&Disk{}, dir)
	if err := s.Stage("host.cert", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `{"version":1,"steps":[{"op":"install","name":"host.cert","digest":"` + hexSum([]byte("new")) +
		`"},{"op":"link","name":"0.0","target":"x.pem"},{"op":"remove","name":"stale"}],"sum":"SUM"}`
	body := text[strings.Index(text, "[") : strings.Index(text, "]")+1]
	if err := os.WriteFile(filepath.Join(dir, stagingName, journalName),
		[]byte(strings.Replace(text, "SUM", hexSum([]byte(body)), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Recover(); err != nil || !r.Finished || stateOf(dir) != "new,old key,,,x.pem" {
		t.Errorf("%+v, %v, %s", r, err, stateOf(dir))
	}
}

// If something that is not our directory is in the place of the staging area, it is reported and stays.
func TestStagingInTheWay(t *testing.T) {
	for what, put := range map[string]func(string) error{
		"file": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"fifo": func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"link": func(p string) error { return os.Symlink(t.TempDir(), p) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, stagingName)); err != nil {
			t.Fatal(err)
		}
		s := OpenSet(&Disk{}, dir)
		_, err := s.Pending()
		if err == nil || s.Stage("host.key", nil, 0o600) == nil ||
			s.Commit([]Step{{Op: OpLink, Name: "0.0", Target: "x"}}) == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, stagingName, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := OpenSet(&Disk{}, dir)
	if p, err := s.Pending(); err != nil || len(p.Staged) > 0 || p.Empty {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := s.Recover(); err != nil {
		t.Error(err)
	}
}
