// Command mailcertd keeps sendmail's certificates: /etc/mail/certs complete
// before sendmail starts, renewed before they expire, and seen to be served.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// verbHeap is how much memory a verb takes, in bytes, before it collects
// garbage: it is over before that, as a rule.
const verbHeap = 64 << 20

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(verbHeap)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }() // the first signal drains, the second kills
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	status := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
