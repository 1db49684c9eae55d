package main

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/page"
)

// progressAfter is the time after which the progress of a step is shown.
const progressAfter = time.Second

// progress tells a person at a terminal about long work. After a second it shows how long the work has been going on.
// It shows the limit if there is one, and predicts nothing. done ends it.
func (c *console) progress(what string, atMost time.Duration) (done func()) {
	if !c.terminal() {
		return func() {}
	}
	fmt.Fprintf(c.err, "%s ...\n", what)
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
					fmt.Fprintf(c.err, "\r%s\r", strings.Repeat(" ", wide))
				}
				return
			case <-tick.C:
				text := elapsed(time.Since(began), atMost)
				wide = max(wide, len(text))
				fmt.Fprintf(c.err, "\r%-*s", wide, text)
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// step returns a function that shows each step of an order to a person who waits for `renew`; it is nil for all other
// verbs.
func (a *app) step() func(what string) {
	if !a.renewing || !a.terminal() {
		return nil
	}
	return func(what string) { fmt.Fprintf(a.err, "\r%-30s\n", "  "+page.Clean(what)) }
}

// elapsed says how long something has been going on.
func elapsed(d, atMost time.Duration) string {
	text := "  " + d.Truncate(time.Second).String()
	if atMost > 0 {
		text += " of at most " + atMost.String()
	}
	return text
}
