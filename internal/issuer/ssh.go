package issuer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// SSH reaches the CA's host with the system's ssh(1).
type SSH struct {
	Target     string // user@host, or ssh://user@host:port
	Identity   string // private key file; "": ssh's own choice
	KnownHosts string // "": ssh's own files
	Program    string // "": ssh, found in PATH
	// Patience bounds one question, the wait in the inbox of the CA included;
	// zero: two minutes.
	Patience time.Duration
}

// DefaultPatience is longer than the wait in the inbox of the CA.
const DefaultPatience = 2 * time.Minute

// arguments are those of ssh(1): nobody is asked anything, an unknown or
// changed host key ends it, nothing is forwarded.
func (s SSH) arguments() []string {
	args := []string{"-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15",
		"-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2", "-o", "ClearAllForwardings=yes",
		"-o", "ForwardAgent=no", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "UpdateHostKeys=no", "-o", "LogLevel=ERROR"}
	if s.Identity != "" {
		args = append(args, "-o", "IdentitiesOnly=yes", "-i", s.Identity)
	}
	if s.KnownHosts != "" {
		args = append(args, "-o", "UserKnownHostsFile="+quote(s.KnownHosts), "-o", "GlobalKnownHostsFile=/dev/null")
	}
	return append(args, "--", s.Target, "mailcertd")
}

// quote lets a path with blanks pass as one of ssh_config's list.
func quote(path string) string {
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}

// Ask sends a request and returns the reply, as it came. It takes no
// longer than Patience; an error says what ssh said.
func (s SSH) Ask(ctx context.Context, request []byte) ([]byte, error) {
	patience := s.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	program := s.Program
	if program == "" {
		program = "ssh"
	}
	cmd := exec.CommandContext(ctx, program, s.arguments()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is ours to handle
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	cmd.Stdin = bytes.NewReader(request)
	out, said := &limited{most: MaxReply + 1}, &limited{most: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s does not answer within %s%s", s.Target, patience, said.because())
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil: // whatever came before that: nobody says that it is whole
		return nil, fmt.Errorf("%s %s: %w%s", program, s.Target, err, said.because())
	case out.full:
		return nil, fmt.Errorf("%s answers with more than %d bytes", s.Target, MaxReply)
	}
	return out.data, nil
}

// limited keeps the first bytes of what is written and drops the rest.
type limited struct {
	data []byte
	most int
	full bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.most - len(l.data)
	if len(p) > room {
		l.full = true
		l.data = append(l.data, p[:room]...)
		return len(p), nil
	}
	l.data = append(l.data, p...)
	return len(p), nil
}

func (l *limited) because() string {
	text := oneLine(strings.TrimSpace(string(l.data)))
	if text == "" {
		return ""
	}
	return ": " + text
}
