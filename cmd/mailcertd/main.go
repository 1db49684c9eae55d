// Command mailcertd maintains sendmail's TLS files: it completes /etc/mail/certs before sendmail starts, renews
// certificates before they expire, and verifies that sendmail serves the new ones.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal cancels the context, so that the work ends in good order; the second one kills the process.
	go func() { <-ctx.Done(); stop() }()
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	status := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
