package plan_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// advice is a sentence of the manual that says what to do, what mailcertd does without being asked, or that nothing is
// to be done. A displayed command line (.Dl) is one too.
var advice = regexp.MustCompile(`(?mi)^\.Dl |^No action is needed|` +
	`^(mailcertd|ensure|the daemon)( and the daemon)? ` +
	`(saves|makes|finishes|renews?|issues|installs|repairs|removes)\b|` +
	`no action is needed|(^|, |: |otherwise )(add|ask|carry|change|check|choose|compare|correct|delete|find out|get|` +
	`give|make|mount|move|name|remove|rename|run|see|send|set|start|use|write)\s`)

// Whatever is wrong, a person learns what to do next: from the hint, because mailcertd repairs it, or from the page
// that `help REASON` prints.
func TestProblemsSayWhatToDo(t *testing.T) {
	manual, err := os.ReadFile("../../man/mailcertd.8")
	if err != nil {
		t.Fatal(err)
	}
	var told []plan.Reason
	for _, r := range rows {
		for _, p := range r.given.Plan().Problems {
			if p.Hint != "" || p.Repairable || slices.Contains(told, p.Reason) {
				continue
			}
			told = append(told, p.Reason)
			_, text, found := strings.Cut(string(manual), "\n.It Bq "+string(p.Reason)+"\n")
			if end := regexp.MustCompile(`(?m)^\.(It Bq|El)`).FindStringIndex(text); end != nil {
				text = text[:end[0]]
			}
			if !found || !advice.MatchString(text) {
				t.Errorf("%s: [%s] %s: neither a hint nor `mailcertd help %s` says what to do:\n%s", r.name, p.Reason,
					p.Text, p.Reason, text)
			}
		}
	}
}

// A member whose list of accepted CAs or whose last answer cannot be read is told what to do about that file.
func TestMemberSaysWhatToDo(t *testing.T) {
	for name, see := range map[string]func(*plan.Observed, error){
		"the accepted CAs": func(o *plan.Observed, err error) { o.AcceptedErr, o.ReplyErr = err, err },
		"the last answer":  func(o *plan.Observed, err error) { o.ReplyErr = err },
	} {
		for _, err := range []error{syscall.EIO, durable.ErrNotRegular, errors.New("ca.pem: no certificate in it")} {
			found := false
			w := given.Host(given.MemberOf("ca.home.example"),
				given.Seeing(func(o *plan.Observed) { see(o, err) }))
			for _, p := range w.Plan().Problems {
				if strings.Contains(p.Text, err.Error()) {
					if found = true; p.Hint == "" {
						t.Errorf("%s, %v: [%s] %s: no hint", name, err, p.Reason, p.Text)
					}
				}
			}
			if !found {
				t.Errorf("%s, %v: not reported: %+v", name, err, w.Plan().Problems)
			}
		}
	}
}

// What a damaged state file has forgotten must be asked for again, and its text is not the JSON parser's alone.
func TestDamagedStateHint(t *testing.T) {
	for _, c := range []struct {
		why        error
		text, hint string
	}{
		{errors.New("unexpected end of JSON input"), "the state file is damaged: unexpected end of JSON input",
			"renew --rekey"},
		{state.ErrNewer, state.ErrNewer.Error(), "install that newer mailcertd"},
	} {
		path := given.StateDir + "/state.json"
		h := given.Host(given.Loaded(state.Loaded{Path: path, Problem: fmt.Errorf("%s: %w", path, c.why)}))
		for _, p := range h.Plan().Problems {
			if p.Reason == plan.StateDamaged && (p.Text != c.text || !strings.Contains(p.Hint, c.hint)) {
				t.Errorf("%v: %s; %s", c.why, p.Text, p.Hint)
			}
		}
	}
}

// A restored certificate holds up a change of its key: a person learns what ends that.
func TestRestoredHoldsUpChange(t *testing.T) {
	ready := []given.Fact{given.Restored(), given.Publishes(dane.Update), given.Staged(),
		given.InDNS(given.TLSAOf("host"), given.TLSAOf("staged")),
		given.KeyChange(dane.Asked, "staged", 61*time.Minute)}
	for n, want := range map[int]string{1: "", len(ready): "run `mailcertd renew`"} {
		found := false
		for _, p := range given.Host(ready[:n]...).Plan().Problems {
			if p.Reason == plan.Held {
				found = strings.Contains(p.Hint, want) && (want != "" || p.Hint == "")
			}
		}
		if !found {
			t.Errorf("with %d facts, the hint must be %q", n, want)
		}
	}
}
