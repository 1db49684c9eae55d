package issuer

import (
	"errors"
	"testing"
)

// A reply that is cut off anywhere is refused, also between two parts: a trust set without its older generations must
// not be believed.
func TestReplyCut(t *testing.T) {
	for i, r := range replies(t) {
		text := r.Encode()
		for n := range len(text) - 1 { // only the last line feed may be missing
			if got, err := ParseReply(text[:n]); !errors.Is(err, ErrMessage) {
				t.Errorf("reply %d, %d of %d bytes: %v, %d CAs, %d CRLs", i, n, len(text), err, len(got.CAs),
					len(got.CRLs))
			}
		}
	}
}
