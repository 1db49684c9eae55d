package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// start watches dir until the test ends.
func start(t *testing.T, o Options) *Watcher {
	t.Helper()
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *Watcher) expect(t *testing.T, what string) Event {
	t.Helper()
	select {
	case e := <-w.C():
		return e
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing within 10 s", what)
	}
	return Event{}
}

// quiet drains events until none comes for a while.
func (w *Watcher) quiet() {
	for {
		select {
		case <-w.C():
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

// Changes in the directories are noticed: by the kernel's events, and also by the sweep alone, because kqueue loses
// events.
func TestNotices(t *testing.T) {
	for name, o := range map[string]Options{
		"events": {Sweep: time.Hour}, // so every event comes from the kernel
		"sweep":  {SweepOnly: true, Sweep: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "certs")
			file := func(n string) string { return filepath.Join(dir, n) }
			reset := func() {
				_ = os.RemoveAll(dir)
				_ = os.MkdirAll(dir, 0o755)
				_ = os.WriteFile(file("host.cert"), []byte("x"), 0o644)
				_ = os.Symlink("host.cert", file("0a1b2c3d.0"))
			}
			reset()
			o.Dirs = []string{dir, top}
			o.Settle = 20 * time.Millisecond
			w := start(t, o)
			for _, c := range []struct {
				what string
				do   func() error
			}{
				{"removed file", func() error { return os.Remove(file("host.cert")) }},
				{"new file", func() error { return os.WriteFile(file("new"), nil, 0o644) }},
				{"changed content", func() error { return os.WriteFile(file("host.cert"), []byte("longer"), 0o644) }},
				{"chmod", func() error { return os.Chmod(file("host.cert"), 0o600) }},
				{"removed link", func() error { return os.Remove(file("0a1b2c3d.0")) }},
				{"dangling link", func() error { return os.Symlink("nowhere", file("dh.param")) }},
				{"rm -rf", func() error { return os.RemoveAll(dir) }},
				{"directory comes back", func() error { return os.Mkdir(dir, 0o755) }},
				{"file in the new directory", func() error { return os.WriteFile(file("later"), nil, 0o644) }},
			} {
				w.quiet()
				if err := c.do(); err != nil && c.what != "removed link" {
					if os.IsNotExist(err) {
						reset()
						w.quiet()
						err = c.do()
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				w.expect(t, c.what)
				if c.what != "rm -rf" && c.what != "directory comes back" {
					reset()
				}
			}
		})
	}
}

// After Follow the kernel's events are those of the new directories and no longer of the old ones. A directory may be
// added again.
func TestFollow(t *testing.T) {
	top := t.TempDir()
	a, b := filepath.Join(top, "a"), filepath.Join(top, "b")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := start(t, Options{Dirs: []string{a}, Sweep: time.Hour, Settle: 20 * time.Millisecond})
	for i, c := range []struct {
		to        Options
		told, not string
	}{
		{Options{Dirs: []string{b}}, b, a},
		{Options{Optional: []string{a}}, a, b},
		{Options{Dirs: []string{b}, Optional: []string{a}, Files: []string{filepath.Join(top, "f")}}, a, top},
	} {
		w.Follow(c.to)
		w.Absorb() // the daemon calls it before every look
		w.quiet()
		write := func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("new", i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write(c.not)
		select {
		case e := <-w.C():
			t.Errorf("%d: told of %+v, which is in %s", i, e, c.not)
		case <-time.After(300 * time.Millisecond):
		}
		write(c.told)
		if e := w.expect(t, c.told); filepath.Dir(e.Path) != c.told {
			t.Errorf("%d: told of %q, want what is in %s", i, e.Path, c.told)
		}
	}
}

// mailcertd's staging area causes no event, a change that was absorbed causes one at most, and a name that comes and
// goes between two looks is not lost.
func TestAbsorb(t *testing.T) {
	dir := t.TempDir()
	cert := filepath.Join(dir, "host.cert")
	w := start(t, Options{Dirs: []string{dir}, Settle: 20 * time.Millisecond, Sweep: 100 * time.Millisecond})
	w.quiet()
	for i := range 3 {
		w.Absorb() // without host.cert
		if err := os.WriteFile(cert, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(cert); err != nil {
			t.Fatal(err)
		}
		w.expect(t, fmt.Sprint("came and went ", i))
	}
	w.quiet()
	if err := os.WriteFile(cert, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.Absorb()
	events := 0
	if err := os.Mkdir(filepath.Join(dir, ".mailcertd"), 0o700); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(700 * time.Millisecond); ; {
		select {
		case <-w.C():
			events++
			continue
		case <-deadline:
		}
		break
	}
	if events > 1 {
		t.Errorf("%d events after Absorb", events)
	}
}

// Ten thousand changes cause few events, and leave neither goroutines nor memory behind.
func TestBurst(t *testing.T) {
	dir := t.TempDir()
	w := start(t, Options{Dirs: []string{dir}, Settle: 50 * time.Millisecond, Sweep: time.Hour})
	w.quiet()
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var events atomic.Int64
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-w.C():
				events.Add(1)
			case <-stop:
				return
			}
		}
	}()
	begin := time.Now()
	for i := range 10000 {
		if err := os.WriteFile(filepath.Join(dir, "host.cert"), fmt.Append(nil, i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	time.Sleep(300 * time.Millisecond) // longer than the longest wait for more
	close(stop)
	if n := events.Load(); n == 0 || n > int64(took/(50*time.Millisecond))+3 {
		t.Errorf("%d events in %s", n, took)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if g := runtime.NumGoroutine(); g > goroutines+1 {
		t.Errorf("%d goroutines became %d", goroutines, g)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// A step of the wall clock is noticed at the next sweep.
func TestClockStep(t *testing.T) {
	var offset atomic.Int64
	w := start(t, Options{Dirs: []string{t.TempDir()}, Sweep: 30 * time.Millisecond, SweepOnly: true,
		Wall: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	w.quiet()
	offset.Store(int64(time.Hour))
	if e := w.expect(t, "clock step"); e.Why != "clock stepped" {
		t.Errorf("%+v", e)
	}
}

func TestRelativePath(t *testing.T) {
	if _, err := New(Options{Dirs: []string{"etc"}}); err == nil {
		t.Error("a relative path was accepted")
	}
}
