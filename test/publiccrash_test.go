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

var everyOrder = flag.Bool("every-order", false, "TestOrderKilled kills also before write(2) and fsync(2) of a file "+
	"that has no name yet")

// orderSite is a --root whose certificate Pebble issues. It answers http-01 in a webroot, so that many sites can place
// orders at the same time: one web server serves all their webroots.
type orderSite struct {
	root             string
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
func (all *orderSites) site(t *testing.T, name string) orderSite {
	t.Helper()
	s := orderSite{root: t.TempDir(), m: bed.Binary(t, ""), armed: bed.Binary(t, "crashpoints"),
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
	write(t, filepath.Join(s.root, "etc/mail/pebble.pem"), string(front.CA), 0o644)
	write(t, filepath.Join(s.root, "usr/local/etc/mailcertd.yaml"), "host: {name: "+name+".example.test}\n"+
		"key: {type: ecdsa-p256}\nlog: {target: stderr}\nclient: none\nissuer:\n  acme: {directory: '"+front.Directory+
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
			if killed(cmd.ProcessState) {
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
		return killed(cmd.ProcessState), nil
	}
}

func (s orderSite) settled(old string) bool {
	data, _ := os.ReadFile(filepath.Join(s.root, "var/db/mailcertd/state.json"))
	return s.cert() != old && renewIn.Match(data) && !bytes.Contains(data, []byte(longAgo))
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

// A daemon is killed before each durable operation of a first order and of a renewal. The next daemon gets the
// certificate. Pebble counts one order and one account, and nothing is left in the webroot.
func TestOrderKilled(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	all := newOrderSites(t)
	for _, c := range []struct {
		name  string
		first bool
		least int // operations
	}{{"first", true, 90}, {"renewal", false, 65}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := func(n int) (s orderSite, old string, err error) {
				s = all.site(t, fmt.Sprintf("%s-%d", c.name, n))
				if !c.first {
					if _, err := s.daemon("", s.cert()); err != nil {
						return s, "", err
					}
					err = s.due()
				}
				return s, s.cert(), err
			}
			s, old, err := start(0)
			if err != nil {
				t.Fatal(err)
			}
			list := filepath.Join(s.root, "points")
			if _, err := s.daemon("MAILCERTD_POINTS="+list, old); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(list)
			if err != nil {
				t.Fatal(err)
			}
			points := strings.Split(strings.TrimSpace(string(data)), "\n")
			if len(points) < c.least {
				t.Errorf("only %d operations:\n%s", len(points), data)
			}
			var work sync.WaitGroup
			var kills atomic.Int64
			next := make(chan int)
			for range 8 {
				work.Go(func() {
					for n := range next {
						s, old, err := start(n)
						var killedIt bool
						if err == nil {
							killedIt, err = s.daemon(fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n), old)
						}
						if killedIt {
							kills.Add(1)
						}
						if err == nil {
							_, err = s.daemon("", old)
						}
						if err == nil {
							err = s.well(t, c.first)
						}
						if err != nil {
							t.Errorf("killed before %s: %v", points[n-1], err)
						}
					}
				})
			}
			for n := 1; n <= len(points); n++ {
				unnamed := strings.Contains(points[n-1], " write ") || strings.Contains(points[n-1], " sync ")
				if *everyOrder || !unnamed && (!testing.Short() || n%5 == 0) {
					next <- n
				}
			}
			close(next)
			work.Wait()
			t.Logf("killed %d times at %d operations", kills.Load(), len(points))
		})
	}
}

// well returns what is wrong with a site that has its certificate, nil if nothing is.
func (s orderSite) well(t *testing.T, first bool) error {
	orders, accounts, want := s.orders.Load(), s.accounts.Load(), int64(2)
	if first {
		want = 1
	}
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
