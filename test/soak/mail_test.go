package soak

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"mailcertd/test/bed"
)

// pace is the time between two messages of one host.
const pace = 2 * time.Second

// patience is how long it may take until the next message arrives. A sendmail that was killed while it wrote a queue
// file leaves a temporary file. The next process that writes it waits 496 s, holding the lock of the message, until it
// puts that file aside.
const patience = 10 * time.Minute

// post is the mail between the hosts. mu guards all fields except quit and going.
type post struct {
	mu       sync.Mutex
	sent     map[string]time.Time // when the sending sendmail accepted each message, by its number
	arrived  map[string]int       // how often each message was delivered
	refused  int                  // messages that were not accepted, so their sender knows
	clear    []string             // messages that arrived without TLS
	unproven []string             // messages that arrived over TLS without verify=OK
	longest  time.Duration
	quit     chan struct{}
	going    sync.WaitGroup
	offsets  map[*host]int64
}

// exchange sends mail from each host to the other until the post is stopped.
func (s *soak) exchange() *post {
	p := &post{sent: map[string]time.Time{}, arrived: map[string]int{}, quit: make(chan struct{}),
		offsets: map[*host]int64{}}
	for _, pair := range [][2]*host{{s.a, s.b}, {s.b, s.a}} {
		p.going.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-p.quit:
					return
				case <-time.After(pace):
					p.send(pair[0], pair[1], fmt.Sprintf("%s-%06d", pair[0].short, n))
				}
			}
		})
	}
	p.going.Go(func() {
		for {
			select {
			case <-p.quit:
				return
			case <-time.After(pace):
				p.collect(s.a)
				p.collect(s.b)
			}
		}
	})
	return p
}

func (p *post) send(from, to *host, id string) {
	cmd := from.Command(bed.Sendmail, "-Am", "-oi", "-f", "root@"+from.Name, "alice@"+to.Name)
	cmd.Stdin = strings.NewReader("Subject: soak " + id + "\n\nhello\n")
	at := time.Now()
	out, err := cmd.CombinedOutput()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.refused++
		from.s.note("%s: sendmail does not accept %s: %v %s", from.short, id, err, out)
		return
	}
	p.sent[id] = at
}

var (
	subjectLine = regexp.MustCompile(`(?m)^Subject: soak (\S+)$`)
	tlsPart     = regexp.MustCompile(`\(version=\S+ cipher=\S+ bits=\d+ verify=(\w+)\)`)
)

// collect reads the messages that were delivered since its last call.
func (p *post) collect(h *host) {
	f, err := os.Open(h.Path("/var/mail/alice"))
	if err != nil {
		return
	}
	defer f.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := f.Seek(p.offsets[h], io.SeekStart); err != nil {
		return
	}
	b, _ := io.ReadAll(f)
	text := string(b)
	whole := strings.LastIndex(text, "\n\nFrom ") // the last one may be incomplete
	if strings.HasSuffix(text, "hello\n\n") {
		whole = len(text) - 2
	}
	if whole < 0 {
		return
	}
	text = text[:whole+2]
	p.offsets[h] += int64(len(text))
	for _, m := range strings.Split("\n"+text, "\nFrom ")[1:] {
		id := subjectLine.FindStringSubmatch(m)
		if id == nil {
			h.s.violated("%s got a message that nobody sent:\n%s", h.short, m)
			continue
		}
		p.arrived[id[1]]++
		if at, known := p.sent[id[1]]; known && p.arrived[id[1]] == 1 {
			p.longest = max(p.longest, time.Since(at))
		}
		first, _, _ := strings.Cut(m, "\n\n")
		if i := strings.Index(first, "\nReceived:"); i >= 0 { // only the last hop, which comes first
			if j := strings.Index(first[i+1:], "\nReceived:"); j >= 0 {
				first = first[:i+1+j]
			}
		}
		switch tls := tlsPart.FindStringSubmatch(first); {
		case tls == nil:
			p.clear = append(p.clear, id[1])
			h.s.violated("%s arrived at %s in clear:\n%s", id[1], h.short, m)
		case tls[1] != "OK":
			p.unproven = append(p.unproven, id[1])
			h.s.violated("%s arrived at %s unverified:\n%s", id[1], h.short, m)
		}
	}
}

// waiting are the messages that were accepted before that time and have not arrived.
func (p *post) waiting(before time.Time) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range p.sent {
		if p.arrived[id] == 0 && at.Before(before) {
			ids = append(ids, id)
		}
	}
	return ids
}

// runs waits until everything that was accepted before now has arrived. It fails when nothing arrives for patience. It
// runs the queue, as a person would by hand.
func (p *post) runs(s *soak) error {
	now := time.Now()
	var last time.Time
	moved, before := now, -1
	return s.until(time.Hour, 200*time.Millisecond, func() error {
		w := p.waiting(now)
		if len(w) != before {
			moved, before = time.Now(), len(w)
		}
		if len(w) == 0 {
			return nil
		}
		if time.Since(moved) > patience {
			return fatal{fmt.Errorf("for %s none of %d messages has arrived, such as %s", patience, len(w), w[0])}
		}
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			for _, h := range []*host{s.a, s.b} {
				h.Run(bed.Sendmail, "-Am", "-qf")
			}
		}
		p.collect(s.a)
		p.collect(s.b)
		return fmt.Errorf("%d messages are waiting, such as %s", len(w), w[0])
	})
}

// fatal is an error that ends an until.
type fatal struct{ error }

// drain stops the sending and waits until all messages have arrived.
func (p *post) drain(s *soak) {
	p.stop()
	if !s.ok() {
		return
	}
	if err := p.runs(s); err != nil {
		s.violated("lost: %v\n%s\n%s", err, first(s.a.Run(bed.Sendmail, "-bp")), first(s.b.Run(bed.Sendmail, "-bp")))
	}
}

func first(out string, _ int) string { return out }

func (p *post) stop() {
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	p.going.Wait()
}

// counted returns the present numbers of messages.
func (p *post) counted() (sent, arrived, twice int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.sent {
		if n := p.arrived[id]; n > 0 {
			arrived++
			twice += n - 1
		}
	}
	return len(p.sent), arrived, twice
}
