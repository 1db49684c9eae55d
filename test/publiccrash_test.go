package test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailcertd/test/bed"
)

var everyOrder = flag.Bool("every-order", false, "TestOrderKilled kills at every operation, also before write(2) and "+
	"fsync(2) of a file that has no name yet")

// orderSite is a --root whose certificate Pebble issues. It answers http-01 in a webroot, so that many sites can place
// orders at the same time: one web server serves all their webroots.
type orderSite struct {
	root             string
	pairs            int
	m, armed         string
	orders, accounts *atomic.Int64 // the numbers that Pebble has answered to have made
}

// orderSites are the sites that ask one Pebble. mu guards at.
type orderSites struct {
	p  *bed.Pebble
	mu sync.Mutex
	at map[string]string // the root of each site, by host name
}

func newOrderSites(t *testing.T) *orderSites {
	t.Helper()
	all := &orderSites{p: bed.NewPebble(t, bed.PebbleOptions{}), at: map[string]string{}}
	l, err := net.Listen("tcp", bed.Local(all.p.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			name, _, _ := strings.Cut(r.Host, ":")
			all.mu.Lock()
			root := all.at[name]
			all.mu.Unlock()
			http.ServeFile(w, r, filepath.Join(root, "web", filepath.Clean(r.URL.Path)))
		})}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { _ = web.Close() })
	return all
}

