// Command mailcertd keeps sendmail's certificates: /etc/mail/certs complete
// before sendmail starts, renewed before they expire, and seen to be served.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }() // the first signal drains, the second kills
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	status := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
