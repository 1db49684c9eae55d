// Package soak runs two mail hosts, each with a mailcertd, through storms of faults, edits and commands, while they
// exchange mail that must be encrypted and verified. After each storm comes a rest, in which everything has to become
// right again: first by the daemons alone, at the latest by one `ensure`.
package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mailcertd/test/bed"
)

var (
	length   = flag.Duration("soak", 0, "how long the storms and rests last together; 0: the short form")
	seedFlag = flag.Uint64("seed", 0, "repeats the same troubles; 0: another one each time")
	only     = flag.String("only", "", "only troubles whose name matches this regular expression")
)

// The short form runs with all other tests, with the same troubles each time.
const (
	short     = 60 * time.Second
	shortSeed = 736507
)

func TestMain(m *testing.M) {
	code := m.Run()
	bed.Clean()
	os.Exit(code)
}

// soak is one run. A violation ends it. mu guards broken and the writes to diary; the other fields belong to the
// goroutine of the test.
type soak struct {
	t     *testing.T
	seed  uint64
	dice  *rand.Rand // used by the storms only
	start time.Time
	whole time.Duration
	dir   string // of the logs
	a, b  *host  // the CA host and its member

	ctx    context.Context
	end    context.CancelFunc
	mu     sync.Mutex
	broken string // the first violation
	diary  *os.File

	rolled bool           // the present storm has changed the generation
	under  sync.WaitGroup // troubles that have not ended
	counts map[string]int // how often each trouble happened, by name
	tally
}

// tally is what the table at the end shows.
type tally struct {
	storms, alone, ensured int
	slowest                time.Duration // the longest time until a host was right again by itself
	loudest                int           // lines of the log in a quiet window, at most
	busiest                float64       // share of a processor in a quiet window, at most
}

// TestSoak: no mail is lost or sent in clear, no process grows, and everything becomes right again after each storm.
func TestSoak(t *testing.T) {
	bed.Need(t, true, "openssl", "ssh", "/usr/sbin/sshd", "nsenter")
	s := &soak{t: t, seed: *seedFlag, whole: *length, counts: map[string]int{}}
	if s.whole == 0 {
		s.whole = short
		if s.seed == 0 {
			s.seed = shortSeed
		}
	}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())>>10%1_000_000 + 1
	}
	s.dice = rand.New(rand.NewPCG(s.seed, 1))
	var err error
	if s.dir, err = os.MkdirTemp("", "mailcertd-soak"); err != nil {
		t.Fatal(err)
	}
	if s.diary, err = os.Create(filepath.Join(s.dir, "diary")); err != nil {
		t.Fatal(err)
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	defer s.end()
	fmt.Printf("soak: %s, SEED=%d\n", s.whole, s.seed)
	s.hosts()
	s.start = time.Now()
	post := s.exchange()
	progress := s.progress(post)
	for s.ok() && s.left() > 0 {
		s.storm()
		s.rest(post)
	}
	post.drain(s)
	s.verdict(post)
	s.end()
	s.under.Wait()
	post.stop()
	progress()
	s.logs()
	s.table(post)
	if s.broken != "" {
		t.Fatalf("%s\nSEED=%d; the logs are in %s", s.broken, s.seed, s.dir)
	}
	os.RemoveAll(s.dir)
}

func (s *soak) left() time.Duration { return s.whole - time.Since(s.start) }

// quarter is the present quarter of the run, 0 to 3.
func (s *soak) quarter() int { return min(3, int(4*time.Since(s.start)/s.whole)) }

func (s *soak) ok() bool { return s.ctx.Err() == nil }

// note writes a line with the time into the diary.
func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.diary, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// violated ends the run. The first reason is kept, later ones are dropped.
func (s *soak) violated(format string, args ...any) {
	s.note("VIOLATED: "+format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == "" {
		s.broken = fmt.Sprintf(format, args...)
	}
	s.end()
}

// pause waits for d, and returns false when the run is over.
func (s *soak) pause(d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// until calls ok again and again, for d at most, until it returns nil. It returns ok's last error.
func (s *soak) until(d, step time.Duration, ok func() error) (err error) {
	for end := time.Now().Add(d); ; {
		err = ok()
		if _, stop := err.(fatal); stop || err == nil || time.Now().After(end) || !s.pause(step) {
			return err
		}
	}
}

// logs writes the hosts' logs into files.
func (s *soak) logs() {
	for _, h := range []*host{s.a, s.b} {
		_ = os.WriteFile(filepath.Join(s.dir, h.short+".log"), []byte(h.Log()), 0o600)
		_ = os.WriteFile(filepath.Join(s.dir, h.short+".daemon"), []byte(h.d.said()), 0o600)
	}
}
