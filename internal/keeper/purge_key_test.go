package keeper

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/durable"
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

// purge cannot remove a directory: it says so with the errno, and the next purge completes the work. What a person has
// put into a directory, a link in its place and a file system that is mounted there stay, which is no error.
func TestPurgeDirectories(t *testing.T) {
	t.Parallel()
	prepared := func(t *testing.T) *site {
		s := newSite(t, "trust: [/ca.pem]")
		s.write(filepath.Join(s.root, "ca.pem"), []byte(purchased(t, s.now, nil).root.pem()))
		s.settle(plan.Wish{})
		return s
	}
	fails := func(s *site, dir string, errno syscall.Errno) {
		s.o.Disk.Before = func(p durable.Point) error {
			if p.Op == "remove" && p.Path == dir {
				return errno
			}
			return nil
		}
	}
	for _, name := range []string{"etc/mail/certs/trust", "etc/mail/certs", "var/db/mailcertd", "etc/mail/CA"} {
		s := prepared(t)
		dir := filepath.Join(s.root, name)
		fails(s, dir, syscall.EIO)
		if err := s.Purge(t.Context(), agreed); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s cannot be removed, purge says: %v", name, err)
		}
		s.o.Disk.Before = nil
		if err := s.Purge(t.Context(), agreed); err != nil || durable.Look(dir).Exists {
			t.Errorf("%s is still there: %v", name, err)
		}
		s = prepared(t)
		dir = filepath.Join(s.root, name)
		fails(s, dir, syscall.EBUSY)
		if err := s.Purge(t.Context(), agreed); err != nil {
			t.Errorf("%s is mounted, purge says: %v", name, err)
		}
	}
	s := prepared(t)
	real := s.cfg.Certs.Dir + "-elsewhere"
	if err := errors.Join(os.Rename(s.cfg.Certs.Dir, real), os.Symlink(real, s.cfg.Certs.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), agreed); err != nil || durable.Look(s.cfg.Certs.Dir).Kind != durable.Link ||
		len(s.content("host.key")) > 0 {
		t.Errorf("the link to the certs directory: %v, %s", err, durable.Look(s.cfg.Certs.Dir).Kind)
	}
}
