package keeper

import (
	"context"
	"os"
	"testing"
)

// install --dry-run makes nothing, not even the directory that the lock would lie on.
func TestInstallDryRunMakesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "issuer: none")
	good := purchased(t, s.now, nil)
	full := good.leaf.keyPEM(t) + good.leaf.pem() + good.middle.pem() + good.root.pem()
	if err := os.RemoveAll(s.cfg.Certs.Dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.InstallFile(context.Background(), Incoming{Data: []byte(full), Path: "carried.pem", DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.cfg.Certs.Dir); !os.IsNotExist(err) {
		t.Errorf("the certs directory: %v", err)
	}
}
