package keeper

import (
	"testing"

	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
)

// The inbox carries the requests and replies of package issuer without parsing them, so both packages must have the
// same size limits.
func TestInboxTakesWhatIssuerReads(t *testing.T) {
	if inbox.MaxRequest != issuer.MaxRequest || inbox.MaxReply != issuer.MaxReply {
		t.Errorf("the inbox takes %d and %d bytes, package issuer %d and %d", inbox.MaxRequest, inbox.MaxReply,
			issuer.MaxRequest, issuer.MaxReply)
	}
}
