package acme

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/text"
)

// The limits of the owner's program.
const (
	commandIn   = 5 * time.Minute // this includes the time until the record can be seen everywhere
	commandSays = 16 << 10        // bytes of output
)

// run runs the owner's program with add or remove, the name of the record and its value. None of these is secret.
func (i *Issuer) run(ctx context.Context, verb, name, value string) error {
	said, err := command.Command{Argv: append(slices.Clone(i.o.Command), verb, name, value), Patience: commandIn,
		Keep: commandSays, Session: true}.Run(ctx)
	if err == nil {
		return nil
	}
	if line := text.OneLine(said.FirstLine(), 300); line != "" {
		return fmt.Errorf("%s %s: %w: %s", i.o.Command[0], verb, err, line)
	}
	return fmt.Errorf("%s %s: %w", i.o.Command[0], verb, err)
}
