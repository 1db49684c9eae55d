package keeper

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
)

// If a certificate cannot be read, it is not known whether sendmail serves what is on the disk. It is never reported as
// another certificate.
func TestUnreadIsNotAnother(t *testing.T) { // not parallel, because all tests share the hook that makes reads fail
	s := newSite(t, "")
	s.settle(plan.Wish{})
	second := filepath.Join(s.root, "second.pem")
	served, others := caCert(t, "second", false), caCert(t, "another", false)
	s.write(second, bundle(served))
	for _, c := range []struct {
		unread string
		leaf   int
		on     bool
		known  bool
	}{
		{"", 0, true, true}, {"", 1, true, true}, {"", 2, false, true},
		{"/second.pem", 0, true, true}, {"/second.pem", 1, false, false}, {"/second.pem", 2, false, false},
		{"/host.cert", 1, true, true}, {"/host.cert", 2, false, false},
	} {
		leaf := s.leaf()
		if c.leaf == 1 {
			leaf = served
		} else if c.leaf == 2 {
			leaf = others
		}
		undo := durable.TestOnlyBeforeRead(func(_, path string) error {
			if c.unread != "" && strings.HasSuffix(path, c.unread) {
				return syscall.EIO
			}
			return nil
		})
		r := s.Check(t.Context(), plan.Wish{})
		r.Observed.RunningCF = &mta.CF{ServerCert: []string{s.certs("host.cert"), second}}
		on, err := pickup.OnDisk(&r.View, leaf)
		undo()
		if on != c.on || (err == nil) != c.known || err != nil && !errors.Is(err, syscall.EIO) {
			t.Errorf("%+v: %v, %v", c, on, err)
		}
	}
}
