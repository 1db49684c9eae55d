package soak

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

// progress prints how the run goes every half minute, until end is called.
func (s *soak) progress(p *post) (end func()) {
	if *length == 0 { // the short form runs among many tests, and its log at the end is enough
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(30 * time.Second):
				sent, arrived, _ := p.counted()
				fmt.Printf("%9s left  sent %d, arrived %d  storms %d  a %s  b %s\n",
					max(0, s.left()).Round(time.Second), sent, arrived, s.storms, s.a.d.now(), s.b.d.now())
			}
		}
	}()
	return func() { close(done); <-ended }
}

// now is the present state of the daemon's process, from /proc.
func (d *daemon) now() string {
	p := d.proc
	if p == nil {
		return "-"
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	text := fmt.Sprintf("%d MB, %d fds", residentOf(p.pid)>>10, len(fds))
	if n := len(p.samples); n > 0 {
		text += fmt.Sprintf(", %d goroutines", p.samples[n-1].goroutine)
	}
	return text
}

// table prints the results.
func (s *soak) table(p *post) {
	sent, arrived, twice := p.counted()
	row := func(what, format string, args ...any) { fmt.Printf("  %-24s %s\n", what, fmt.Sprintf(format, args...)) }
	fmt.Printf("\nsoak: %s, SEED=%d\n", time.Since(s.start).Round(time.Second), s.seed)
	row("mail", "%d sent, %d arrived, %d lost, %d arrived twice", sent, arrived, sent-arrived, twice)
	row("in clear, unverified", "%d, %d", len(p.clear), len(p.unproven))
	row("the longest on its way", "%s", p.longest.Round(100*time.Millisecond))
	row("storms", "%d; right again by the daemons alone %d, by `ensure` %d", s.storms, s.alone, s.ensured)
	row("slowest alone", "%s", s.slowest.Round(time.Second))
	row("while nothing happened", "%d lines of log in %s at most, %.1f%% of a processor", s.loudest, s.window(),
		100*s.busiest)
	for _, h := range []*host{s.a, s.b} {
		row("HUPs, "+h.short, "%d of mailcertd, %d of a person; sendmail started again by mailcertd %d times",
			h.hungup(), h.hups,
			strings.Count(h.Log(), "starting it again"))
		early, late := h.held(1), h.held(3)
		if h.d.runs > 0 {
			row("daemon, "+h.short, "%d runs", h.d.runs)
		}
		if h.steady && early != nil && late != nil {
			row("  second, last quarter", "%d, %d kB; %d, %d kB of heap; %d, %d descriptors; %d, %d goroutines",
				early.rss, late.rss,
				early.heap>>10, late.heap>>10, early.fds, late.fds, early.goroutine, late.goroutine)
		}
	}
	row("certificates", "%d serials, none twice", len(seen))
	var names []string
	total := 0
	for name, n := range s.counts {
		names = append(names, name)
		total += n
	}
	sort.Strings(names)
	row("troubles", "%d", total)
	for _, name := range names {
		fmt.Printf("    %5d  %s\n", s.counts[name], name)
	}
}
