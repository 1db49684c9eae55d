// Package ssh asks a CA host for certificates with the system's ssh(1).
package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/issuer"
	"mailcertd/internal/text"
)

// Host reaches the CA host with the system's ssh(1).
type Host struct {
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
func (s Host) arguments() []string {
	args := []string{"-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15",
		"-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2", "-o", "ClearAllForwardings=yes",
		"-o", "ForwardAgent=no", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "UpdateHostKeys=no", "-o",
		"LogLevel=ERROR"}
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

// Ask puts a request to the CA host and checks that the reply answers it. It takes no longer than Patience.
func (s Host) Ask(ctx context.Context, r issuer.Request) (issuer.Reply, error) {
	return issuer.Channel(s.send).Ask(ctx, r)
}

// send sends a message and returns the answer, as it came. It takes no
// longer than Patience; an error says what ssh said.
func (s Host) send(ctx context.Context, request []byte) ([]byte, error) {
	patience := s.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	program := s.Program
	if program == "" {
		program = "ssh"
	}
	out, err := command.Command{Argv: append([]string{program}, s.arguments()...), Stdin: request, Patience: patience,
		Keep: issuer.MaxReply}.Run(ctx)
	because := ""
	if said := text.OneLine(string(out.Err[:min(len(out.Err), 4<<10)]), issuer.MaxReason); said != "" {
		because = ": " + said
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, command.ErrTime):
		return nil, fmt.Errorf("%s did not answer within %s%s", s.Target, patience, because)
	case err != nil: // whatever came before that: nobody says that it is whole
		return nil, fmt.Errorf("%s: %w%s", s.Target, err, because)
	case out.Cut:
		return nil, fmt.Errorf("%s answered with more than %d bytes", s.Target, issuer.MaxReply)
	}
	return out.Out, nil
}
