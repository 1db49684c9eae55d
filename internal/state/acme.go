package state

import "time"

// ACME is what must be remembered about a pair's certificates from an ACME CA: about the last one that was sent, and
// about the installed one. They differ from the answer until its installation, and while an answer cannot be used.
type ACME struct {
	Sent     string    `json:"sent,omitempty"`    // the Leaf ID of the last answer
	SentBy   string    `json:"sent_by,omitempty"` // the directory that sent it
	Answered time.Time `json:"answered,omitzero"` // when the answer came

	Leaf      string `json:"leaf,omitempty"` // the Leaf ID of the installed certificate; the fields below are about it
	Directory string `json:"directory,omitempty"`
	// Start and End are the window in which the CA wants it to be renewed, and Renew is the time in it that this host
	// has chosen; zero: the CA has named no window.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	Renew time.Time `json:"renew,omitzero"`
	Poll  time.Time `json:"poll,omitzero"` // when the CA will be asked for the window again
	// ByWindow says that the certificate was ordered because the window of the one before it had come.
	ByWindow bool   `json:"by_window,omitempty"`
	Why      string `json:"why,omitempty"` // URL of the CA's explanation of the window
	// Revoked is when the CA has revoked it because a person asked for that; zero: it has not.
	Revoked    time.Time `json:"revoked,omitzero"`
	RevokedFor string    `json:"revoked_for,omitempty"` // a word of ca.Reasons; "" where none was given
}

// Of is the directory that sent the leaf with that Leaf ID; "": unknown.
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

// About returns m if the installed certificate has that Leaf ID. Otherwise it returns what is known about that leaf,
// without a window.
func (m ACME) About(leaf string) ACME {
	if m.Leaf == leaf {
		return m
	}
	return ACME{Sent: m.Sent, SentBy: m.SentBy, Answered: m.Answered, Leaf: leaf, Directory: m.Of(leaf),
		ByWindow: !m.Renew.IsZero() && !m.Answered.Before(m.Renew)}
}
