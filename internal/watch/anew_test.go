package watch

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A directory that was removed and made again is watched like a new one: files that come, files that go, and changes of
// a mode.
func TestMadeAnew(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "certs")
	file := filepath.Join(dir, "host.key")
	make := func() {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	make()
	w := start(t, Options{Dirs: []string{dir, top}, Sweep: time.Hour, Settle: 20 * time.Millisecond})
	for range 3 {
		w.quiet()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "the directory is gone")
		make()
		w.expect(t, "the directory is back")
		w.quiet()
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "a mode in the new directory")
	}
}

// A kernel that gives no events, for lack of descriptors, is asked again, and when it works the report ends.
func TestWatchComesBack(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	newWatcher = func() (*fsnotify.Watcher, error) {
		if broken.Load() {
			return nil, errors.New("too many open files")
		}
		return fsnotify.NewWatcher()
	}
	t.Cleanup(func() { newWatcher = fsnotify.NewWatcher })
	dir := t.TempDir()
	told := make(chan error, 9)
	w, err := New(Options{Dirs: []string{dir}, Sweep: time.Hour, Settle: 20 * time.Millisecond,
		Told: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-told; err == nil || w.Problem() == nil {
		t.Fatalf("%v, %v", err, w.Problem())
	}
	if w.subscribe(); w.Problem() == nil || len(told) > 0 {
		t.Errorf("before its time: %v, told %d times", w.Problem(), len(told))
	}
	first := w.delay
	w.retry = time.Now()
	if w.subscribe(); w.Problem() == nil || w.delay <= first {
		t.Errorf("%v, after %s it waits %s", w.Problem(), first, w.delay)
	}
	broken.Store(false)
	w.retry = time.Now()
	if w.subscribe(); w.Problem() != nil {
		t.Errorf("it works, and it says %v", w.Problem())
	}
	if err := <-told; err != nil {
		t.Errorf("told %v", err)
	}
	if _, joined := w.joined[dir]; !joined {
		t.Error("the directory is not watched")
	}
	w.fs.Close()
}

// The longer a directory is missing, the less often it is looked for, with a few system calls and without a sweep. When
// it comes it is seen, however long it was missing.
func TestMissingForLong(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "CA")
	w := start(t, Options{Dirs: []string{dir}, Sweep: time.Second, Settle: 20 * time.Millisecond})
	began := time.Now()
	time.Sleep(2500 * time.Millisecond) // a wait is the only way to see that nothing happens
	if n, long := w.sweeps.Load(), time.Since(began); n > 1+int64(long/w.o.Sweep)+1 {
		t.Errorf("%d sweeps in %s", n, long)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "the directory is there")
	w.quiet()
	if err := os.WriteFile(filepath.Join(dir, "cacert.pem"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if e := w.expect(t, "a file in it"); e.Why != "file event" {
		t.Errorf("it is not watched: %+v", e)
	}
}
