package state

import "time"

// ACME is what must be remembered of a pair's certificates from an ACME CA: of the last one that was sent, and of the
// installed one. They are two from the answer until its installation, and while an answer cannot be used.
type ACME struct {
	Sent     string    `json:"sent,omitempty"`    // the Leaf ID of the last answer
	SentBy   string    `json:"sent_by,omitempty"` // the directory that sent it
	Answered time.Time `json:"answered,omitzero"` // when it was sent

	Leaf      string `json:"leaf,omitempty"` // the Leaf ID of the installed certificate, which the rest is about
	Directory string `json:"directory,omitempty"`
	// Start and End are the window in which the CA wants it to be renewed, and Renew is this host's moment in it; zero:
	// the CA has named none.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	Renew time.Time `json:"renew,omitzero"`
	Poll  time.Time `json:"poll,omitzero"` // when the CA is asked for the window again
	Why   string    `json:"why,omitempty"` // where the CA explains the window
}

// Of is the directory that sent the leaf with that Leaf ID; "": that is not known.
func (m ACME) Of(leaf string) string {
	switch {
	case leaf == "":
		return ""
	case leaf == m.Sent:
		return m.SentBy
	case leaf == m.Leaf:
		return m.Directory
	}
	return ""
}

// About is m where the rest of it is about the leaf with that Leaf ID, and what is known of it otherwise: no window.
func (m ACME) About(leaf string) ACME {
	if m.Leaf == leaf {
		return m
	}
	return ACME{Sent: m.Sent, SentBy: m.SentBy, Answered: m.Answered, Leaf: leaf, Directory: m.Of(leaf)}
}
