// Package command runs other programs: without a shell, for a bounded time, and
// with a bounded memory of what they say. Every program that mailcertd runs is
// run here.
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
	// Patience bounds its time; zero: DefaultPatience. Then it gets SIGTERM, and
	// a second later SIGKILL, with all that it started itself.
	Patience time.Duration
	// Keep bounds, in bytes, what is kept of each of its two outputs; zero:
	// DefaultKeep. The rest is read and dropped: a program never waits for us.
	Keep int
	// Session starts it in a session of its own: it has no terminal to ask at.
	Session bool
}

// Said is what a program wrote.
type Said struct {
	Out, Err []byte // the first bytes of each
	Cut      bool   // Out had more
}

// ErrTime says that a program did not end in its time.
var ErrTime = errors.New("did not finish in time")

// killAfter is what a program gets between SIGTERM and SIGKILL.
const killAfter = time.Second

// Run runs it and waits for its end. A status other than 0 is an error, an
// *exec.ExitError within. A daemon that was left behind and keeps the pipes open
// is none of our business.
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
	// a terminal's Ctrl-C is ours to handle
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !c.Session, Setsid: c.Session}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	out, said := &kept{most: keep}, &kept{most: keep}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	if limited.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // who is left has had its second
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

// Text is what was said on either output, shortened for a message.
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

// kept keeps the first bytes of what is written and drops the rest.
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
