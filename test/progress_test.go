package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// A command that waits shows on a terminal what it waits for, for how long and its limit, and removes that line
// afterwards. Output to a file has no such line.
func TestProgress(t *testing.T) {
	bed.Need(t, false, "script", "flock")
	m, root := bed.Binary(t, ""), site(t)
	if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	certs := filepath.Join(root, "etc/mail/certs")
	for _, c := range []struct {
		where string
		to    string // where stderr goes
		clock bool
	}{{"terminal", "", true}, {"file", " 2>" + filepath.Join(root, "messages"), false}} {
		t.Run(c.where, func(t *testing.T) {
			if err := os.Remove(filepath.Join(certs, "dh.param")); err != nil { // so that ensure has something to do
				t.Fatal(err)
			}
			// Another process holds the lock of the directory until a line is typed.
			held := fmt.Sprintf("exec 9<%s; flock 9; %s --root %s ensure 9<&- %s & ", certs, m, root, c.to)
			const released = "read _; exec 9<&-; wait $!; echo status $?"
			var out string
			if c.clock {
				out, _ = onTerminal(t, held+released, "  2s of at most 3m0s", "on")
			} else {
				out, _ = onTerminal(t, held+"sleep 2; echo now; "+released, "now", "on")
			}
			if !strings.Contains(out, "status 0") {
				t.Errorf("it failed:\n%q", out)
			}
			if shown := strings.Contains(out,
				"waiting until another mailcertd has finished with "+certs+" ..."); shown != c.clock {
				t.Errorf("shown %v:\n%q", shown, out)
			}
			if c.clock {
				// The line was overwritten with blanks, so that the next message has a line of its own.
				if !regexp.MustCompile(`3m0s(on\r\n)?\r {20,}\r[a-z]`).MatchString(out) {
					t.Errorf("the clock stays:\n%q", out)
				}
				return
			}
			if messages, err := os.ReadFile(filepath.Join(root, "messages")); err != nil ||
				strings.ContainsAny(string(messages), "\r") || strings.Contains(string(messages), "of at most") {
				t.Errorf("%v, the file has %q", err, messages)
			}
		})
	}
}
