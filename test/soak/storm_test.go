package soak

import (
	"regexp"
	"strings"
	"time"
)

// storm starts troubles one after the other for a while, and then ends those that are still going on.
func (s *soak) storm() {
	span := min(45*time.Second, s.whole/3)
	s.storms++
	s.rolled = false
	var open []pending
	ending := func(now time.Time) {
		for i := 0; i < len(open); i++ {
			if p := open[i]; !now.Before(p.at) {
				s.note("end of %s", p.name)
				p.undo()
				open = append(open[:i], open[i+1:]...)
				i--
			}
		}
	}
	choice := s.choice()
	for end := time.Now().Add(span); s.ok() && time.Now().Before(end); {
		ending(time.Now())
		x := choice()
		h := s.a
		if x.where == "b" || x.where == "ab" && s.dice.IntN(2) == 0 {
			h = s.b
		}
		wait := within(s.dice, 100*time.Millisecond, 1500*time.Millisecond)
		name := h.short + ": " + x.name
		busy := false
		for _, p := range open { // no trouble twice at once, and none while the daemon is down
			busy = busy || p.name == name || strings.HasPrefix(p.name, h.short+": ") &&
				(strings.Contains(p.name, "mailcertd") || strings.Contains(p.name, "CA is away"))
		}
		if busy || h.d.proc == nil {
			s.pause(100 * time.Millisecond)
			continue
		}
		s.note("%s", name)
		s.counts[x.name]++
		if undo, after := x.do(h, s.dice); undo != nil {
			open = append(open, pending{time.Now().Add(after), name, undo})
		}
		s.pause(wait)
	}
	for len(open) > 0 {
		ending(time.Now())
		time.Sleep(50 * time.Millisecond)
	}
	s.under.Wait()
}

// choice returns a function that draws troubles by their weight.
func (s *soak) choice() func() trouble {
	var from []trouble
	wanted := regexp.MustCompile(*only)
	for _, x := range troubles {
		for range x.weight {
			if wanted.MatchString(x.name) {
				from = append(from, x)
			}
		}
	}
	return func() trouble { return one(s.dice, from) }
}
