package keeper

import (
	"testing"

	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
)

// The inbox carries what package issuer writes and reads, and knows nothing of it: both have the same bounds.
func TestInboxTakesWhatIssuerReads(t *testing.T) {
	if inbox.MaxRequest != issuer.MaxRequest || inbox.MaxReply != issuer.MaxReply {
		t.Errorf("the inbox takes %d and %d bytes, package issuer %d and %d", inbox.MaxRequest, inbox.MaxReply,
			issuer.MaxRequest, issuer.MaxReply)
	}
}
