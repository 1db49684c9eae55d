package durable

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// locker is a process that tries once to take a lock, prints the result, and holds the lock until its standard input
// ends.
type locker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func TestLockerProcess(t *testing.T) {
	dir := os.Getenv("DURABLE_LOCKER")
	if dir == "" {
		return
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // all start together
	l, err := TryLock(dir)
	fmt.Println("answer", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
	l.Unlock()
	os.Exit(0)
}

func startLocker(t *testing.T, dir string) *locker {
	t.Helper()
	l := &locker{cmd: exec.Command(os.Args[0], "-test.run", "^TestLockerProcess$")}
	l.cmd.Env = append(os.Environ(), "DURABLE_LOCKER="+dir)
	in, err1 := l.cmd.StdinPipe()
	out, err2 := l.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, l.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	l.in, l.out = in, bufio.NewReader(out)
	t.Cleanup(func() { _ = l.cmd.Process.Kill(); _ = l.cmd.Wait() })
	return l
}

func (l *locker) begin(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(l.in, "go\n"); err != nil {
		t.Fatal(err)
	}
}

func (l *locker) got(t *testing.T) bool {
	t.Helper()
	line, err := l.out.ReadString('\n')
	switch {
	case err != nil:
		t.Fatal(err)
	case line == "answer <nil>\n":
		return true
	case !strings.Contains(line, ErrLocked.Error()):
		t.Fatalf("%q", line)
	}
	return false
}

// Of many processes that try at once, exactly one gets the lock. Afterwards no file of the lock is left in the
// directory.
func TestLockExclusive(t *testing.T) {
	dir := t.TempDir()
	var all []*locker
	for range 8 {
		all = append(all, startLocker(t, dir))
	}
	for _, l := range all {
		l.begin(t)
	}
	won := 0
	for _, l := range all {
		if l.got(t) {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d have the lock", won)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the lock left %v in the directory, %v", entries, err)
	}
	for _, l := range all { // they are given back in order
		l.in.Close()
		_ = l.cmd.Wait()
	}
	l, err := TryLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

// A process that waits gets the lock when the holder is killed, and not before.
func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	holder := startLocker(t, dir)
	holder.begin(t)
	if !holder.got(t) {
		t.Fatal("no other process has the lock")
	}
	past, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	if l, err := Lock(past, dir); l != nil || !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), dir) {
		t.Errorf("past the deadline: %v, %v", l, err)
	}
	stopped, stop := context.WithCancel(context.Background())
	type answer struct {
		l   *Locked
		err error
	}
	wait := func(ctx context.Context) chan answer {
		c := make(chan answer, 1)
		go func() { l, err := Lock(ctx, dir); c <- answer{l, err} }()
		return c
	}
	given := wait(stopped)
	stop()
	if a := <-given; !errors.Is(a.err, context.Canceled) || !errors.Is(a.err, ErrLocked) {
		t.Errorf("stopped: %v", a.err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got := wait(ctx)
	select {
	case a := <-got:
		t.Fatalf("two have the lock: %v", a.err)
	default:
	}
	_ = holder.cmd.Process.Kill()
	_ = holder.cmd.Wait()
	if ws := holder.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the holder ended otherwise: %v", ws)
	}
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	// Within a process the lock is exclusive too, and no child inherits it.
	if _, err := TryLock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("twice in one process: %v", err)
	}
	if held, err := Held(dir); !held || err != nil {
		t.Errorf("the lock is not seen: %v", err)
	}
	child := startLocker(t, t.TempDir())
	a.l.Unlock()
	if held, err := Held(dir); held || err != nil {
		t.Errorf("a lock that nobody holds is seen: %v", err)
	}
	again, err := TryLock(dir)
	if err != nil {
		t.Errorf("child %d keeps it: %v", child.cmd.Process.Pid, err)
	}
	again.Unlock()
}

// The lock belongs to the directory and not to its name.
func TestLockPath(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "certs")
	if _, err := TryLock(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	_ = os.Mkdir(dir, 0o755)
	_ = os.Symlink("certs", filepath.Join(top, "link"))
	l, err := TryLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(filepath.Join(top, "link")); !errors.Is(err, ErrLocked) {
		t.Errorf("by another name: %v", err)
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	_ = os.Mkdir(dir, 0o755)
	fresh, err := TryLock(dir)
	if err != nil {
		t.Errorf("another directory of that name: %v", err)
	}
	fresh.Unlock()
	l.Unlock()
}
