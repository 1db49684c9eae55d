package ssh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/issuer"
)

// program writes a script that replaces ssh(1); the script puts its pid into $0.pid.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	syscall.ForkLock.RLock() // a child that inherits the open file would let exec fail with ETXTBSY
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A CA host that is slow, sends byte by byte or never ends is given up after Patience, and no process of ssh is left.
func TestSSHPatience(t *testing.T) {
	const patience = time.Second
	for what, script := range map[string]string{
		"silent":            `echo $$ > $0.pid; sleep 1000`,
		"with a child":      `sleep 1000 & echo $! > $0.pid; wait`,
		"dripping":          `echo $$ > $0.pid; while :; do echo x; sleep 0.05; done`,
		"half, then silent": `echo $$ > $0.pid; printf 'mailcertd-reply 1\nstatus: trust\n\n'; sleep 1000`,
		"deaf to TERM":      `echo $$ > $0.pid; trap '' TERM; while :; do sleep 0.05; done`,
		"reads nothing":     `echo $$ > $0.pid; exec sleep 1000`,
		"with words":        `echo $$ > $0.pid; echo the disk is full >&2; exec sleep 1000`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := Host{Target: "ca.example.test", Program: program(t, script), Patience: patience}
			began := time.Now()
			_, err := s.send(context.Background(), []byte(strings.Repeat("x", issuer.MaxRequest)))
			if err == nil || !strings.Contains(err.Error(), "ca.example.test did not answer within 1s") ||
				what == "with words" && !strings.Contains(err.Error(), ": the disk is full") {
				t.Errorf("%v", err)
			}
			if took := time.Since(began); took < patience || took > patience+8*time.Second {
				t.Errorf("took %s", took)
			}
			gone(t, s.Program+".pid")
		})
	}
}

// gone waits until the process whose pid is in the file has ended.
func gone(t *testing.T, path string) {
	t.Helper()
	var pid int
	data, err := os.ReadFile(path)
	if _, serr := fmt.Sscan(string(data), &pid); err != nil || serr != nil {
		t.Fatal(err, serr)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // a zombie is gone too
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// When the context is cancelled, ssh ends at once.
func TestSSHCancelled(t *testing.T) {
	s := Host{Target: "ca", Program: program(t, `echo $$ > $0.pid; exec sleep 1000`)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			if data, _ := os.ReadFile(s.Program + ".pid"); len(data) > 0 {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := s.send(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	gone(t, s.Program+".pid")
}

// When ssh fails, its message is in the error. Output before the failure is no reply, even if it looks complete.
func TestSSHFails(t *testing.T) {
	reply := filepath.Join(t.TempDir(), "reply")
	if err := os.WriteFile(reply, issuer.Reply{Status: issuer.Failed, Reason: "later"}.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ script, says string }{
		"words":                 {`echo no such luck >&2; exit 1`, "no such luck"},
		"no words":              {`exit 255`, "exit status 255"},
		"a whole reply":         {`cat ` + reply + `; echo Connection reset >&2; exit 255`, "Connection reset"},
		"control characters":    {`printf 'a\033[31mb\nc' >&2; exit 1`, ": a [31mb c"},
		"a large answer":        {`head -c 2000000 /dev/zero`, "answered with more than 1048576 bytes"},
		"much on its error":     {`head -c 2000000 /dev/zero | tr '\0' x >&2; exit 1`, "xxx..."},
		"dead by a signal":      {`kill -9 $$`, "killed"},
		"no such program there": {`exec /nonexistent/ssh`, "not found"},
	} {
		_, err := Host{Target: "ca", Program: program(t, script(c.script))}.send(context.Background(), []byte("x"))
		if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 2*issuer.MaxReason ||
			strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %.300v", what, err)
		}
	}
}

func script(s string) string { return "cat >/dev/null\n" + s }
