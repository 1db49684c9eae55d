package main

import (
	"fmt"
	"strings"
	"time"
)

// progressAfter spares a person the clock of what is over at once.
const progressAfter = time.Second

// progress tells a person at a terminal what takes long, and after a second
// for how long it has been going on. A remaining time is shown only where there
// is a limit; nothing is foretold. done ends it.
func (a *app) progress(what string, atMost time.Duration) (done func()) {
	if !a.terminal() {
		return func() {}
	}
	fmt.Fprintf(a.err, "%s ...\n", what)
	stop, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressAfter)
		defer tick.Stop()
		wide := 0
		for {
			select {
			case <-stop:
				if wide > 0 {
					fmt.Fprintf(a.err, "\r%s\r", strings.Repeat(" ", wide))
				}
				return
			case <-tick.C:
				text := elapsed(time.Since(began), atMost)
				wide = max(wide, len(text))
				fmt.Fprintf(a.err, "\r%-*s", wide, text)
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// elapsed says how long something has been going on.
func elapsed(d, atMost time.Duration) string {
	text := "  " + d.Truncate(time.Second).String()
	if atMost > 0 {
		text += " of at most " + atMost.String()
	}
	return text
}
