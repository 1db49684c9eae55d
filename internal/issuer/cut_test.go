package issuer

import (
	"errors"
	"testing"
)

// A reply that breaks off anywhere is no reply, also between two of its parts:
// a trust set without its older generations would be believed.
func TestReplyCut(t *testing.T) {
	for i, r := range replies(t) {
		text := r.Encode()
		for n := range len(text) - 1 { // all but the last line feed is enough
			if got, err := ParseReply(text[:n]); !errors.Is(err, ErrMessage) {
				t.Errorf("reply %d, %d of %d bytes: %v, %d CAs, %d CRLs", i, n, len(text), err, len(got.CAs),
					len(got.CRLs))
			}
		}
	}
}
