package soak

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// The patience of a rest. mailcertd leaves a file alone for a minute while a process may be writing it
// (plan/changing.go), and tries a failed step again after a minute at first.
const (
	alonePatience  = 80 * time.Second
	ensurePatience = time.Minute
)

// window is how long nothing may happen in a quiet time.
func (s *soak) window() time.Duration { return min(20*time.Second, s.whole/10) }

// right returns an error unless check finds nothing to do and sendmail serves the certificate on the disk.
func (h *host) right() error {
	if err := h.listens(); err != nil {
		return err
	}
	if out, code := h.Run(h.m, "--config", conf, "check"); code != 0 {
		return fmt.Errorf("%s: mailcertd check:\n%s", h.short, out)
	}
	return h.served()
}

// byHand does what only a person can do, as the manual and the messages say: after `ca rollover` the members renew, and
// a member that has lost its key gets another certificate when the first is revoked.
func (s *soak) byHand() {
	if out, _ := s.b.Run(s.b.m, "--config", conf, "check"); s.rolled ||
		s.lostKey(strings.Join(strings.Fields(out), " ")) {
		err := s.until(ensurePatience, 5*time.Second, func() error {
			out, code := s.b.mailcertd("renew")
			if s.lostKey(out) {
				out, code = s.b.mailcertd("renew")
			}
			if code != 0 {
				return fmt.Errorf("b: renew:\n%s", out)
			}
			return nil
		})
		if err != nil {
			s.note("%v", err)
		}
	}
}

// lostKey reports whether the CA refuses the member until a person acts, and does what that person would do: it revokes
// the certificate of the lost key, or all where there are too many, or ends the day in which there were too many.
func (s *soak) lostKey(out string) bool {
	switch m := revokeFirst.FindStringSubmatch(out); {
	case m != nil:
		s.a.mailcertd("revoke", m[1], "--reason", "superseded")
	case strings.Contains(out, "valid certificates, at most"):
		index, _ := os.ReadFile(s.a.Path(caDir + "/index.txt"))
		for row := range strings.SplitSeq(string(index), "\n") {
			if f := strings.Split(row, "\t"); f[0] == "V" && strings.HasSuffix(row, "CN="+s.b.Name) {
				s.a.mailcertd("revoke", f[3], "--reason", "superseded")
			}
		}
	case strings.Contains(out, "certificates within a day"):
		path := s.a.Path(caDir + "/members.json")
		if b, err := os.ReadFile(path); err == nil {
			s.a.put(caDir+"/members.json", regexp.MustCompile(`"signed": *\[[^\]]*\]`).ReplaceAllString(string(b),
				`"signed": []`))
		}
	default:
		return false
	}
	return true
}

// rest judges the state after a storm.
func (s *soak) rest(p *post) {
	if !s.ok() {
		return
	}
	s.note("rest")
	s.byHand()
	begin := time.Now()
	both := func() error {
		if err := s.a.right(); err != nil {
			return err
		}
		return s.b.right()
	}
	err := s.until(min(alonePatience, s.whole/3), time.Second, both)
	if err != nil && s.ok() {
		s.note("not right by the daemons alone: %v", err)
		s.ensured++
		err = s.until(ensurePatience, 2*time.Second, func() error {
			var wrong []string
			for _, h := range []*host{s.a, s.b} {
				out, code := h.mailcertd("ensure")
				if strings.Contains(out, "to ask now, run `mailcertd renew`") { // ensure never waits for the network
					if out, code = h.mailcertd("renew"); s.lostKey(out) {
						out, code = h.mailcertd("renew")
					}
				}
				if code != 0 {
					wrong = append(wrong, h.short+": ensure:\n"+out)
				}
			}
			if wrong != nil {
				return fmt.Errorf("%s", strings.Join(wrong, "\n"))
			}
			return both()
		})
		if err != nil && s.ok() {
			s.violated("not right again within %s of `ensure`: %v", ensurePatience, err)
			return
		}
	} else if s.ok() {
		s.alone++
		s.slowest = max(s.slowest, time.Since(begin))
		s.note("right after %s", time.Since(begin).Round(time.Second))
	}
	if err := p.runs(s); err != nil && s.ok() {
		s.violated("both hosts are right, and %v", err)
		return
	}
	for _, h := range []*host{s.a, s.b} {
		if err := h.serials(); err != nil {
			s.violated("%v", err)
		}
	}
	s.quiet()
}

var (
	revokeFirst = regexp.MustCompile("revoke that one first .`mailcertd revoke (\\w+)")
	ourLine     = regexp.MustCompile(`(?m)^<\d+>mailcertd\[\d+\]: .*$`)
	hupLine     = regexp.MustCompile(`sent HUP to sendmail: pid=(\d+)`)
)

// quiet watches for a while in which nothing may happen: no line in the log, no HUP, no CPU time, and no new memory,
// descriptor or goroutine.
func (s *soak) quiet() {
	s.pause(2 * time.Second) // until the last look at what was done has ended
	from, used := map[*host]int{}, map[*host]time.Duration{}
	for _, h := range []*host{s.a, s.b} {
		from[h], used[h] = len(h.Log()), busy(h.d.proc.pid)
	}
	if !s.pause(s.window()) {
		return
	}
	for _, h := range []*host{s.a, s.b} {
		text := h.LogFrom(from[h])
		lines := ourLine.FindAllString(text, -1)
		share := float64(busy(h.d.proc.pid)-used[h]) / float64(s.window())
		s.loudest, s.busiest = max(s.loudest, len(lines)), max(s.busiest, share)
		switch {
		case hupLine.MatchString(text):
			s.violated("%s: a HUP while nothing happened:\n%s", h.short, strings.Join(lines, "\n"))
		case len(lines) > 4:
			s.violated("%s: %d lines in the log while nothing happened for %s:\n%s", h.short, len(lines), s.window(),
				strings.Join(lines, "\n"))
		case share > 0.25:
			s.violated("%s: the daemon used %.0f%% of a processor while nothing happened", h.short, 100*share)
		}
		if x, err := h.d.sample(s.quarter()); err != nil && s.ok() {
			s.violated("%v", err)
		} else {
			s.note("%s: run %d: %+v", h.short, h.d.proc.run, x)
		}
	}
}
