package state

import "time"

// ACME is what must be remembered of a pair's certificate from an ACME CA.
type ACME struct {
	Leaf      string    `json:"leaf,omitempty"` // the Leaf ID of what the rest is about
	Directory string    `json:"directory,omitempty"`
	Answered  time.Time `json:"answered,omitzero"` // when the CA sent it
	// Start and End are the window in which the CA wants it to be renewed, and Renew is this host's moment in it; zero:
	// the CA has named none.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	Renew time.Time `json:"renew,omitzero"`
	Poll  time.Time `json:"poll,omitzero"` // when the CA is asked for the window again
	Why   string    `json:"why,omitempty"` // where the CA explains the window
}
