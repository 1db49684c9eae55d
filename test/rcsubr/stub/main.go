// Command stub takes the place of mailcertd in the tests of its rc.d script. It writes its arguments and the signals
// that it gets to $STUB_LOG, one on each line. A file $STUB_LOG.fail-VERB makes that command fail, and
// $STUB_LOG.wrong-VERB makes it fail with the status of wrong usage. The settings of rc.conf that it gets in its
// environment are written to $STUB_LOG.rcconf-VERB.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	path := os.Getenv("STUB_LOG")
	tell := func(format string, args ...any) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			os.Exit(9)
		}
		fmt.Fprintf(f, format+"\n", args...)
		f.Close()
	}
	tell("argv %s", strings.Join(os.Args[1:], "|"))
	verb := ""
	for i := 1; i < len(os.Args) && verb == ""; i++ {
		switch a := os.Args[i]; {
		case a == "--config" || a == "--log-level":
			i++
		case !strings.HasPrefix(a, "-"):
			verb = a
		}
	}
	if said, given := os.LookupEnv("MAILCERTD_RC_CONF"); given {
		_ = os.WriteFile(path+".rcconf-"+verb, []byte(said), 0o600)
	}
	if _, err := os.Stat(path + ".fail-" + verb); err == nil {
		fmt.Fprintln(os.Stderr, "stub:", verb, "fails")
		os.Exit(1)
	}
	if _, err := os.Stat(path + ".wrong-" + verb); err == nil {
		fmt.Fprintln(os.Stderr, "stub: the configuration has errors")
		os.Exit(2)
	}
	if verb != "run" {
		return
	}
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, syscall.SIGHUP, syscall.SIGTERM)
	tell("running %d", os.Getpid())
	for s := range sigs {
		tell("signal %v %d", s, os.Getpid())
		if s == syscall.SIGTERM {
			select { // a second signal would end the real program at once, so the stub reports it
			case s := <-sigs:
				tell("signal %v %d again", s, os.Getpid())
			case <-time.After(100 * time.Millisecond):
			}
			return
		}
	}
}
