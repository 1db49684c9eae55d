package keeper

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// every says which of the reads are made to fail: each sixth one. 1 means all of them, which takes minutes.
const every = 6

// readCall is one read of the disk.
type readCall struct{ op, path string }

// One read of the disk fails, in every verb that changes something. mailcertd does not panic, what another program made
// still exists or is backed up, no row of index.txt is doubled, the state is not forgotten, and the next run without
// the error completes everything.
func TestOneReadFails(t *testing.T) {
	if _, err := exec.LookPath("cp"); err != nil {
		t.Skip(err)
	}
	bought := purchased(t, newSite(t, "").now, nil)
	other := purchased(t, newSite(t, "").now, nil)
	whole := func(p purchase) string {
		return p.leaf.keyPEM(t) + p.leaf.pem() + p.middle.pem() + p.root.pem()
	}
	const yaml = "trust: [/usr/share/ca.pem]\n"
	own := func(s *site) {
		s.write(filepath.Join(s.root, "usr/share/ca.pem"), []byte(bought.root.pem()))
		s.settle(plan.Wish{})
	}
	buys := func(s *site) {
		own(s)
		if _, _, err := s.install(whole(bought), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		prep func(*site)
		verb func(*site) error
		keep []string // the files that another program made
	}{
		{"ensure", own, (*site).ensure, nil},
		{"ensure without host.cert", func(s *site) { own(s); _ = os.Remove(s.certs("host.cert")) },
			(*site).ensure, nil},
		{"renew with a new key", own, func(s *site) error {
			w := plan.Wish{Renew: true, Rekey: true, Once: true}
			r := s.Check(context.Background(), w)
			w.From, w.FromKey = r.Plan.Facts.LeafID, r.Plan.Facts.KeyID
			_, err := s.Settle(context.Background(), w)
			return err
		}, nil},
		{"renew --force over a bought one", buys, func(s *site) error {
			w := plan.Wish{Renew: true, Force: true, Once: true}
			w.From = s.Check(context.Background(), w).Plan.Facts.LeafID
			_, err := s.Settle(context.Background(), w)
			return err
		}, []string{bought.leaf.pem(), bought.leaf.keyPEM(t)}},
		{"restore", func(s *site) {
			own(s)
			s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
		}, func(s *site) error { _, err := s.Restore(context.Background(), "", false); return err }, nil},
		{"request over a new key", own, func(s *site) error {
			_, err := s.Request(context.Background(), certdir.Host, true)
			return err
		}, nil},
		{"a choice of parameters", own, func(s *site) error {
			return s.ChooseGroup(context.Background(), "ffdhe4096")
		}, nil},
		{"install over a bought one", buys, func(s *site) error {
			_, _, err := s.install(whole(other), nil)
			return err
		}, []string{bought.leaf.pem(), bought.leaf.keyPEM(t)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := newSite(t, yaml)
			c.prep(first)
			if err := first.Check(context.Background(), plan.Wish{}).Observed.Certs.Err; err != nil {
				t.Fatal(err)
			}
			again := func() *site {
				s := newSite(t, yaml)
				if out, err := exec.Command("cp", "-a", first.root+"/.", s.root).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				return s
			}
			var calls []readCall
			s := again()
			undo := durable.TestOnlyBeforeRead(func(op, path string) error {
				if rel, below := strings.CutPrefix(path, s.root); below {
					calls = append(calls, readCall{op, rel})
				}
				return nil
			})
			err := c.verb(s)
			undo()
			if err != nil {
				t.Fatal(err)
			}
			for i, at := range some(calls) {
				if i%every != 0 {
					continue
				}
				s := again()
				n := 0
				undo := durable.TestOnlyBeforeRead(func(op, path string) error {
					if rel, below := strings.CutPrefix(path, s.root); below {
						if n++; n-1 == at && (readCall{op, rel}) == calls[at] {
							return syscall.EIO
						}
					}
					return nil
				})
				err := c.verb(s)
				undo()
				what := calls[at].op + " " + calls[at].path
				if err != nil && !strings.Contains(err.Error(), syscall.EIO.Error()) && !told(s.log) {
					t.Errorf("%s (call %d): the error does not tell the errno: %v", what, at, err)
				}
				for _, text := range c.keep {
					if !s.holdsSomewhere([]byte(text)) {
						t.Errorf("%s (call %d): lost what somebody else made (%v)", what, at, err)
					}
				}
				rows := strings.Split(strings.TrimSpace(string(s.read(filepath.Join(s.cfg.CA.Dir, "index.txt")))), "\n")
				seen := map[string]bool{}
				for _, r := range rows {
					if seen[r] {
						t.Errorf("%s (call %d): index.txt has a row twice: %s", what, at, r)
					}
					seen[r] = true
				}
				s.now = s.now.Add(2 * 3600e9) // this is later than any backoff
				if err := s.ensure(); err != nil {
					t.Errorf("%s (call %d): the run after it: %v", what, at, err)
				}
				if len(s.Check(context.Background(), plan.Wish{}).Observed.State.Ours) == 0 {
					t.Errorf("%s (call %d): the state was lost", what, at)
				}
			}
		})
	}
}

func told(log []string) bool { return strings.Contains(strings.Join(log, "\n"), syscall.EIO.Error()) }

// some returns the indexes of the calls that are made to fail: the first three of each kind of call at each path, which
// are made by the look before the lock, by the look under it, and by the action.
func some(calls []readCall) []int {
	count := map[readCall]int{}
	var out []int
	for i, c := range calls {
		if c.op == "resolve" || c.op == "stat" {
			continue // these repeat what lstat and open do
		}
		dir, base := filepath.Split(c.path)
		key := c
		if strings.Contains(dir, "/trust/") || strings.Contains(dir, "newcerts") ||
			strings.Count(base, ".") == 1 && len(base) == 10 {
			key.path = dir // any file in that directory
		}
		if count[key]++; count[key] <= 3 {
			out = append(out, i)
		}
	}
	return out
}

func (s *site) ensure() error {
	_, err := s.Settle(context.Background(), plan.Wish{Once: true})
	return err
}

func (s *site) holdsSomewhere(b []byte) bool {
	found := false
	_ = filepath.WalkDir(s.root, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			data, _ := os.ReadFile(p)
			found = found || bytes.Contains(data, b)
		}
		return nil
	})
	return found
}
