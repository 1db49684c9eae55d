package rcd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mailcertd/internal/config"
	"mailcertd/internal/watch"
)

// fake is a Keeper and a Watch that the test controls. mu guards reload, active and most; the test sets next while no
// look runs.
type fake struct {
	events chan watch.Event
	looks  chan string
	finish chan struct{} // each value ends one look
	mu     sync.Mutex
	reload int
	active int
	most   int
	next   time.Time
}

func (f *fake) Look(ctx context.Context, why string) (time.Time, error) {
	f.mu.Lock()
	f.active++
	f.most = max(f.most, f.active)
	f.mu.Unlock()
	f.looks <- why
	defer func() { f.mu.Lock(); f.active--; f.mu.Unlock() }()
	select {
	case <-f.finish:
		return f.next, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

func (f *fake) Reload(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reload++
	return errors.New("wrong")
}
func (f *fake) C() <-chan watch.Event         { return f.events }
func (f *fake) Absorb()                       {}
func (f *fake) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func expect[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing within 10 s", what)
	}
	panic("not reached")
}

// Only one look runs at a time. Events during a look cause one more, the time that a look returns causes the next one,
// and a signal cancels a look that is running.
func TestLoop(t *testing.T) {
	now := time.Unix(1e9, 0)
	f := &fake{events: make(chan watch.Event), looks: make(chan string, 10), finish: make(chan struct{}),
		next: now.Add(5 * time.Minute)}
	signals, waits, wake := make(chan os.Signal), make(chan time.Duration, 10), make(chan time.Time)
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- Run(context.Background(), Options{Keeper: f, Reload: f.Reload, Watch: f, Signals: signals,
			Now:   func() time.Time { return now },
			After: func(d time.Duration) <-chan time.Time { waits <- d; return wake },
			Log:   hclog.New(&hclog.LoggerOptions{Output: &log})})
	}()
	if why := expect(t, f.looks, "the first look"); why != "start" {
		t.Error(why)
	}
	for range 3 {
		f.events <- watch.Event{Why: "file event"}
	}
	f.finish <- struct{}{}
	if d := expect(t, waits, "the next time"); d != 5*time.Minute {
		t.Errorf("waits %s", d)
	}
	if why := expect(t, f.looks, "one more look"); why != "file event" {
		t.Error(why)
	}
	f.next = now.Add(-time.Hour) // overdue, but this must not become a busy loop
	f.finish <- struct{}{}
	if d := expect(t, waits, "the next time"); d != leastWait {
		t.Errorf("waits %s", d)
	}
	f.next = time.Time{}
	wake <- now
	if why := expect(t, f.looks, "the time"); why != "time" {
		t.Error(why)
	}
	f.finish <- struct{}{}
	if d := expect(t, waits, "the next time"); d != time.Hour {
		t.Errorf("waits %s", d)
	}
	signals <- syscall.SIGHUP
	if why := expect(t, f.looks, "reload"); why != "reload" || f.reload != 1 {
		t.Errorf("%s, %d reloads", why, f.reload)
	}
	signals <- syscall.SIGTERM // while it looks
	if err := expect(t, ended, "the end"); err != nil {
		t.Error(err)
	}
	if f.most != 1 {
		t.Errorf("%d looks at once", f.most)
	}
	if !strings.Contains(log.String(), "the configuration has errors, so the old one stays in force") ||
		!strings.Contains(log.String(), "stopped") {
		t.Error(log.String())
	}
}

// syslogd listens on a socket as syslogd does.
func syslogd(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func line(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 8192)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c := syslogd(t, path)
	var stderr bytes.Buffer
	log := NewLogger(LogOptions{Level: "debug", Target: "auto", Facility: "mail", Stderr: &stderr,
		Sockets: []string{path}})
	for _, x := range []struct {
		say    func(string, ...any)
		prefix string
	}{{log.Error, "<19>mailcertd["}, {log.Warn, "<20>"}, {log.Info, "<22>"}, {log.Debug, "<23>"}} {
		x.say("installed", "serial", "0A", "detail", "two\nlines\x1b[31m", "path", "/a b")
		got := line(t, c)
		if !strings.HasPrefix(got, x.prefix) || !strings.Contains(got, "]: installed") ||
			!strings.Contains(got, "serial=0A") || !strings.Contains(got, `path="/a b"`) {
			t.Errorf("%q", got)
		}
		if strings.ContainsAny(got, "\n\x1b\t") || strings.Contains(got, "[INFO]") {
			t.Errorf("%q", got)
		}
	}
	log.Trace("no")
	// When syslogd has restarted, the next line arrives.
	c.Close()
	_ = os.Remove(path)
	c = syslogd(t, path)
	log.Info("after the restart")
	if got := line(t, c); !strings.Contains(got, "after the restart") {
		t.Errorf("%q", got)
	}
	// While syslogd is gone no line is lost, and stderr is told so once.
	c.Close()
	_ = os.Remove(path)
	log.Info("one")
	log.Info("two")
	if s := stderr.String(); strings.Count(s, "cannot connect to syslogd") != 1 || !strings.Contains(s, "one") ||
		!strings.Contains(s, "two") {
		t.Errorf("%q", s)
	}
	log.Error(strings.Repeat("long ", 2000)) // too long, but no error
}

func TestStderr(t *testing.T) {
	var b bytes.Buffer
	for target, terminal := range map[string]bool{"stderr": false, "auto": true} {
		b.Reset()
		log := NewLogger(LogOptions{Level: "warn", Target: target, Facility: "mail", Stderr: &b, Terminal: terminal,
			Sockets: []string{"/nowhere"}})
		log.Info("quiet")
		log.Warn("loud", "key", "value")
		if s := b.String(); strings.Contains(s, "quiet") || !strings.Contains(s, "[WARN]  mailcertd: loud: key=value") {
			t.Errorf("%s: %q", target, s)
		}
	}
}

// Each facility that the configuration accepts has a code; without one its lines would be the kernel's.
func TestFacilities(t *testing.T) {
	for _, f := range config.Facilities() {
		if facilities[f] == 0 {
			t.Errorf("%s has no code", f)
		}
	}
}