// site makes a site with an interim certificate.
func (all *orderSites) site(t *testing.T, name string, pairs int) orderSite {
	t.Helper()
	s := orderSite{root: t.TempDir(), pairs: pairs, m: bed.Binary(t, ""), armed: bed.Binary(t, "crashpoints"),
		orders: &atomic.Int64{}, accounts: &atomic.Int64{}}
	front := bed.NewFront(t, all.p)
	front.Hook(nil, func(r *http.Request, status int) bool {
		if status == http.StatusCreated && r.URL.Path == "/order-plz" {
			s.orders.Add(1)
		} else if status == http.StatusCreated && r.URL.Path == "/sign-me-up" {
			s.accounts.Add(1)
		}
		return true
	})
	for _, dir := range []string{"usr/local/etc", "etc/mail", "web"} {
		if err := os.MkdirAll(filepath.Join(s.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	key := "ecdsa-p256"
	if pairs == 2 {
		key += ", second: rsa-2048"
	}
	write(t, filepath.Join(s.root, "etc/mail/pebble.pem"), string(front.CA), 0o644)
	write(t, filepath.Join(s.root, "usr/local/etc/mailcertd.yaml"), "host: {name: "+name+".example.test}\n"+
		"key: {type: "+key+"}\nlog: {target: stderr}\nclient: none\nissuer:\n  acme: {directory: '"+front.Directory+
		"', agree_tos: true, ca_file: /etc/mail/pebble.pem, profile: default, http: {webroot: /web}}\n", 0o644)
	all.mu.Lock()
	all.at[name+".example.test"] = s.root
	all.mu.Unlock()
	run(t, s.m, s.root, nil, "ensure") // its status says that the certificate is an interim one
	return s
}

// daemon runs a daemon until it has killed itself, or until it has another certificate than old and the time of its
// renewal.
func (s orderSite) daemon(env, old string) (killedItself bool, err error) {
	cmd := exec.Command(s.m, "--root", s.root, "run")
	if env != "" {
		cmd = exec.Command(s.armed, "--root", s.root, "run")
		cmd.Env = append(os.Environ(), env)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for limit := time.After(bed.Patience); ; {
		select {
		case <-ended:
			if bed.Killed(cmd.ProcessState) {
				return true, nil
			}
			return false, fmt.Errorf("the daemon has ended: %s\n%s", cmd.ProcessState, said.String())
		case <-limit:
			_ = cmd.Process.Kill()
			<-ended
			return false, fmt.Errorf("the daemon does not come to an end\n%s", said.String())
		case <-time.After(20 * time.Millisecond):
		}
		if !s.settled(old) {
			continue
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		return bed.Killed(cmd.ProcessState), nil
	}
}

func (s orderSite) settled(old string) bool {
	data, _ := os.ReadFile(filepath.Join(s.root, "var/db/mailcertd/state.json"))
	return s.cert() != old && len(renewIn.FindAll(data, -1)) == s.pairs && !bytes.Contains(data, []byte(longAgo))
}

func (s orderSite) cert() string {
	data, _ := os.ReadFile(filepath.Join(s.root, "etc/mail/certs/host.cert"))
	return string(data)
}

// due makes the certificate due, as if the window of its CA had come.
func (s orderSite) due() error {
	path := filepath.Join(s.root, "var/db/mailcertd/state.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, renewIn.ReplaceAll(data, []byte(longAgo)), 0o600)
}

// renewIn finds the time of the renewal in the state file.
var renewIn = regexp.MustCompile(`"renew": ?"[^"]*"`)

const longAgo = `"renew": "2020-01-01T00:00:00Z"`

// A daemon is killed before each durable operation of a first order and of a renewal, and so is renew --rekey. The next
// daemon gets the certificate, or the next renew the new key. Pebble counts one order for each certificate and one
// account, and nothing is left in the webroot.
func TestOrderKilled(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	all := newOrderSites(t)
	for _, c := range []struct {
		name   string
		first  bool
		pairs  int
		verb   []string // what is killed; nil means the daemon
		orders int64    // the orders in the end
		least  int      // operations
		usual  int      // each of so many operations is tried without -every-order
	}{
		{"first", true, 1, nil, 1, 90, 1},
		{"renewal", false, 1, nil, 2, 65, 1},
		{"two-pairs", true, 2, nil, 2, 130, 12},
		{"new-key", false, 1, []string{"renew", "--rekey"}, 2, 65, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := func(n int) (s orderSite, old string, err error) {
				s = all.site(t, fmt.Sprintf("%s-%d", c.name, n), c.pairs)
				if !c.first {
					if _, err := s.daemon("", s.cert()); err != nil {
						return s, "", err
					}
					if c.verb == nil {
						err = s.due()
					}
				}
				return s, s.cert(), err
			}
			// killed runs what is killed, and says whether it was.
			killed := func(s orderSite, env, old string) (bool, error) {
				if c.verb == nil {
					return s.daemon(env, old)
				}
				out, st := run(t, s.armed, s.root, []string{env}, c.verb...)
				if !bed.Killed(st) && !st.Success() {
					return false, errors.New(out)
				}
				return bed.Killed(st), nil
			}
			// heals runs what comes next.
			heals := func(s orderSite, old string) error {
				if c.verb == nil {
					_, err := s.daemon("", old)
					return err
				}
				out, st := run(t, s.m, s.root, nil, "ensure")
				if s.cert() == old { // else it was installed, and renew would order another one
					out, st = run(t, s.m, s.root, nil, c.verb...)
				}
				if !st.Success() {
					return errors.New(out)
				}
				return nil
			}
			bed.Kills{Least: c.least, Workers: 8, Try: func(n int, point string) bool {
				unnamed := strings.Contains(point, " write ") || strings.Contains(point, " sync ")
				return *everyOrder || !unnamed && n%c.usual == 0 && (!testing.Short() || n%5 == 0)
			}}.Run(t, func(n int, env string) (bool, error) {
				s, old, err := start(n)
				if err != nil {
					return false, err
				}
				died, err := killed(s, env, old)
				if err == nil {
					err = heals(s, old)
				}
				if err == nil {
					err = s.well(t, c.orders)
				}
				return died, err
			})
		})
	}
}

// well returns what is wrong with a site that has its certificate, nil if nothing is.
func (s orderSite) well(t *testing.T, want int64) error {
	orders, accounts := s.orders.Load(), s.accounts.Load()
	if orders != want || accounts != 1 {
		return fmt.Errorf("%d orders, want %d; %d accounts", orders, want, accounts)
	}
	if out, st := run(t, s.m, s.root, nil, "check"); !st.Success() {
		return fmt.Errorf("check: %s", out)
	}
	left, err := os.ReadDir(filepath.Join(s.root, "web/.well-known/acme-challenge"))
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left in the webroot: %v", left))
	}
	return err
}
