package keeper

import (
	"bytes"
	"testing"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// mailcertd made the key, and another CA signed the request for it. purge leaves the certificate, so it must leave the
// key too: without its key the certificate is useless.
func TestPurgeKeepsKeyOfBoughtCertificate(t *testing.T) {
	t.Parallel()
	s := newSite(t, "issuer: none")
	s.settle(plan.Wish{})
	key, err := pki.ParseKey(s.content("host.key"))
	if err != nil {
		t.Fatal(err)
	}
	root := signed(t, s.now, "Root", true, nil, nil)
	leaf := signedOver(t, s.now, name, false, key, &root, nil)
	if _, _, err := s.install(leaf.pem()+root.pem(), nil); err != nil {
		t.Fatal(err)
	}
	was := s.content("host.key")
	if err := s.Purge(t.Context(), agreed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(was, s.content("host.key")) || len(s.content("host.cert")) == 0 {
		t.Error("the bought certificate has lost its key")
	}
}
