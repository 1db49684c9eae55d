package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// event is one line of the output of test2json(1).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string
	Elapsed                       float64
}

// running is a test that has started and not ended.
type running struct {
	since  time.Time
	output strings.Builder
}

// report has the totals of a run. One goroutine uses it, so it has no lock.
type report struct {
	to       io.Writer
	terminal bool          // show on stderr which test is running
	stall    time.Duration // zero: wait for ever
	end      func()        // ends the run

	open                    map[string]*running
	passed, failed, skipped int
}

func newReport(to io.Writer, terminal bool) *report {
	return &report{to: to, terminal: terminal, open: map[string]*running{}}
}

// follow reads events to their end. When nothing has happened for r.stall it calls r.end, reads the rest, and counts
// the tests that were running as failed.
func (r *report) follow(in io.Reader) error {
	lines, failure := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(in)
		s.Buffer(nil, 64<<20)
		for s.Scan() {
			lines <- slices.Clone(s.Bytes())
		}
		failure <- s.Err()
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, ended := time.Now(), false
	for {
		select {
		case line, more := <-lines:
			if !more {
				r.clear()
				r.unfinished()
				return <-failure
			}
			last = time.Now()
			r.line(line)
		case now := <-tick.C:
			r.show(now)
			if r.stall > 0 && now.Sub(last) > r.stall && !ended {
				ended = true
				r.clear()
				fmt.Fprintf(r.to, "FAIL  nothing has happened for %s; the run is ended. These tests were running:\n",
					r.stall)
				for _, name := range r.names() {
					fmt.Fprintf(r.to, "      %s, for %s\n", name, now.Sub(r.open[name].since).Round(time.Second))
				}
				r.failed++
				r.end()
			}
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		r.clear()
		fmt.Fprintln(r.to, string(line)) // a message of the go command itself
		return
	}
	key := strings.TrimSpace(e.Package + e.ImportPath + " " + e.Test)
	t := r.open[key]
	if t == nil {
		t = &running{since: time.Now()}
		r.open[key] = t
	}
	switch e.Action {
	case "output", "build-output":
		t.output.WriteString(e.Output)
		return
	case "build-fail":
		r.fail(e.ImportPath, t)
	case "fail":
		if e.Test == "" {
			r.inside(e.Package)
		}
		r.fail(key, t)
	case "pass":
		if e.Test != "" {
			r.passed++
		} else {
			r.clear()
			fmt.Fprintf(r.to, "ok    %s (%.1f s)\n", e.Package, e.Elapsed)
		}
	case "skip":
		if e.Test != "" {
			r.skipped++
			r.clear()
			fmt.Fprintf(r.to, "skip  %s: %s\n", key, reason(t.output.String()))
		}
	default:
		return
	}
	delete(r.open, key)
}

func (r *report) fail(what string, t *running) {
	r.failed++
	r.clear()
	fmt.Fprintf(r.to, "FAIL  %s\n%s", what, t.output.String())
}

// inside prints the tests that a package had not finished when it ended, as after a panic.
func (r *report) inside(pkg string) {
	for _, name := range r.names() {
		if strings.HasPrefix(name, pkg+" ") {
			r.fail(name+" (did not end)", r.open[name])
			delete(r.open, name)
		}
	}
}

// unfinished prints the tests that were running when the run itself ended.
func (r *report) unfinished() {
	for _, name := range r.names() {
		if strings.Contains(name, " ") {
			r.fail(name+" (did not end)", r.open[name])
		}
	}
}

func (r *report) names() (out []string) {
	for name := range r.open {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// show prints on the terminal which test has been running longest.
func (r *report) show(now time.Time) {
	if !r.terminal {
		return
	}
	longest := ""
	for _, name := range r.names() {
		if strings.Contains(name, " ") && (longest == "" || r.open[name].since.Before(r.open[longest].since)) {
			longest = name
		}
	}
	if longest != "" {
		text := fmt.Sprintf("%d passed, %d failed; %s, %s", r.passed, r.failed, longest,
			now.Sub(r.open[longest].since).Round(time.Second))
		fmt.Fprintf(os.Stderr, "\r\033[K%s", text[:min(len(text), 110)])
	}
}

func (r *report) clear() {
	if r.terminal {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

// reason returns the line that t.Skip printed.
func reason(output string) string {
	for line := range strings.SplitSeq(output, "\n") {
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			_, text, _ = strings.Cut(text, ": ")
			return text
		}
	}
	return "no reason given"
}
