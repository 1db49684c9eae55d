package dane

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

// What a mail host says about the mail domain.
const (
	verified  = "Verified"          // a TLSA record fits the key: it delivers
	temporary = "temporary failure" // the DNS has no answer: it tries again, whatever the key is
	unchecked = "not checked"       // there is no TLSA record: it delivers, whatever the key is
	other     = "not verified"      // no TLSA record fits the key: it does not deliver
)

// temporaries are what posttls-finger says where the DNS fails.
var temporaries = regexp.MustCompile(`TLSA lookup error|Host not found, try again`)

// matched has the digest of the record that the key fits.
var matched = regexp.MustCompile(`Matched DANE EE .*: 3 1 1 ([0-9A-F]{64})`)

// attempt is one connection of the judge.
type attempt struct {
	at   time.Time
	said string
	auth string // the kind of key that was accepted; "": any
	key  string // the ID of the key that was verified
	text string
}

// restart is how long sendmail may take no connections while it reads its new files: on a HUP it closes its port and
// starts its program again. A mail host that is refused meanwhile, or whose connection waited at the closed port, has
// seen no certificate to judge, and tries again.
const restart = 10 * time.Second

// unjudged is what posttls-finger says of such a connection.
var unjudged = regexp.MustCompile(`:25: Connection refused|lost connection while reading server greeting`)

// ask lets posttls-finger connect, as a mail host would. auth is the kind of key that it accepts, such as aRSA; "":
// any.
func (w *world) ask(auth string) attempt {
	args := "-c -t 20 -T 20 -l dane -L summary,certmatch"
	if auth != "" {
		args += " -p '!TLSv1.3' -o tls_medium_cipherlist=" + auth
	}
	a := attempt{at: time.Now(), said: other, auth: auth}
	for {
		a.text, _ = w.h.Run("sh", "-c", "MAIL_CONFIG=/run/finger timeout 60 posttls-finger "+args+" "+domain+" 2>&1")
		if !unjudged.MatchString(a.text) || time.Since(a.at) > restart {
			break
		}
	}
	switch {
	case strings.Contains(a.text, "Verified TLS connection established"):
		a.said = verified
		if m := matched.FindStringSubmatch(a.text); m != nil {
			a.key = strings.ToLower(m[1])
		}
	case temporaries.MatchString(a.text):
		a.said = temporary
	case strings.Contains(a.text, "Untrusted TLS connection established") &&
		!strings.Contains(a.text, "no matching DANE TLSA records"):
		a.said = unchecked
	}
	return a
}

// judge connects again and again. mu guards attempts.
type judge struct {
	w        *world
	mu       sync.Mutex
	attempts []attempt
	end      chan struct{}
	ended    chan struct{}
}

// pause is between two connections of the judge.
const pause = 250 * time.Millisecond

// judges starts a judge, which accepts one of these kinds of keys in turn.
func (w *world) judges(auth ...string) *judge {
	j := &judge{w: w, end: make(chan struct{}), ended: make(chan struct{})}
	w.judge = j
	go func() {
		defer close(j.ended)
		for i := 0; ; i++ {
			a := w.ask(auth[i%len(auth)])
			j.mu.Lock()
			j.attempts = append(j.attempts, a)
			j.mu.Unlock()
			select {
			case <-j.end:
				return
			case <-time.After(pause):
			}
		}
	}()
	w.t.Cleanup(j.stop)
	return j
}

func (j *judge) stop() {
	select {
	case <-j.end:
	default:
		close(j.end)
	}
	<-j.ended
}

// last is the last attempt.
func (j *judge) last() (a attempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.attempts) > 0 {
		a = j.attempts[len(j.attempts)-1]
	}
	return a
}

// verifies waits until the judge has verified a connection that began after now.
func (j *judge) verifies() {
	j.w.t.Helper()
	began := time.Now()
	j.w.until("the mail host verifies again", func() error {
		a := j.last()
		return errorUnless(a.at.After(began) && a.said == verified, "%s", a.text)
	})
}

// span is a time in which a disturbance lasts, and what a mail host may say meanwhile, beside Verified.
type span struct {
	from, to time.Time
	said     string
}

// only ends the judge, and fails the test unless it has always said Verified, or within a span what that allows. It
// returns the IDs of the keys that were verified, in their order, by the kind of key that was accepted.
func (j *judge) only(may ...span) map[string][]string {
	j.w.t.Helper()
	j.stop()
	said, keys := map[string]int{}, map[string][]string{}
	for _, a := range j.attempts {
		said[a.said]++
		if a.said == verified {
			if of := keys[a.auth]; len(of) == 0 || of[len(of)-1] != a.key {
				keys[a.auth] = append(of, a.key)
			}
			continue
		}
		allowed := slices.ContainsFunc(may, func(s span) bool {
			return a.said == s.said && a.at.After(s.from) && a.at.Before(s.to)
		})
		if !allowed {
			j.w.t.Errorf("at %s the mail host says %s:\n%s", a.at.UTC().Format("15:04:05.000"), a.said, a.text)
		}
	}
	j.w.t.Logf("%d connections: %v", len(j.attempts), said)
	return keys
}

// askTLSA asks a name server for TLSA records.
func askTLSA(c net.Conn, name string) (out []string, err error) {
	m := new(wire.Msg)
	m.SetQuestion(name, wire.TypeTLSA)
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	co := &wire.Conn{Conn: c}
	if err := co.WriteMsg(m); err != nil {
		return nil, err
	}
	answer, err := co.ReadMsg()
	if err != nil {
		return nil, err
	}
	if answer.Rcode != wire.RcodeSuccess && answer.Rcode != wire.RcodeNameError {
		return nil, fmt.Errorf("%s", wire.RcodeToString[answer.Rcode])
	}
	for _, rr := range answer.Answer {
		if r, is := rr.(*wire.TLSA); is {
			out = append(out, fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.MatchingType,
				strings.ToLower(r.Certificate)))
		}
	}
	slices.Sort(out)
	return out, nil
}
