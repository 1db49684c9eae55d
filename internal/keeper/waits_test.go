package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/plan"
)

// A file whose name is that of a hash link may block OpenSSL for ever, such as a FIFO. It is an error that names the
// file, whatever its number; a link to such a file is removed. By default no CRL is needed, so a CRL's name is not a
// problem.
func TestWaitsUnderAHashName(t *testing.T) {
	const install = "crl: {install: true}"
	for _, c := range []struct {
		name, config, suffix string
		link                 bool
		want                 plan.Severity
		gone                 bool
	}{
		{"in our place", "", ".0", false, plan.Error, false},
		{"far behind", "", ".7", false, plan.Error, false},
		{"a link to it", "", ".1", true, plan.Warning, true},
		{"a CRL's name, and nobody asks", "", ".r0", false, plan.Warning, false},
		{"a CRL's name", install, ".r3", false, plan.Error, false},
		{"a link with a CRL's name", install, ".r3", true, plan.Error, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.config)
			s.settle(plan.Wish{})
			links, _ := filepath.Glob(s.certs("*.0"))
			path := strings.TrimSuffix(links[0], ".0") + c.suffix
			_ = os.Remove(path)
			pipe := path
			if c.link {
				if pipe = filepath.Join(t.TempDir(), "pipe"); os.Symlink(pipe, path) != nil {
					t.Fatal("no link")
				}
			}
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			r := s.settle(plan.Wish{})
			if r.Plan.Worst() >= plan.Error != (c.want == plan.Error) {
				t.Errorf("the worst is %v: %s", r.Plan.Worst(), reasons(r))
			}
			_, err := os.Lstat(path)
			if c.gone != (err != nil) {
				t.Errorf("%s: %v", path, err)
			}
			if c.gone {
				return
			}
			for _, p := range r.Plan.Problems {
				if p.Path == path && p.Reason == plan.InTheWay && p.Severity == c.want &&
					strings.Contains(p.Text, "wait for ever") {
					return
				}
			}
			t.Errorf("it is not reported: %s", reasons(r))
		})
	}
}
