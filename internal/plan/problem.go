package plan

import "fmt"

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
