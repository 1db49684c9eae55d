package command

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command Command
		out     string // how the output begins
		length  int    // of the kept output
		err     error
		exit    int
	}{
		"stdin and arguments": {Command{Argv: []string{"sh", "-c", `cat; echo "$1"`, "-", "a b"},
			Stdin: []byte("in ")}, "in a b", 7, nil, 0},
		"no stdin is /dev/null": {Command{Argv: []string{"cat"}}, "", 0, nil, 0},
		"environment": {Command{Argv: []string{"sh", "-c", "echo $X"}, Env: []string{"X=y"}},
			"y", 2, nil, 0},
		"status": {Command{Argv: []string{"sh", "-c", "echo no >&2; exit 3"}}, "", 0, nil, 3},
		"more than is kept": {Command{Argv: []string{"sh", "-c", "yes | head -c 3000000"}, Keep: 1000}, "y\ny",
			1000, nil, 0},
		"for ever": {Command{Argv: []string{"yes"}, Patience: 100 * time.Millisecond}, "y\ny",
			DefaultKeep, ErrTime, 0},
		"deaf to SIGTERM": {Command{Argv: []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"},
			Patience: 100 * time.Millisecond}, "", 0, ErrTime, 0},
		"leaves a daemon": {Command{Argv: []string{"sh", "-c", "echo up; exec 3>&1; (sleep 4) & exit 0"}},
			"up", 3, nil, 0},
		"a session has no tty": {
			Command{Argv: []string{"sh", "-c", "(: </dev/tty) 2>/dev/null && echo tty || echo none"}, Session: true},
			"none", 5, nil, 0},
		"no such program":         {Command{Argv: []string{"/nonexistent"}}, "", 0, exec.ErrNotFound, -1},
		"nothing that can be run": {Command{}, "", 0, nil, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			s, err := c.command.Run(t.Context())
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %s", d)
			}
			if !strings.HasPrefix(string(s.Out), c.out) || len(s.Out) != c.length || s.Cut != (c.length >= 1000) {
				t.Errorf("kept %d bytes, cut %v: %.20q", len(s.Out), s.Cut, s.Out)
			}
			var exit *exec.ExitError
			switch {
			case c.exit > 0:
				if !errors.As(err, &exit) || exit.ExitCode() != c.exit || s.FirstLine() != "no" {
					t.Errorf("%v, said %q", err, s.FirstLine())
				}
			case c.exit < 0:
				if err == nil {
					t.Error("no error")
				}
			case !errors.Is(err, c.err):
				t.Errorf("%v, want %v", err, c.err)
			}
		})
	}
}

func TestRunIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Command{Argv: []string{"sleep", "100"}}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
