package plan

import (
	"fmt"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/text"
)

// Severity orders problems by how soon a person must act.
type Severity int

// The severities. A plan with nothing above Warning exits 0.
const (
	Notice  Severity = iota // for information
	Warning                 // a person should act some day
	Error                   // a person must act, or a step failed
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// MarshalText gives the word for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing that is not as it should be.
type Problem struct {
	Reason     Reason   `json:"reason"`
	Severity   Severity `json:"severity"`
	Path       string   `json:"path,omitempty"` // the file concerned
	Text       string   `json:"text"`           // what is wrong, with want and got
	Hint       string   `json:"hint,omitempty"` // what a person can do; "": nothing
	Repairable bool     `json:"repairable"`     // an action of the same plan repairs it
}

// counted returns a number with its noun: 1 day, 2 days.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// moment is a time as all messages have it.
func moment(t time.Time) string { return text.Moment(t) }

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}

// convertible completes a problem about a file that contains what sendmail needs, but not in PEM, the only form that
// sendmail reads: it adds the command that writes PEM. err is why the file cannot be used; any other cause changes
// nothing. pair says that `mailcertd install` takes what the file contains. The hint of a repairable problem is not
// shown, so its text has the command: without it the person's file would be replaced.
func convertible(pr Problem, err error, pair bool) Problem {
	c := pki.ConversionOf(err, pr.Path)
	run := "run `" + c.Command + " && mv " + c.Out + " " + c.In + "`"
	if pair && c.Several {
		run = "run `" + c.Command + "`, then `mailcertd install " + c.Out + "`"
	}
	switch {
	case c.Command == "" && !pr.Repairable && c.Advice != "":
		pr.Hint = c.Advice
	case c.Command != "" && !pr.Repairable:
		pr.Hint = "to use this file, " + run
	case c.Command != "":
		pr.Text += "; to use this file, " + run + " before `mailcertd ensure` replaces it"
	}
	return pr
}
