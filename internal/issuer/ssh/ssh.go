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
	// Patience limits one question, with the wait in the CA host's inbox; zero: DefaultPatience.
	Patience time.Duration
}

// DefaultPatience is longer than the wait in the CA host's inbox.
const DefaultPatience = 2 * time.Minute

// arguments are those of ssh(1): it asks no question, fails for an unknown or changed host key, and forwards nothing.
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

// quote lets ssh_config(5) read a path with blanks as one word.
func quote(path string) string {
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}

// Ask sends a request to the CA host and checks that the reply fits it. It takes no longer than Patience.
func (s Host) Ask(ctx context.Context, r issuer.Request) (issuer.Reply, error) {
	return issuer.Channel(s.send).Ask(ctx, r)
}

// send sends a message and returns the answer unread. It takes no longer than Patience; an error has ssh's own message.
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
	case err != nil: // output before an error may be incomplete
		return nil, fmt.Errorf("%s: %w%s", s.Target, err, because)
	case out.Cut:
		return nil, fmt.Errorf("%s answered with more than %d bytes", s.Target, issuer.MaxReply)
	}
	return out.Out, nil
}
