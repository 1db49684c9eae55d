// Package command runs other programs without a shell, for a limited time, and keeps a limited part of their output.
// mailcertd runs every program here.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// The defaults of Command.
const (
	DefaultPatience = time.Minute
	DefaultKeep     = 64 << 10 // bytes
)

// Command is one program to run. Argv alone is required.
type Command struct {
	Argv  []string // the program, looked for in PATH, and its arguments; never a secret: ps(1) shows them
	Stdin []byte   // nil: /dev/null
	Env   []string // in addition to our own
	// Patience limits its run time; zero: DefaultPatience. After that, its process group gets SIGTERM, and SIGKILL a
	// second later.
	Patience time.Duration
	// Keep limits, in bytes, the part of stdout and of stderr that is kept; zero: DefaultKeep. The rest is read and
	// dropped, so that the program never blocks on a full pipe.
	Keep int
	// Session starts it in a session of its own, so that it has no terminal to prompt at.
	Session bool
}

// Said is the output of a program.
type Said struct {
	Out, Err []byte // the first bytes of stdout and of stderr
	Cut      bool   // Out is incomplete
}

// ErrTime says that a program did not end within its Patience.
var ErrTime = errors.New("did not finish in time")

// killAfter is the time between SIGTERM and SIGKILL.
const killAfter = time.Second

// Run runs the program and waits for its end. For an exit status other than 0 the error wraps an *exec.ExitError. Run
// does not wait for a daemon that the program left behind, even one that keeps the pipes open.
func (c Command) Run(ctx context.Context) (Said, error) {
	if len(c.Argv) == 0 {
		return Said{}, errors.New("no command")
	}
	patience, keep := c.Patience, c.Keep
	if patience <= 0 {
		patience = DefaultPatience
	}
	if keep <= 0 {
		keep = DefaultKeep
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(limited, c.Argv[0], c.Argv[1:]...)
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	if len(c.Env) > 0 {
		cmd.Env = append(os.Environ(), c.Env...)
	}
	// The signal of a terminal's Ctrl-C goes to mailcertd alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !c.Session, Setsid: c.Session}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	out, said := &kept{most: keep}, &kept{most: keep}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	if limited.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a second after SIGTERM, for what is left of the group
	}
	r := Said{Out: out.data, Err: said.data, Cut: out.cut}
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case limited.Err() != nil:
		return r, fmt.Errorf("%s: %w: %s", c.Argv[0], ErrTime, patience)
	case errors.Is(err, exec.ErrWaitDelay):
		return r, nil
	case err != nil:
		return r, fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	return r, nil
}

// Text is the output, stderr before stdout, in at most 400 bytes for a message.
func (s Said) Text() string {
	const most = 400
	text := strings.TrimSpace(string(s.Err) + "\n" + string(s.Out))
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// FirstLine is the first line of Text.
func (s Said) FirstLine() string {
	line, _, _ := strings.Cut(s.Text(), "\n")
	return line
}

// kept keeps the first bytes that are written to it and drops the rest. Each stream has its own, so it needs no lock.
type kept struct {
	data []byte
	most int
	cut  bool
}

func (k *kept) Write(p []byte) (int, error) {
	room := min(k.most-len(k.data), len(p))
	k.cut = k.cut || room < len(p)
	k.data = append(k.data, p[:room]...)
	return len(p), nil
}
